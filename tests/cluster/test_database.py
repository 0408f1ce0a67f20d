"""PostgreSQL's pod goes away and comes back elsewhere: whatever was acknowledged is there."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.cluster.front import Front
from tests.cluster.kubectl import Kubectl, ready, until
from tests.cluster.load import Load
from tests.cluster.system import NAMESPACES, System

RATE = 60.0  # requests a second
RECOVERY = 5.0  # seconds after which everything is as before, once the database can be written to
NAMESPACE = NAMESPACES["postgres"]


def is_bound_to_a_node(kubectl: Kubectl) -> bool:
    """Whether PostgreSQL's volume can only be used where it is."""
    claim = kubectl.get("persistentvolumeclaim", "data-postgres-0", NAMESPACE)
    assert claim
    volume = kubectl.json("get", "persistentvolume", claim["spec"]["volumeName"])
    return "nodeAffinity" in volume["spec"]


def test_nothing_acknowledged_is_lost_when_the_pod_of_postgresql_is_deleted(
    kubectl: Kubectl, system: System, front: Front, record_testsuite_property: Callable[[str, object], None]
) -> None:
    (node,) = system.nodes_of("postgres")
    (pod,) = system.ready_pods("postgres")
    moves = not is_bound_to_a_node(kubectl) and len(kubectl.json("get", "nodes")["items"]) > 1
    with Load(front, RATE, people=8).running() as load:
        until(lambda: load.answered["upload"] >= 5 or load.failures, "five uploads", 120)
        assert load.failures == [], load.summary()
        try:
            if moves:
                kubectl.run("cordon", node)
            started = time.monotonic()
            kubectl.run("-n", NAMESPACE, "delete", "pod", pod["metadata"]["name"])
            until(lambda: system.ready_pods("postgres"), "PostgreSQL is Ready again")
            back = time.monotonic() - started
        finally:
            if moves:
                kubectl.run("uncordon", node)
        uploads = load.answered["upload"]
        until(lambda: load.answered["upload"] > uploads + 2, "uploads succeed again", 60)
        writing = time.monotonic() - started
        until(lambda: time.monotonic() > started + writing + RECOVERY, "the time to recover is over")
        failed, asked = len(load.failures), load.total
        until(lambda: load.total > asked + 600, "ten more seconds")
        late = load.failures[failed:]
    # Whatever could not be done, or shown, was said so; what needs no database went on; later all was as before.
    unsaid = [one for one in load.failures if one.status != 503 and not one.reason.startswith("limited")]
    assert unsaid == [], load.summary()
    assert "image" not in {one.call for one in load.failures}, load.summary()
    assert late == []
    assert load.lost() == []
    (now,) = system.ready_pods("postgres")
    assert ready(now)
    assert now["metadata"]["uid"] != pod["metadata"]["uid"]
    assert not moves or now["spec"]["nodeName"] != node
    figure = f"PostgreSQL Ready {back:.1f} s after its pod was deleted, uploads after {writing:.1f} s; moved: {moves}"
    record_testsuite_property("figure", figure)
    print(f"\n{figure}; {load.summary()}")
