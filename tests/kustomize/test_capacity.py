"""Overlay `minikube` fits the machine that the docs promise, and nobody requests less than was measured."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.kustomize import trees
from tests.kustomize.capacity import NOTHING, Amount, amount, of_pod, replicas, table
from tests.kustomize.objects import Objects, label

CAPACITY: dict[str, Any] = tomllib.loads((trees.PROJECT / "kustomize" / "capacity.toml").read_text())
MACHINE = amount(CAPACITY["machine"])
BESIDE = {name: amount(entry) for name, entry in CAPACITY["beside"].items()}
SERVERS = frozenset({"gateway", "auth", "images", "files"})


def _sum(rows: dict[str, Amount]) -> Amount:
    return sum(rows.values(), NOTHING)


def _told(rows: dict[str, Amount]) -> str:
    lines = [f"{name:45} {each}" for name, each in {**BESIDE, **rows}.items()]
    return "\n".join(["", *lines, f"{'all of it':45} {_sum(BESIDE) + _sum(rows)}", f"{'the machine':45} {MACHINE}"])


SITUATIONS = {
    "at rest, with the largest rollout": (frozenset(), True),
    "with 18 pods of files": (frozenset({"files"}), False),
    "with 18 pods of files and the largest rollout": (frozenset({"files"}), True),
    "with every autoscaler at its maximum": (SERVERS, False),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_minikube_holds_it(
    built: Callable[[str], Objects], situation: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    at_most, rolling = SITUATIONS[situation]
    rows = table(built("minikube"), at_most=at_most, rolling=rolling)
    assert len(rows) >= 7
    total = _sum(BESIDE) + _sum(rows)
    record_testsuite_property("figure", f"minikube {situation}: {total} of {MACHINE}")
    assert total.fits(MACHINE), _told(rows)


@pytest.mark.parametrize("overlay", trees.WITH_SECRETS)
def test_files_walks_from_two_pods_to_eighteen(built: Callable[[str], Objects], overlay: str) -> None:
    pods = next(each for each in built(overlay).pods() if each.owner["metadata"]["name"] == "files")
    assert [replicas(built(overlay), pods, at_most=most) for most in (False, True)] == [2, 18]


@pytest.mark.parametrize("overlay", trees.OVERLAYS)
def test_no_container_requests_less_than_it_was_measured_to_use(built: Callable[[str], Objects], overlay: str) -> None:
    low, seen = [], set()
    for pods in built(overlay).pods():
        workload = "jobs" if pods.is_job else str(pods.owner["metadata"]["name"])
        for container in pods.containers():
            name = workload if pods.is_job else f"{workload}/{container.name}"
            entry = CAPACITY["measured"].get(name)
            if entry is None:
                low.append(f"{label(pods.owner)}: {container.path}: no use of {name} in kustomize/capacity.toml")
                continue
            seen.add(name)
            requested, used = amount(container.spec["resources"]["requests"]), amount(entry)
            if not used.fits(requested):
                low.append(f"{label(pods.owner)}: {container.path}: it requests {requested}, and uses {used}")
    assert not low, "\n" + "\n".join(low)
    assert len(seen) >= 8
    assert all(entry["how"] for entry in CAPACITY["measured"].values())
    if overlay == "minikube":
        assert seen == set(CAPACITY["measured"])


def test_a_machine_that_is_too_small_is_noticed(built: Callable[[str], Objects]) -> None:
    objects = Objects("larger", copy.deepcopy(built("minikube").all))
    files = objects.get("Deployment", "app-services", "files")
    assert files
    files["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] = "200Mi"
    rows = table(objects, at_most=frozenset({"files"}), rolling=False)
    assert rows["Deployment app-services/files"].memory >= 18 * 200
    assert not (_sum(BESIDE) + _sum(rows)).fits(MACHINE)


def test_jobs_that_may_run_together_are_added_up(built: Callable[[str], Objects]) -> None:
    objects = Objects("together", copy.deepcopy(built("minikube").all))
    rows = table(objects, at_most=frozenset(), rolling=False)
    one = of_pod(next(each for each in objects.pods() if each.is_job))
    # A backup takes up to an hour; meanwhile others come by.
    assert str(rows["jobs that may run together"]) == str(one.times(3))
    for job in objects.of("CronJob"):
        job["spec"]["schedule"] = "0 0 * * *"
    rows = table(objects, at_most=frozenset(), rolling=False)
    assert str(rows["jobs that may run together"]) == str(one.times(len(objects.of("CronJob"))))


def test_the_largest_rollout_is_the_largest_of_each_resource(built: Callable[[str], Objects]) -> None:
    objects = Objects("rolling", copy.deepcopy(built("minikube").all))
    for name, requests in {
        "auth": {"cpu": "300m", "memory": "1Mi"},
        "images": {"cpu": "1m", "memory": "300Mi"},
    }.items():
        pods = next(each for each in objects.pods() if each.owner["metadata"]["name"] == name)
        for container in pods.containers():
            container.spec["resources"]["requests"] = requests
    assert table(objects, at_most=frozenset(), rolling=True)["the largest rollout"] == Amount(0.3, 300)


def test_a_pod_requests_the_more_of_what_runs_and_what_comes_before(built: Callable[[str], Objects]) -> None:
    objects = Objects("larger", copy.deepcopy(built("minikube").all))
    pods = next(each for each in objects.pods() if each.owner["metadata"]["name"] == "auth")
    serving = pods.spec["containers"][0]["resources"]["requests"]
    assert of_pod(pods) == amount(serving)
    pods.spec["initContainers"][0]["resources"]["requests"] = {"cpu": "900m", "memory": "900Mi"}
    assert of_pod(pods) == Amount(0.9, 900)
    files = next(each for each in objects.pods() if each.owner["metadata"]["name"] == "files")
    both = [each.spec["resources"]["requests"] for each in files.containers()]
    assert len(both) == 2
    assert of_pod(files) == amount(both[0]) + amount(both[1])
