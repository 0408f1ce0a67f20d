"""What a tree asks of a machine: the requests of its pods, as a scheduler adds them up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from tests.kustomize.objects import Object, Objects, Pods, cpu, label, memory
from tests.kustomize.schedules import together


@dataclass(frozen=True)
class Amount:
    """Cores and MiB."""

    cpu: float
    memory: float

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu + other.cpu, self.memory + other.memory)

    def or_more(self, other: Amount) -> Amount:
        """The larger of both, of each resource by itself."""
        return Amount(max(self.cpu, other.cpu), max(self.memory, other.memory))

    def times(self, number: int) -> Amount:
        return Amount(self.cpu * number, self.memory * number)

    def fits(self, machine: Amount) -> bool:
        return self.cpu <= machine.cpu + 1e-9 and self.memory <= machine.memory + 1e-9

    def __str__(self) -> str:
        return f"{self.cpu * 1000:.0f}m, {self.memory:.0f}Mi"


NOTHING = Amount(0, 0)


def amount(quantities: Object) -> Amount:
    """The amount that `{"cpu": …, "memory": …}` stands for."""
    return Amount(cpu(quantities.get("cpu", 0)), memory(quantities.get("memory", 0)))


def of_pod(pods: Pods) -> Amount:
    """What one pod requests: its containers and sidecars together, or its largest init container if that is more."""
    running, largest = NOTHING, NOTHING
    for container in pods.containers():
        requested = amount(container.spec.get("resources", {}).get("requests", {}))
        if container.initial:
            sidecars = running  # those that started before it
            largest = largest.or_more(sidecars + requested)
        else:
            running += requested
    return running.or_more(largest)


def replicas(objects: Objects, pods: Pods, at_most: bool) -> int:
    """How many pods of a workload there are at rest, or at the most."""
    for scaler in objects.of("HorizontalPodAutoscaler"):
        if scaler["spec"]["scaleTargetRef"]["name"] == pods.owner["metadata"]["name"]:
            return int(scaler["spec"]["maxReplicas"] if at_most else scaler["spec"]["minReplicas"])
    return int(pods.owner["spec"].get("replicas", 1))


def surge(pods: Pods) -> int:
    """How many pods a rolling update of a workload starts before it ends others."""
    if pods.owner["kind"] != "Deployment" or pods.owner["spec"].get("strategy", {}).get("type") == "Recreate":
        return 0
    return int(pods.owner["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 1))


def table(objects: Objects, *, at_most: frozenset[str], rolling: bool) -> dict[str, Amount]:
    """What each workload requests: those named in `at_most` with all pods of their autoscaler, the others at rest.

    With `rolling`, the workload whose update takes the most room is being updated. Of the jobs, those run that request
    the most of all that may be at work at the same time. The most is that of each resource: two workloads may be it.
    """
    rows: dict[str, Amount] = {}
    jobs: dict[str, Amount] = {}
    largest_surge = NOTHING
    for pods in objects.pods():
        one = of_pod(pods)
        if pods.is_job:
            jobs[str(pods.owner["metadata"]["name"])] = one
            continue
        name = pods.owner["metadata"]["name"]
        rows[label(pods.owner)] = one.times(replicas(objects, pods, name in at_most))
        largest_surge = largest_surge.or_more(one.times(surge(pods)))
    sums = (sum((jobs[name] for name in names), NOTHING) for names in together(objects))
    rows["jobs that may run together"] = reduce(Amount.or_more, sums, NOTHING)
    if rolling:
        rows["the largest rollout"] = largest_surge
    return rows
