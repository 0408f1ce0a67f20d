"""Pods, nodes and releases come and go while people use the system, and not one of their requests fails.

The first three scenarios share one load with the last one, which goes on until there were SEAWALL_CLUSTER_REQUESTS.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.front import Front
from tests.cluster.kubectl import PART_OF, Kubectl, until
from tests.cluster.load import Load, served
from tests.cluster.system import NAMESPACES, REPLICATED, System

REQUESTS = int(os.environ.get("SEAWALL_CLUSTER_REQUESTS", "100000"))
# Requests a second, asked for; 0: half of what the cluster serves undisturbed. While half of its pods are new, half of
# that: the other pods answer, and where all nodes are one small machine, pods that start take most of it.
RATE = float(os.environ.get("SEAWALL_CLUSTER_RATE", "0"))
SHARE, MOST = 0.5, 120.0
RECONNECTED = 1 / 1000  # of all requests: more may not have been sent again because their connection was closed
PEOPLE = 10  # so many requests at the same time: fewer than the gateway's bulkheads of two pods admit
SECONDS = 4800.0  # for all requests
ROLLED = (*REPLICATED, "console")


@pytest.fixture(scope="module")
def load(kubectl: Kubectl, declared: System) -> Iterator[Load]:
    """People who use the system all the while."""
    declared.bring_up()
    front = Front.of_environment(kubectl)
    rate = RATE or min(MOST, SHARE * served(front, PEOPLE))
    with Load(front, rate, PEOPLE).running() as load:
        yield load


@pytest.fixture
def halved(load: Load) -> Iterator[Load]:
    """The same people, who ask half as often."""
    load.rate /= 2
    yield load
    load.rate *= 2


def nothing_failed(load: Load) -> None:
    """A hundred more requests are answered, and no request has failed since this was asked last."""
    seen = load.total
    until(lambda: load.total >= seen + 100, "a hundred more requests", 60)
    assert load.new_failures() == [], load.summary()


def test_a_pod_of_each_role_is_deleted_at_once(halved: Load, kubectl: Kubectl, declared: System) -> None:
    doomed = {role: declared.ready_pods(role)[0]["metadata"]["name"] for role in REPLICATED}

    for role, pod in doomed.items():
        kubectl.run("-n", NAMESPACES[role], "delete", "pod", pod, "--wait=false")
    for role, pod in doomed.items():
        kubectl.wait(f"pod/{pod}", "delete", NAMESPACES[role])
    declared.wait_ready()

    nothing_failed(halved)


def test_the_node_without_postgresql_is_drained(halved: Load, kubectl: Kubectl, declared: System) -> None:
    (database,) = declared.nodes_of("postgres")
    for role in REPLICATED:
        declared.spread(role)
    nodes = [node["metadata"]["name"] for node in kubectl.json("get", "nodes")["items"]]
    used = [node for node in nodes if all(node in declared.nodes_of(role) for role in REPLICATED)]
    drained = next((node for node in used if node != database), None)
    assert drained is not None, f"no node beside PostgreSQL's {database} has a pod of each role: this needs two nodes"

    try:
        # Only the system's own pods: what a controller of the cluster is to do when it is evicted is not ours to show.
        words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={PART_OF}", "--timeout=300s")
        kubectl.run("drain", drained, *words)
        left = {role for role in (*REPLICATED, "console") if drained in declared.nodes_of(role)}
        declared.wait_ready()
    finally:
        kubectl.run("uncordon", drained)

    assert left == set()
    nothing_failed(halved)
    for role in REPLICATED:
        declared.spread(role)
    nothing_failed(halved)


@pytest.mark.parametrize("role", ROLLED)
def test_every_pod_of_a_role_is_replaced_by_a_rollout(load: Load, declared: System, role: str) -> None:
    before = {pod["metadata"]["uid"] for pod in declared.ready_pods(role)}

    declared.restart(role)

    after = {pod["metadata"]["uid"] for pod in declared.ready_pods(role)}
    assert not before & after
    nothing_failed(load)


def with_an_image_that_is_not_there(pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        container["image"] = container["image"].rpartition(":")[0] + ":is-not-there"


def with_a_program_that_ends(pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        container["command"] = ["python", "-c", "raise SystemExit('is-not-there')"]
        if "nginx" in container["image"]:
            container["command"] = ["nginx", "-c", "/is-not-there"]


def with_a_migration_that_fails(pod: dict[str, Any]) -> None:
    for container in pod.get("initContainers", []):
        if container["name"].startswith("migrate"):
            container["command"] = ["python", "manage.py", "migrate", "is-not-there"]


@pytest.mark.parametrize(
    ("breaks", "roles"),
    [
        (with_an_image_that_is_not_there, REPLICATED),
        (with_a_program_that_ends, REPLICATED),
        (with_a_migration_that_fails, ("auth", "images")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_release_stops_and_harms_nobody(
    load: Load, kubectl: Kubectl, declared: System, breaks: Callable[[dict[str, Any]], None], roles: tuple[str, ...]
) -> None:
    bad, least = [], {}
    for one in copy.deepcopy(declared.rendered()):
        name = one["metadata"]["name"]
        if one["kind"] == "HorizontalPodAutoscaler" and name in roles:
            least[name] = one["spec"]["minReplicas"]
        if one["kind"] == "Deployment" and name in roles:
            bad.append(one)
            breaks(one["spec"]["template"]["spec"])
            # As long as the slowest start takes, and no longer than a test should.
            one["spec"]["progressDeadlineSeconds"] = 60
    before = {role: {pod["metadata"]["uid"] for pod in declared.ready_pods(role)} for role in roles}

    try:
        declared.apply_objects(bad)
        for role in roles:
            until(lambda role=role: stuck(kubectl, role), f"the rollout of {role} is told to be stuck", 180)
        serving = {role: {pod["metadata"]["uid"] for pod in declared.ready_pods(role)} for role in roles}
        told = declared.explain()
    finally:
        declared.apply()
    declared.wait_ready()

    assert set(least) == set(roles)
    for role in roles:
        assert serving[role] <= before[role], f"a pod of the broken release of {role} was Ready"
        assert len(serving[role]) >= least[role], f"{role}: too few of the old pods serve"
    assert all(role in told for role in roles), told
    nothing_failed(load)


def stuck(kubectl: Kubectl, role: str) -> bool:
    """Whether a Deployment says that its rollout has passed its deadline."""
    deployment = kubectl.get("deployment", role, NAMESPACES[role])
    assert deployment
    return any(
        one["type"] == "Progressing" and one["reason"] == "ProgressDeadlineExceeded"
        for one in deployment["status"]["conditions"]
    )


def test_none_of_all_the_requests_failed(
    load: Load, declared: System, record_testsuite_property: Callable[[str, object], None]
) -> None:
    rollouts = 0
    roles = iter(REPLICATED * 100)

    def enough() -> bool:
        nonlocal rollouts
        if load.total < REQUESTS:
            declared.restart(next(roles))
            rollouts += 1
        return load.total >= REQUESTS

    until(enough, f"{REQUESTS} requests", SECONDS)

    memory = declared.memory()
    answered = dict(load.answered.most_common())
    figure = f"{load.rate:.0f}/s asked for; {load.summary()}; {rollouts} more rollouts; {answered}; MiB a pod {memory}"
    record_testsuite_property("figure", figure)
    print(f"\n{figure}")
    assert load.failures == [], load.failures[:10]
    assert load.total >= REQUESTS
    assert load.reconnected <= load.total * RECONNECTED, figure
    assert load.lost() == []
