"""Whether what is stored is what was stored."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from django.core.files import File
from PIL import Image as Picture

from images import derivatives, store
from images.models import Image
from images.upkeep.walking import DAMAGED, MISSING, UNREADABLE, Finding
from internal.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Digest:
    """The length of a file in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str

    @classmethod
    def recorded(cls, image: Image) -> Digest:
        """What the record says of the stored picture."""
        return cls(image.size_bytes, image.sha256)


def digest(file: File[Any] | BinaryIO) -> Digest:
    """The digest of an open file, which is read from its beginning to its end."""
    file.seek(0)
    found = hashlib.file_digest(cast(io.BytesIO, file), "sha256").hexdigest()
    return Digest(file.tell(), found)


def stored_digest(name: str) -> Digest | None:
    """The digest of what is stored under the name; None if nothing is.

    Raises:
        ProblemError: storage_unavailable.
    """
    with store.failures_named():
        found = store.find(name)
        if found is None:
            return None
        with found[0] as file:
            return digest(file)


def picture_faults(image: Image) -> list[Finding]:
    """What is wrong with the stored picture, compared with its record: nothing, or one finding."""
    name = image.stored_names[0]
    try:
        found = stored_digest(name)
    except ProblemError as error:
        return [unreadable(name, error)]
    if found is None:
        return [Finding(MISSING, name, "the picture is not in the store")]
    fault = difference(found, Digest.recorded(image))
    return [] if fault is None else [Finding(DAMAGED, name, fault)]


def difference(found: Digest, recorded: Digest) -> str | None:
    """In which way a file is another one than was recorded; None for the same."""
    if found.size != recorded.size:
        return f"it has {found.size:,} bytes, and {recorded.size:,} were stored"
    if found.sha256 != recorded.sha256:
        return "its checksum is not that of what was stored"
    return None


def derivative_faults(image: Image) -> list[Finding]:
    """What is wrong with the stored avatar and card: at most one finding for each."""
    _, avatar, card = image.stored_names
    findings: list[Finding] = []
    for name, kind in ((avatar, derivatives.AVATAR), (card, derivatives.CARD)):
        size = kind.size((image.width, image.height)) if image.derivation == derivatives.DERIVATION else None
        try:
            with store.failures_named():
                found = store.find(name)
                if found is None:
                    findings.append(Finding(MISSING, name, f"the {kind.name} is not in the store"))
                    continue
                with found[0] as file:
                    fault = derivative_fault(file, size)
        except ProblemError as error:
            findings.append(unreadable(name, error))
            continue
        if fault is not None:
            findings.append(Finding(DAMAGED, name, f"the {kind.name} {fault}"))
    return findings


def derivative_fault(file: File[Any], size: tuple[int, int] | None = None) -> str | None:
    """Why the file is no avatar or card; None if it is one, of that size in pixels where it is given."""
    file.seek(0)
    content = io.BytesIO(file.read())  # the decoder's failures are about the content, and not about the store
    try:
        with Picture.open(content, formats=("WEBP",)) as picture:
            picture.load()
            if size is not None and picture.size != size:
                return f"has {picture.width} by {picture.height} pixels, and {size[0]} by {size[1]} were expected"
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything on damaged input
        return "cannot be decoded"
    return None


def unreadable(name: str, error: ProblemError) -> Finding:
    """What is known of a file that the store does not give out."""
    return Finding(UNREADABLE, name, str(error.__cause__ or error.problem.detail))
