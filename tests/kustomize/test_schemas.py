"""Every object is valid for the three newest Kubernetes, and for the operators whose kinds it uses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest

from tests.kustomize.conftest import TREES
from tests.kustomize.objects import Object, Objects, label
from tests.kustomize.schemas import FOLDER, schema_of

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
_STRICT = {
    (int(found[1]), int(found[2])): path
    for path in SCHEMAS.iterdir()
    if (found := re.fullmatch(r"v(\d+)\.(\d+)\.\d+-local-strict", path.name))
}
MINORS = tuple(f"{major}.{minor}" for major, minor in sorted(_STRICT)[-3:])


def _folder(minor: str) -> Path:
    major, _, number = minor.partition(".")
    return _STRICT[int(major), int(number)]


@cache
def _registry(minor: str) -> jsonschema_rs.Registry:
    document = json.loads((_folder(minor) / "_definitions.json").read_text())
    return jsonschema_rs.Registry([("json-schema:///api/_definitions.json", document)])


@cache
def validator(api_version: str, kind: str, minor: str) -> jsonschema_rs.Draft202012Validator | None:
    """What judges objects of a kind: Kubernetes' own schema of a minor, else ours of a custom resource."""
    if schema := schema_of(api_version, kind):
        return jsonschema_rs.Draft202012Validator(schema)
    group, _, version = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0]}-{version}" if group else f"{kind.lower()}-{version}"
    file = _folder(minor) / f"{name}.json"
    if not file.exists():
        return None
    document = json.loads(file.read_text())
    return jsonschema_rs.Draft202012Validator(document, registry=_registry(minor))


_judged: dict[str, list[str]] = {}


def faults(thing: Object, minor: str) -> list[str]:
    """What the schemas say against an object: the object, the place in it, and what is wrong there."""
    text = minor + json.dumps(thing, sort_keys=True)
    if text not in _judged:
        judge = validator(thing["apiVersion"], thing["kind"], minor)
        if judge is None:
            _judged[text] = [f"{label(thing)}: no schema of {thing['apiVersion']} for Kubernetes {minor}"]
        else:
            _judged[text] = [
                f"{label(thing)}: {'.'.join(map(str, error.instance_path))}: {error.message[:300]}"
                for error in judge.iter_errors(thing)
            ]
    return _judged[text]


def test_the_newest_three_minors_are_those_of_the_validator() -> None:
    assert len(MINORS) == 3
    assert all(_folder(minor).is_dir() for minor in MINORS)
    numbers = [int(minor.split(".")[1]) for minor in MINORS]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_every_object_is_valid_for_kubernetes(built: Callable[[str], Objects], name: str, minor: str) -> None:
    things = built(name).all
    found = [fault for thing in things for fault in faults(thing, minor)]
    assert not found, "\n" + "\n".join(found)
    assert len(things) > 30


@pytest.mark.parametrize("minor", MINORS)
def test_a_field_that_kubernetes_does_not_know_is_an_error(built: Callable[[str], Objects], minor: str) -> None:
    deployment = copy.deepcopy(built("minikube").get("Deployment", "app-services", "auth"))
    assert deployment
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    assert any(
        "imagePullPolice" in fault and "Deployment app-services/auth" in fault for fault in faults(deployment, minor)
    )
    deployment = copy.deepcopy(built("minikube").get("Deployment", "app-services", "auth"))
    assert deployment
    deployment["spec"]["minReadySeconds"] = "three"
    assert any("spec.minReadySeconds" in fault for fault in faults(deployment, minor))


CUSTOM = [
    ("cert-manager.io/v1", "Certificate", {"secretName": "tls", "issuerRef": {"name": "ca"}}),
    ("cert-manager.io/v1", "Issuer", {"selfSigned": {}}),
    ("cert-manager.io/v1", "ClusterIssuer", {"ca": {"secretName": "ca"}}),
    ("gateway.networking.k8s.io/v1", "GatewayClass", {"controllerName": "example.com/gateway"}),
    (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        {"gatewayClassName": "traefik", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", {"rules": [{"backendRefs": [{"name": "gateway", "port": 8000}]}]}),
    (
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        {"from": [{"group": "", "kind": "Service", "namespace": "a"}], "to": [{"group": "", "kind": "Service"}]},
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor", {"selector": {}, "endpoints": [{"port": "management"}]}),
    ("monitoring.coreos.com/v1", "PodMonitor", {"selector": {}, "podMetricsEndpoints": [{"port": "management"}]}),
    (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]},
    ),
    ("monitoring.coreos.com/v1", "Prometheus", {"replicas": 1}),
    ("monitoring.coreos.com/v1", "Alertmanager", {"replicas": 1, "image": "alertmanager:0.28.1"}),
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig", {"staticConfigs": [{"targets": ["a:1"]}]}),
    ("postgresql.cnpg.io/v1", "Cluster", {"instances": 3, "storage": {"size": "1Gi"}}),
    ("postgresql.cnpg.io/v1", "ScheduledBackup", {"schedule": "0 0 0 * * *", "cluster": {"name": "postgres"}}),
    ("postgresql.cnpg.io/v1", "Backup", {"cluster": {"name": "postgres"}}),
    ("postgresql.cnpg.io/v1", "Database", {"cluster": {"name": "postgres"}, "name": "images", "owner": "images"}),
    ("postgresql.cnpg.io/v1", "Pooler", {"cluster": {"name": "postgres"}, "pgbouncer": {"poolMode": "session"}}),
    ("barmancloud.cnpg.io/v1", "ObjectStore", {"configuration": {"destinationPath": "s3://backups"}}),
]


@pytest.mark.parametrize(("api_version", "kind", "spec"), CUSTOM, ids=[f"{each[1]}" for each in CUSTOM])
def test_custom_resources_are_judged_by_their_own_schema(api_version: str, kind: str, spec: Object) -> None:
    good = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it", "namespace": "a"}, "spec": spec}
    assert faults(good, MINORS[-1]) == []
    misspelt = copy.deepcopy(good) | {"spec": {**spec, "thisIsNoField": 1}}
    assert any("thisIsNoField" in fault and f"{kind} a/it" in fault for fault in faults(misspelt, MINORS[-1]))


def test_there_is_a_good_example_of_every_schema_and_each_says_where_it_is_from() -> None:
    files = {path.name for path in FOLDER.glob("*.json")}
    judged = {f"{kind.lower()}-{api_version.replace('/', '-')}.json" for api_version, kind, _ in CUSTOM}
    assert judged == files
    assert all(json.loads((FOLDER / name).read_text())["x-source"] for name in files)
