"""The wait of `deploy`: what it tells meanwhile, when it gives up, what it says in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from ops.cluster.kubectl import Kubectl, KubectlError
from ops.cluster.manifests import Manifests
from ops.cluster.rollout import NotReady, Rollout, items
from tests.ops.cluster_edge import recorded


class Cluster:
    """Shows one recorded state after the other; the last one stays."""

    context = "there"

    def __init__(self, *states: dict[str, Any] | Exception) -> None:
        self.states = list(states)
        self.looks = 0

    def items(self, *words: str) -> list[dict[str, Any]]:
        state = self.states[min(self.looks, len(self.states) - 1)]
        if isinstance(state, Exception):
            self.looks += 1
            raise state
        if words[0] == "events":
            self.looks += 1
            return list(state["events"])
        return list(state["objects"])

    def text(self, *words: str) -> str:
        if "--previous" not in words:
            raise KubectlError("the test expects the log of the run before")
        return next(iter(self.states[-1]["logs"].values()))  # type: ignore[index]


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, step: str) -> None: ...

    def done(self, step: str, note: str = "ready") -> None:
        self.lines.append(f"{step}: {note}")

    def close(self) -> None: ...

    def say(self, text: str) -> None:
        self.lines.append(text)

    event = say


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def rollout(cluster: Cluster, document: dict[str, Any]) -> tuple[Rollout, Listener, Clock]:
    objects = [each for each in document["objects"] if each["kind"] not in {"Pod", "ReplicaSet"}]
    listener, clock = Listener(), Clock()
    manifests = Manifests(Path("overlay"), objects)
    return Rollout(cast(Kubectl, cluster), manifests, listener, clock=clock, sleep=clock.sleep), listener, clock


def not_yet(document: dict[str, Any]) -> dict[str, Any]:
    """The state of a healthy Deployment before its pods are there."""
    early = {**document, "objects": [dict(each) for each in document["objects"] if each["kind"] == "Deployment"]}
    early["objects"][0]["status"] = {"observedGeneration": 1}
    return early


def test_it_ends_when_everything_is_ready_and_tells_each_thing_once() -> None:
    healthy = recorded("healthy")
    wait, listener, clock = rollout(Cluster(not_yet(healthy), not_yet(healthy), healthy), healthy)

    wait.wait(60)

    assert listener.lines == ["Deployment/healthy: 2 ready"]
    assert clock.now == 4.0


def test_a_trouble_that_lasts_is_told_once_and_the_wait_goes_on_to_the_end() -> None:
    crashing = recorded("crash-loop")
    wait, listener, clock = rollout(Cluster(crashing), crashing)

    with pytest.raises(NotReady) as caught:
        wait.wait(100)

    assert clock.now >= 100
    assert [line.splitlines()[0] for line in listener.lines] == [
        "crash-loop: its container crash-loop ends with status 1 (5 restarts); the last it said:"
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "Not ready after 100 s:"
    assert "        SECRET_KEY: it is not set, and it has no default" in lines
    assert lines[-1] == "Everything was applied. Put the cause right and run the same command again."


def test_it_gives_up_early_when_no_waiting_helps() -> None:
    refused = recorded("refused")
    wait, _, clock = rollout(Cluster(refused), refused)

    with pytest.raises(NotReady, match="refuses its pods"):
        wait.wait(600)

    assert clock.now < 30


def test_a_trouble_that_passes_soon_is_not_told() -> None:
    missing, healthy = recorded("missing-secret"), recorded("healthy")
    for each in healthy["objects"]:
        if each["kind"] == "Deployment":
            each["metadata"]["name"] = "missing-secret"
    wait, listener, _ = rollout(Cluster(missing, missing, healthy), missing)

    wait.wait(600)

    assert listener.lines == ["Deployment/missing-secret: 2 ready"]


def test_the_end_says_who_still_serves_and_the_way_back() -> None:
    stuck = recorded("stuck-rollout")
    wait, _, _ = rollout(Cluster(stuck), stuck)

    with pytest.raises(NotReady) as caught:
        wait.wait(600)

    assert (
        "  stuck-rollout: 2 pods of the release before still serving; to go back to it: kubectl --context there "
        "-n try-deploy rollout undo deployment/stuck-rollout"
    ) in str(caught.value).splitlines()


def test_a_server_that_goes_away_for_a_while_is_waited_for() -> None:
    healthy = recorded("healthy")
    away = KubectlError("connection refused")
    wait, listener, _ = rollout(Cluster(away, away, healthy), healthy)

    wait.wait(60)

    assert listener.lines == [
        "The cluster does not answer: connection refused",
        "The cluster answers again.",
        "Deployment/healthy: 2 ready",
    ]


def test_volumes_of_stateful_sets_are_waited_for() -> None:
    template = {"metadata": {"name": "data"}, "spec": {}}
    postgres = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "postgres", "namespace": "app-services"},
        "spec": {"replicas": 2, "volumeClaimTemplates": [template]},
    }

    assert [str(each) for each in items(Manifests(Path("overlay"), [postgres]))] == [
        "PersistentVolumeClaim/data-postgres-0",
        "PersistentVolumeClaim/data-postgres-1",
        "StatefulSet/postgres",
    ]
