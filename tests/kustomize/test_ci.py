"""Overlay `ci`, on which the tests of a cluster run, is `minikube` but for images, places and PostgreSQL's volume."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.kustomize.objects import Object, Objects, label, plain_name


def comparable(objects: Objects) -> dict[str, Object]:
    """The objects of an overlay by their names, less what the two may differ in."""
    plain = {
        thing["metadata"]["name"]: plain_name(thing)
        for thing in objects.all
        if thing["kind"] in {"ConfigMap", "Secret"}
    }
    everything: list[Object] = _renamed(copy.deepcopy(objects.all), plain)
    left = [thing for thing in everything if thing["kind"] != "PersistentVolume"]
    for thing in left:
        if thing["kind"] == "Secret":
            thing["data"] = sorted(thing["data"])  # each overlay has values of its own
        elif thing["kind"] == "Ingress":
            del thing["spec"]["ingressClassName"]
        elif thing["kind"] == "NetworkPolicy" and "seawall/place" in thing["metadata"].get("annotations", {}):
            for peer in thing["spec"]["ingress"][0]["from"]:
                del peer["namespaceSelector"]
        elif thing["kind"] == "StatefulSet":
            for claim in thing["spec"]["volumeClaimTemplates"]:
                claim["spec"].pop("storageClassName", None)
                claim["spec"].pop("volumeName", None)
    for pods in Objects(objects.name, left).pods():
        for container in pods.containers():
            del container.spec["image"]
    return {label(thing): thing for thing in left}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def test_ci_is_minikube_but_for_images_places_and_the_volume_of_postgresql(built: Callable[[str], Objects]) -> None:
    ours, theirs = comparable(built("ci")), comparable(built("minikube"))
    assert len(ours) > 70
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Deployment", "minReadySeconds"), ("CronJob", "suspend"), ("HorizontalPodAutoscaler", "minReplicas")],
)
def test_another_difference_is_seen(built: Callable[[str], Objects], kind: str, path: str) -> None:
    changed = Objects("ci", copy.deepcopy(built("ci").all))
    changed.of(kind)[0]["spec"][path] = 17
    ours, theirs = comparable(changed), comparable(built("minikube"))
    assert [name for name in ours if ours[name] != theirs[name]] == [label(changed.of(kind)[0])]
