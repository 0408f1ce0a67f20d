"""What a JPEG consists of, counted before anything of it is read.

The parts ahead of the pixels are gone through in Python, outside of any turn, and libjpeg goes over the whole picture
for each scan, without a look at the deadline. A scan takes ten bytes at least, a segment four: a small file can hold
hundreds of thousands of either.

Where Pillow and libjpeg stop at an error, this goes on: it may find more parts than they do, never fewer.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from images import faults

MOST_SCANS = 100  # usual encoders make up to 18; for 40 million pixels these take 4 seconds at most
MOST_SEGMENTS = 1000  # in a whole file; 10 MB of notes, cut as large as segments can be, are 160
MOST_FILLER = 100_000  # bytes ahead of the first scan that belong to no segment

_START_OF_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset([*range(0x01, 0xC0), 0xC8, 0xD8, _END, *range(0xF0, 0xFE)])
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not in the data of a scan: a byte 255, filler, or a restart


def scans(file: BinaryIO) -> int:
    """How many scans the file has.

    Raises:
        ProblemError: not_an_image, when it has more scans, segments or filler than any picture needs.
    """
    file.seek(0)
    data = file.read()
    found = segments = filler = at = 0
    while marker := _MARKER.search(data, at):
        name = data[marker.start() + 1]
        if not found:
            filler += marker.start() - at
        if name == _END and found:
            break
        segments += 1
        found += name == _START_OF_SCAN
        if found > MOST_SCANS:
            raise faults.too_many_scans(MOST_SCANS)
        if segments > MOST_SEGMENTS or filler > MOST_FILLER:
            raise faults.too_many_parts()
        at = marker.end()
        if name not in _WITHOUT_LENGTH:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    if not found and filler + len(data) - at > MOST_FILLER:
        raise faults.too_many_parts()
    return found
