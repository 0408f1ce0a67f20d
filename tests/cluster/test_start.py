"""From nothing to Ready with one command, which changes nothing when it is given again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl, ready
from tests.cluster.system import NAMESPACES, System

PRIVILEGED = """
apiVersion: v1
kind: Pod
metadata: {name: privileged, namespace: %s}
spec:
  containers:
    - {name: privileged, image: "localhost/python:1", securityContext: {privileged: true}}
"""


def states(kubectl: Kubectl, system: System) -> dict[tuple[str, str, str], Any]:
    """What tells a change of a declared object: its version; where a controller writes a status, its specification."""
    found: dict[tuple[str, str, str], Any] = {}
    wanted = {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in system.rendered()}
    for kind in sorted({kind for kind, _, _ in wanted}):
        for item in kubectl.objects(kind):
            metadata = item["metadata"]
            key = (kind, metadata.get("namespace", ""), metadata["name"])
            if key in wanted:
                declares = (metadata.get("generation"), metadata.get("labels"), item.get("spec"))
                found[key] = declares if "status" in item else metadata["resourceVersion"]
    assert set(found) == wanted
    return found


def test_everything_becomes_ready_from_nothing_and_nothing_warns(
    kubectl: Kubectl, declared: System, record_testsuite_property: Callable[[str, object], None]
) -> None:
    declared.remove()

    started = time.monotonic()
    applied = declared.apply()
    seconds = declared.wait_ready(started=started)

    assert applied.stderr == ""
    assert set(seconds) == set(NAMESPACES)
    assert all(ready(pod) for role in NAMESPACES for pod in kubectl.pods(NAMESPACES[role], role))
    record_testsuite_property("figure", f"seconds from nothing to Ready: {seconds}")
    print(f"\nseconds from nothing to Ready: {seconds}")


@pytest.mark.parametrize("namespace", sorted(set(NAMESPACES.values())))
def test_a_privileged_pod_is_refused(kubectl: Kubectl, system: System, namespace: str) -> None:
    answer = kubectl.run("apply", "--dry-run=server", "-f", "-", input=PRIVILEGED % namespace, check=False)

    assert answer.returncode == 1
    assert 'violates PodSecurity "restricted' in answer.stderr


def test_no_pod_was_refused_or_killed(kubectl: Kubectl, system: System) -> None:
    for role, namespace in NAMESPACES.items():
        for pod in kubectl.pods(namespace, role):
            for container in pod["status"]["containerStatuses"]:
                last = container.get("lastState", {}).get("terminated", {})
                assert last.get("reason") != "OOMKilled", f"{pod['metadata']['name']}: {container['name']}"
    refused = [
        event["message"]
        for namespace in system.namespaces
        for event in kubectl.objects("events", namespace)
        if event["reason"] == "FailedCreate" and "PodSecurity" in event["message"]
    ]
    assert refused == []


def test_a_second_apply_changes_nothing(kubectl: Kubectl, system: System) -> None:
    before = states(kubectl, system)

    difference = kubectl.run("diff", "-k", str(system.overlay), check=False)
    system.apply()

    assert (difference.returncode, difference.stdout) == (0, "")
    assert states(kubectl, system) == before
