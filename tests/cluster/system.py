"""The system on the cluster, as one overlay declares it: brought up, waited for, taken away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from ops.cluster import secrets
from tests.cluster.kubectl import PART_OF, Kubectl, ready, until

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACES = {"gateway": "frontend-service"} | dict.fromkeys(
    ("auth", "images", "files", "console", "postgres", "postgres-exporter"), "app-services"
)
REPLICATED = ("gateway", "auth", "images", "files")
START_SECONDS = 600.0
_MADE_HERE = "seawall.test/made-by"  # an annotation of namespaces that these tests may take away again

Object = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet."""

    kind: str
    name: str
    namespace: str

    @property
    def target(self) -> str:
        """As `kubectl rollout` names it."""
        return f"{self.kind.lower()}/{self.name}"


class System:
    """What an overlay declares, on the cluster of a context."""

    def __init__(self, kubectl: Kubectl, overlay: Path) -> None:
        self.kubectl = kubectl
        self.overlay = overlay
        self.namespaces = sorted(set(NAMESPACES.values()))
        self._was_up = False
        secrets.create(overlay)

    @classmethod
    def of_environment(cls, kubectl: Kubectl) -> System:
        """The overlay that SEAWALL_OVERLAY names, `ci` if it names none."""
        overlay = PROJECT / "kustomize" / "overlays" / os.environ.get("SEAWALL_OVERLAY", "ci")
        if not (overlay / "kustomization.yaml").exists():
            pytest.exit(f"SEAWALL_OVERLAY names {overlay.name}, and kustomize/overlays has no such overlay", 2)
        return cls(kubectl, overlay)

    def rendered(self) -> list[Object]:
        """Every object of the overlay, as kubectl renders it."""
        text = self.kubectl.run("kustomize", str(self.overlay)).stdout
        return [one for one in yaml.safe_load_all(text) if one]

    def refuse_foreign(self) -> None:
        """Ends the session if somebody else has made the namespaces: these tests take them away."""
        for namespace in self.kubectl.json("get", "namespaces")["items"]:
            if namespace["metadata"]["name"] in self.namespaces and _MADE_HERE not in namespace["metadata"].get(
                "annotations", {}
            ):
                pytest.exit(
                    f"context {self.kubectl.context} has a namespace {namespace['metadata']['name']} that these tests "
                    f"did not make, and they would delete it: name another cluster, or delete it yourself",
                    2,
                )

    def apply(self) -> CompletedProcess[str]:
        """`kubectl apply -k` of the overlay."""
        self.refuse_foreign()
        try:
            return self.kubectl.run("apply", "-k", str(self.overlay))
        finally:
            self.mark()  # also what a command that failed has made

    def apply_objects(self, objects: Iterable[Object]) -> CompletedProcess[str]:
        """`kubectl apply` of objects instead of the overlay's own."""
        return self.kubectl.run("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def mark(self) -> None:
        """Notes on the namespaces that these tests have made them."""
        for namespace in self.namespaces:
            words = ("annotate", "--overwrite", "namespace", namespace, f"{_MADE_HERE}=tests-cluster")
            self.kubectl.run(*words, check=False)

    def remove(self) -> None:
        """Takes away the namespaces with all that is in them, and what the overlay has put elsewhere."""
        self.refuse_foreign()
        elsewhere = [
            one
            for one in self.rendered()
            if one["kind"] != "Namespace" and one["metadata"].get("namespace") not in self.namespaces
        ]
        self.kubectl.run("delete", "namespace", *self.namespaces, "--ignore-not-found", "--timeout=300s")
        if elsewhere:
            document = yaml.safe_dump_all(elsewhere)
            self.kubectl.run("delete", "-f", "-", "--ignore-not-found", "--timeout=120s", input=document)

    def workloads(self) -> list[Workload]:
        """The Deployments and StatefulSets on the cluster."""
        found = self.kubectl.objects("deployments,statefulsets", selector=PART_OF)
        return [
            Workload(one["kind"], one["metadata"]["name"], one["metadata"]["namespace"])
            for one in found
            if one["metadata"]["namespace"] in self.namespaces
        ]

    def ready(self) -> dict[str, bool]:
        """Whether every replica of a workload is Ready and of the newest template, by name."""
        found = self.kubectl.objects("deployments,statefulsets", selector=PART_OF)
        return {one["metadata"]["name"]: _complete(one) for one in found}

    def wait_ready(self, seconds: float = START_SECONDS, started: float | None = None) -> dict[str, float]:
        """Waits until every workload is complete; by name, how many seconds after `started` (now) each of them was."""
        started = time.monotonic() if started is None else started
        after: dict[str, float] = {}

        def complete() -> bool:
            state = self.ready()
            for name, there in state.items():
                if there:
                    after.setdefault(name, round(time.monotonic() - started, 1))
            return bool(state) and all(state.values())

        until(complete, lambda: f"every workload is complete; {self.explain()}", seconds)
        self._was_up = True
        return after

    def bring_up(self) -> None:
        """Has the system there and Ready: applies the overlay, which changes nothing if all is as it should be.

        Ends the session if it has never been: every other test would wait for it as long.
        """
        self.apply()
        try:
            self.wait_ready()
        except AssertionError as error:
            if not self._was_up:
                pytest.exit(f"the system does not come up on this cluster: {error}", 1)
            raise
        for role in REPLICATED:
            self.spread(role)

    def explain(self) -> str:
        """What the pods that are not Ready wait for."""
        lines = []
        for pod in self.kubectl.objects("pods", selector=PART_OF):
            if ready(pod) or pod["status"].get("phase") == "Succeeded":
                continue
            status = pod["status"]
            states = [
                f"{one['name']}: {state.get('reason', '')} {state.get('message', '')}"
                for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
                for state in one["state"].values()
                if state.get("reason")
            ]
            states += [one["message"] for one in status.get("conditions", []) if one.get("message")]
            lines.append(f"{pod['metadata']['name']} ({'; '.join(states)})")
        return "not Ready: " + ", ".join(lines)

    def ready_pods(self, role: str) -> Sequence[Object]:
        """The Ready pods of a workload."""
        return [pod for pod in self.kubectl.pods(NAMESPACES[role], role) if ready(pod)]

    def nodes_of(self, role: str) -> set[str]:
        """The nodes that have Ready pods of a workload."""
        return {str(pod["spec"]["nodeName"]) for pod in self.ready_pods(role)}

    def spread(self, role: str) -> None:
        """Has the pods of a role on two nodes at least, where the cluster has two: after a drain they sit on one."""
        open_nodes = [node for node in self.kubectl.json("get", "nodes")["items"] if not node["spec"].get("taints")]
        if len(open_nodes) < 2:
            return

        def spread_out() -> bool:
            if len(self.nodes_of(role)) > 1:
                return True
            if all(self.ready().values()):
                pod = self.ready_pods(role)[0]["metadata"]["name"]
                self.kubectl.run("-n", NAMESPACES[role], "delete", "pod", pod)
            return False

        until(spread_out, f"pods of {role} on two nodes")

    def restart(self, role: str) -> None:
        """Replaces every pod of a workload by a rollout, and waits for its end."""
        workload = next(one for one in self.workloads() if one.name == role)
        self.kubectl.run("-n", workload.namespace, "rollout", "restart", workload.target)
        self.kubectl.rollout_status(workload.target, workload.namespace, 300)

    def memory(self) -> dict[str, int]:
        """MiB that the hungriest pod of each workload uses, as the metrics API has it."""
        found: dict[str, int] = {}
        for metrics in self.kubectl.objects("pods.metrics.k8s.io", selector=PART_OF):
            name = metrics["metadata"]["labels"]["app.kubernetes.io/name"]
            used = sum(_mebibytes(one["usage"]["memory"]) for one in metrics["containers"])
            found[name] = max(found.get(name, 0), round(used))
        return dict(sorted(found.items()))


def _complete(workload: Object) -> bool:
    status, wanted = workload["status"], workload["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration") == workload["metadata"]["generation"] and set(counts) == {wanted}


def _mebibytes(quantity: str) -> float:
    for suffix, factor in (("Ki", 1 / 1024), ("Mi", 1.0), ("Gi", 1024.0)):
        if quantity.endswith(suffix):
            return float(quantity.removesuffix(suffix)) * factor
    return float(quantity) / 1024**2
