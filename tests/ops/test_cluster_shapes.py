"""Objects of any shape: what kustomize lets pass is left to the server, which explains it; nothing breaks on it."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from ops.cluster.kubectl import Kubectl, Object, Output
from ops.cluster.manifests import Manifests, secrets_needed
from ops.cluster.preflight import checks, dry_run
from ops.cluster.rollout import items

POD = """
imagePullSecrets: [{name: registry}]
volumes:
- {name: keys, secret: {secretName: auth, items: [{key: A, path: a}]}}
- {name: whole, secret: {secretName: auth}}
- {name: both, projected: {sources: [{secret: {name: auth, items: [{key: A, path: a}]}}]}}
initContainers: [{name: migrate, image: registry.example.com/auth}]
containers:
- name: auth
  image: registry.example.com/auth
  envFrom: [{secretRef: {name: auth}}, {configMapRef: {name: auth}}]
  env:
  - {name: PIN_FILE, value: /run/PIN}
  - {name: KEY, valueFrom: {secretKeyRef: {name: auth, key: KEY}}}
  - {name: LOG, valueFrom: {configMapKeyRef: {name: auth, key: LOG}}}
  volumeMounts: [{name: whole, mountPath: /run}]
"""

OBJECTS = """
{apiVersion: v1, kind: ConfigMap, metadata: {name: auth}, data: {PASSWORD_FILE: /run/PASSWORD}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: auth}, imagePullSecrets: [{name: registry}]}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: auth, namespace: app}, spec: {template: {spec: POD}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: upkeep}, spec: {jobTemplate: {spec: {template: {spec: POD}}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: alone}, spec: POD}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: postgres}
spec:
  replicas: 2
  template: {spec: {containers: []}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {storageClassName: fast}}]
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: images}, spec: {storageClassName: manual}}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: images}, spec: {storageClassName: manual}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: portal, annotations: {cert-manager.io/issuer: seawall}}
spec:
  ingressClassName: traefik
  rules: [{host: portal.example.com}]
  tls: [{secretName: portal-tls, hosts: [portal.example.com]}]
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g},
 spec: {gatewayClassName: traefik, listeners: [{hostname: portal.example.com}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {hostnames: [a.example.com]}}
---
{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: c}, spec: {secretName: c, dnsNames: [a.b]}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: i}, spec: {acme: {email: me@example.com}}}
---
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: postgres}
spec: {imageName: ghcr.io/pg, bootstrap: {initdb: {secret: {name: owner}}}, backup: {id: {name: store, key: ID}}}
"""

WRONG: tuple[Any, ...] = (None, "debug", 5, True, ["x"], [["x"]], [None], {"name": "x"}, {"LOG_LEVEL": "debug"}, {1: 2})


class Server:
    """A cluster with hardly anything, which lets pass whatever it is shown."""

    context = "there"

    def items(self, *words: str) -> list[Object]:
        return []

    def find(self, *words: str) -> Object | None:
        return None

    def json(self, *words: str) -> Object:
        return {}

    def run(self, *words: str, stdin: str | None = None, seconds: float = 0) -> Output:
        json.loads(stdin or "")
        return Output(0, "", "", ())


def good() -> list[Object]:
    def with_pods(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_pods(each) for key, each in value.items()}
        return yaml.safe_load(POD) if value == "POD" else value

    return [with_pods(each) for each in yaml.safe_load_all(OBJECTS)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in an object but the fields without which kustomize renders none."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        here = (*path, key)
        if here[0] not in {"apiVersion", "kind"} and here not in {("metadata",), ("metadata", "name")}:
            yield here
        yield from places(each, here)


def changed(objects: list[Object], number: int, place: tuple[Any, ...], wrong: Any) -> list[Object]:
    objects = copy.deepcopy(objects)
    inner: Any = objects[number]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    return objects


def everything(objects: list[Object]) -> None:
    """All that is done with objects before the server has taken them."""
    kubectl, manifests = cast(Kubectl, Server()), Manifests(Path("nowhere"), objects)
    assert [check.name for check in checks(kubectl, manifests)][-1] == "metrics"
    dry_run(kubectl, manifests, deadline=0, say=print)
    items(manifests)


def test_no_wrong_shape_of_any_part_breaks_a_check() -> None:
    objects = good()
    everything(objects)
    for number, each in enumerate(objects):
        for place, wrong in itertools.product(places(each), WRONG):
            try:
                everything(changed(objects, number, place, wrong))
            except Exception as error:
                error.add_note(f"{each['kind']} {'.'.join(map(str, place))}: {wrong!r}")
                raise


def test_no_lacking_part_breaks_a_check() -> None:
    objects = good()
    for number, each in enumerate(objects):
        for place in places(each):
            lacking = copy.deepcopy(objects)
            inner: Any = lacking[number]
            for key in place[:-1]:
                inner = inner[key]
            del inner[place[-1]]
            everything(lacking)


def test_what_is_of_the_right_shape_beside_it_still_counts() -> None:
    volumes = [{"name": "a", "secret": {"name": "lost"}}, {"name": "b", "secret": {"secretName": "seen"}}, "c"]
    pod = {
        "volumes": volumes,
        "containers": [{"env": {"LOG_LEVEL": "debug"}, "envFrom": [{"secretRef": {"name": "x"}}]}],
    }
    deployment = {"kind": "Deployment", "metadata": {"name": "auth"}, "spec": {"template": {"spec": pod}}}

    assert [need.name for need in secrets_needed(Manifests(Path("o"), [deployment]))] == ["seen", "x"]
