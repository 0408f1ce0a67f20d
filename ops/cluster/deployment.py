"""An overlay onto a cluster: look first, change only what will be taken, wait until it is ready."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ops.cluster.kubectl import Kubectl
from ops.cluster.manifests import Manifests, render
from ops.cluster.preflight import Check, checks, connect, dry_run, missing_namespaces
from ops.cluster.rollout import NotReady, Rollout
from ops.errors import OperatorError
from ops.progress import Progress

UNCHANGED = "Nothing was changed on the cluster."


class Unfit(OperatorError):
    """The cluster or the overlay lacks something. The message says what."""


class HalfApplied(OperatorError):
    """The server has refused an object that it had agreed to before, or went away in the middle."""


@dataclass
class Deployment:
    """One run of `manage.py deploy`. `changed` says what it has done to the cluster so far."""

    kubectl: Kubectl
    overlay: Path
    listener: Progress
    changed: str = UNCHANGED

    def account(self, error: OperatorError) -> str:
        """What an error of this run says, and what was changed, wherever it does not say so itself."""
        return str(error) if isinstance(error, HalfApplied | NotReady) else f"{error}\n{self.changed}"

    def check(self, seconds: float) -> Manifests:
        """Everything that can be known without changing anything. Raises Unfit with all faults, or OperatorError."""
        faults = self._told(connect(self.kubectl))
        manifests = render(self.kubectl, self.overlay)
        self.listener.done("overlay", f"{len(manifests.objects)} objects from {self.overlay}")
        for check in checks(self.kubectl, manifests):
            faults += self._told(check)
        if not faults:  # or the server would tell the same once more
            faults = self._dry_run(manifests, seconds)
        self._raise(faults)
        return manifests

    def run(self, seconds: float) -> None:
        """Check, apply, wait. Raises Unfit, HalfApplied, NotReady or another OperatorError."""
        manifests = self.check(seconds)
        self._make_namespaces(manifests, seconds)
        self._apply(manifests)
        Rollout(self.kubectl, manifests, self.listener).wait(seconds)

    def _make_namespaces(self, manifests: Manifests, seconds: float) -> None:
        """Those that are missing, after which the server can say of each object whether it takes it where it belongs:
        Pod Security and quotas are rules of namespaces."""
        missing = missing_namespaces(self.kubectl, manifests)
        if not missing:
            return
        objects = [each for each in manifests.of_kind("Namespace") if each["metadata"]["name"] in missing]
        made = " and ".join(missing)
        self.changed = f"At most the namespaces {made} were made; nothing else was changed."
        self.kubectl.text("apply", "-f", "-", stdin=manifests.as_list(objects))
        self.listener.done("namespaces", f"{made} made")
        self.changed = f"Only the namespaces {made} were made; nothing else was changed."
        self._raise(self._dry_run(manifests, seconds))

    def _apply(self, manifests: Manifests) -> None:
        self.listener.begin("apply")
        self.changed = "Some objects may have been applied already; run the same command again to have all of them."
        output = self.kubectl.run("apply", "-f", "-", stdin=manifests.as_list())
        results = [line.rpartition(" ")[2] for line in output.text.splitlines() if line.strip()]
        counts = ", ".join(
            f"{results.count(result)} {result}"
            for result in ("created", "configured", "unchanged")
            if result in results
        )
        if output.status != 0:
            raise HalfApplied(
                f"Only {len(results)} of {len(manifests.objects)} objects were applied ({counts or 'none'}): "
                f"{output.errors} The cluster has changed since it agreed to all of them: run the same command again, "
                "which leaves what is applied as it is."
            )
        self.listener.done("apply", counts)
        self.changed = (
            "Everything was applied, and the cluster goes on starting it. Run the same command again to wait."
        )

    def _dry_run(self, manifests: Manifests, seconds: float) -> list[str]:
        self.listener.begin("dry run")
        deadline = time.monotonic() + seconds
        return self._told(dry_run(self.kubectl, manifests, deadline=deadline, say=self.listener.say))

    def _told(self, check: Check) -> list[str]:
        if not check.faults:
            self.listener.done(check.name, check.note)
        return list(check.faults)

    def _raise(self, faults: list[str]) -> None:
        if faults:
            raise Unfit("\n".join(["This cannot be deployed:", *(f"  - {fault}" for fault in faults)]))
