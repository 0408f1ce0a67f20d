"""Every record, compared with what is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field

from django.utils import timezone

from images import store
from images.models import Image
from images.upkeep import content, counters, reaping, walking
from images.upkeep.counters import Miscount
from images.upkeep.walking import Finding, Progress, Tell
from internal import context
from internal.problems import ProblemError

_GOING_ON = "Nothing was changed; run the same command again when it does."


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong.

    Attributes:
        faults: images with something missing, damaged or unreadable.
        findings: how many files are missing, damaged, unreadable.
        without_record: files that no record names and that are old enough for the reaper; None where not looked for.
        miscounts: accounts whose counters are wrong and were not corrected.
    """

    images: int = 0
    faults: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    without_record: int | None = None
    miscounts: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that was acknowledged is there, whole, and counted."""
        return not self.faults and not self.miscounts


def verify(
    *,
    sample: int | None,
    older_than: dt.timedelta,
    repair_counters: bool,
    tell: Tell,
    tell_miscount: Callable[[Miscount], None],
    progress: Progress,
) -> Verified:
    """Reads every stored file of every record, or of `sample` of them, and compares the counters with the records.

    Files without a record are counted if they are old enough for the reaper, unless this is a sample.

    Raises:
        Stopped: the store is away.
    """
    done = Verified()
    total = Image.objects.count() if sample is None else min(sample, Image.objects.count())
    _check(walking.records() if sample is None else walking.sample(sample), total, done, tell, progress)
    for miscount in counters.miscounts(repair=repair_counters):
        done.miscounts += not miscount.repaired
        tell_miscount(miscount)
    if sample is None:
        before = timezone.now() - older_than
        try:
            with store.failures_named():
                done.without_record = sum(
                    found.kind is reaping.Kind.LEFT_BEHIND for found in reaping.without_record(store.listing(), before)
                )
        except ProblemError as error:
            raise walking.Stopped(f"The files of the image store cannot be listed. {_GOING_ON}") from error
    return done


def _check(images: Iterable[Image], total: int, done: Verified, tell: Tell, progress: Progress) -> None:
    outage = walking.Outage(_GOING_ON)
    with closing(walking.in_order(_faults, images)) as looked_at:
        for image, findings in looked_at:
            if findings:
                with context.deadline_of(walking.FILE_SECONDS):
                    findings = _confirmed(image)
            outage.note(findings)
            done.images += 1
            done.faults += bool(findings)
            for finding in findings:
                done.findings[finding.what] = done.findings.get(finding.what, 0) + 1
                tell(finding)
            progress(done.images, total)


def _faults(image: Image) -> list[Finding]:
    return [*content.picture_faults(image), *content.derivative_faults(image)]


def _confirmed(image: Image) -> list[Finding]:
    """The same once more, by the record of now: it may have been deleted, or given new pictures, meanwhile."""
    while (current := Image.objects.filter(id=image.id).first()) is not None:
        findings = _faults(current)
        again = Image.objects.filter(id=image.id).first()
        if again is not None and again.derivation == current.derivation:
            return findings
    return []
