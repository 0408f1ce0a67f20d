"""Waiting until everything that was applied is ready, and saying why where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.cluster.diagnosis import KINDS, KINDS_OF_OPERATORS, Item, Snapshot, Trouble, progress, still_serving, troubles
from ops.cluster.kubectl import Kubectl, KubectlError, Object
from ops.cluster.manifests import Manifests, namespace_of
from ops.cluster.preflight import volume_claims
from ops.errors import OperatorError
from ops.progress import Progress

INTERVAL = 2.0
TOLD_AFTER = 6.0
"""Seconds that a trouble has to stand before it is told: much of a start looks like one for a moment."""

_LOG_LINES = "20"


class NotReady(OperatorError):
    """Everything was applied, and not everything is ready. The message says what stands in the way."""


@dataclass
class _Standing:
    trouble: Trouble
    since: float
    is_told: bool = False


def items(manifests: Manifests) -> list[Item]:
    """What has to become ready, volumes first."""
    claims = [Item("PersistentVolumeClaim", namespace, name) for namespace, name, _ in volume_claims(manifests)]
    kinds = ("Cluster", "StatefulSet", "Deployment", "Certificate")
    return claims + [
        Item(each["kind"], namespace_of(each), each["metadata"]["name"])
        for kind in kinds
        for each in manifests.of_kind(kind)
    ]


class Rollout:
    """The wait for one overlay.

    `clock` and `sleep` are those of `time`; tests have their own.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        manifests: Manifests,
        listener: Progress,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kubectl = kubectl
        self._manifests = manifests
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._waiting = items(manifests)
        self._standing: dict[str, _Standing] = {}
        self._snapshot = Snapshot([])
        self._fault: str | None = None

    def wait(self, seconds: float) -> None:
        """Return when everything is ready. Raises NotReady after `seconds`, or sooner where waiting is pointless."""
        begun = self._clock()
        for item in self._waiting:
            self._listener.begin(str(item))
        while True:
            self._look()
            if not self._waiting:
                return
            waited = self._clock() - begun
            if waited >= seconds or self._is_pointless():
                raise NotReady(self._verdict(waited))
            self._sleep(INTERVAL)

    def _look(self) -> None:
        """Take a new picture, tell what is new in it."""
        try:
            self._snapshot = self._picture()
        except KubectlError as error:
            if self._fault is None:
                self._listener.event(f"The cluster does not answer: {error}")
            self._fault = str(error)
            return
        if self._fault is not None:
            self._listener.event("The cluster answers again.")
            self._fault = None
        left = []
        for item in self._waiting:
            is_done, note = progress(item, self._snapshot)
            if is_done:
                self._listener.done(str(item), note)
            else:
                left.append(item)
        self._waiting = left
        self._keep_in_mind(
            [
                each
                for item in left
                for each in troubles(item, self._snapshot, overlay=self._manifests.overlay, log=self._log)
            ]
        )

    def _picture(self) -> Snapshot:
        objects: list[Object] = []
        events: list[Object] = []
        for namespace in sorted({item.namespace for item in self._waiting}):
            kinds = list(KINDS)
            for kind, more in KINDS_OF_OPERATORS.items():
                if any(item.kind == kind and item.namespace == namespace for item in self._waiting):
                    kinds += more
            objects += self._kubectl.items(",".join(kinds), "-n", namespace)
            events += self._kubectl.items("events", "-n", namespace)
        return Snapshot(objects, events)

    def _keep_in_mind(self, current: list[Trouble]) -> None:
        now = self._clock()
        before, self._standing = self._standing, {}
        for trouble in current:
            standing = before.get(trouble.key) or _Standing(trouble, since=now)
            standing.trouble = trouble
            if not standing.is_told and now - standing.since >= min(TOLD_AFTER, trouble.patience or TOLD_AFTER):
                self._listener.event(f"{trouble.subject}: {trouble.sentence}")
                standing.is_told = True
            self._standing[trouble.key] = standing

    def _is_pointless(self) -> bool:
        now = self._clock()
        return any(
            each.trouble.patience is not None and now - each.since >= each.trouble.patience
            for each in self._standing.values()
        )

    def _verdict(self, waited: float) -> str:
        lines = [f"Not ready after {waited:.0f} s:"]
        if self._fault is not None:
            lines.append(f"  the cluster does not answer: {self._fault}")
        causes = [each.trouble for each in self._standing.values()]
        lines += [f"  {each.subject}: {each.sentence}" for each in causes]
        explained = {each.subject for each in causes}
        for item in self._waiting:
            if item.name not in explained and str(item) not in explained:
                lines.append(f"  {item}: {progress(item, self._snapshot)[1]}")
        for item in self._waiting:
            if old := still_serving(item, self._snapshot):
                pods = "1 pod" if old == 1 else f"{old} pods"
                lines.append(
                    f"  {item.name}: {pods} of the release before still serving; to go back to it: kubectl --context "
                    f"{self._kubectl.context} -n {item.namespace} rollout undo deployment/{item.name}"
                )
        lines.append("Everything was applied. Put the cause right and run the same command again.")
        return "\n".join(lines)

    def _log(self, namespace: str, pod: str, container: str) -> str:
        words = ("logs", "-n", namespace, pod, "-c", container, f"--tail={_LOG_LINES}")
        for extra in (("--previous",), ()):
            try:
                if text := self._kubectl.text(*words, *extra):
                    return text
            except KubectlError:
                continue  # the run before is forgotten, or there was none
        return ""
