"""Each container gets what its role reads: nothing is missing, nothing too much, and no secret of another one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ops.cluster.secrets import KEYS
from tests.kustomize import trees
from tests.kustomize.conftest import TREES
from tests.kustomize.environment import (
    ROLES,
    Case,
    Values,
    ask,
    cases,
    faults,
    faults_of_others,
    foreign_secrets,
    image_of,
    role_of,
)
from tests.kustomize.objects import Object, Objects, Pods, namespace, plain_name
from tests.kustomize.rules import SECRETS, TLS_SECRETS


@pytest.fixture(scope="session")
def values(kustomize: Path) -> Values:
    """Secrets that exist beforehand: those that the command makes for another overlay, and made-up ones of a store."""
    found: Values = {}
    for (where, name), keys in SECRETS.items():
        file = kustomize / "overlays" / "minikube" / "secrets" / f"{name}.env"
        if file.exists():
            found[where, name] = dict(line.split("=", 1) for line in file.read_text().splitlines() if line)
        else:
            found[where, name] = {key: f"value-of-{key.lower()}" for key in keys or ()}
    return found


@pytest.fixture(scope="session")
def found_by_tree(
    built: Callable[[str], Objects], values: Values, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    """What is wrong in a tree; equal environments are asked once for all trees."""
    answers: dict[str, dict[str, object]] = {}

    def identity(case: Case) -> str:
        return json.dumps([case.role, case.serves, case.given, sorted(case.mounted)], sort_keys=True)

    def find(name: str) -> list[str]:
        all_cases = cases(built(name), values)
        assert {case.role for case in all_cases} == set(ROLES)
        new = {identity(case): case for case in all_cases if identity(case) not in answers}
        if new:
            answers.update(zip(new, ask(list(new.values()), tmp_path_factory.mktemp("secrets")), strict=True))
        return [fault for case in all_cases for fault in faults(case, answers[identity(case)])]

    return find


@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_each_role_reads_what_it_is_given_and_lacks_nothing(
    found_by_tree: Callable[[str], list[str]], name: str
) -> None:
    found = found_by_tree(name)
    assert not found, "\n" + "\n".join(found)


def test_what_is_missing_or_too_much_or_of_another_role_is_named(
    built: Callable[[str], Objects], values: Values, tmp_path: Path
) -> None:
    good = next(case for case in cases(built("minikube"), values) if case.role == "gateway" and case.serves)
    without_url = replace(good, given={key: value for key, value in good.given.items() if key != "AUTH_URL"})
    too_much = replace(good, given=good.given | {"DATABASE_URL": "postgres://somebody@db/x"})
    no_file = replace(good, given=good.given | {"SECRET_KEY_FILE": "/run/secrets/seawall/SECRET_KEYS"})
    foreign = replace(good, mounted=good.mounted | {"/run/secrets/seawall/KEY_ENCRYPTION_KEYS": "x"})
    asked = [good, without_url, too_much, no_file, foreign]
    found = [faults(case, answer) for case, answer in zip(asked, ask(asked, tmp_path), strict=True)]
    assert found[0] == []
    assert "AUTH_URL: it is not set" in found[1][0]
    assert found[2] == [f"{good.where}: DATABASE_URL: the role gateway does not read it"]
    assert any("SECRET_KEYS" in fault for fault in found[3])
    assert found[4] == [
        f"{good.where}: the file /run/secrets/seawall/KEY_ENCRYPTION_KEYS of a Secret is for nobody in it"
    ]
    assert all(good.where.startswith("Deployment frontend-service/gateway") for _ in found)


@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_programs_of_others_get_what_they_read_and_nothing_else(
    built: Callable[[str], Objects], values: Values, name: str
) -> None:
    images = {
        image_of(container)
        for pods in built(name).pods()
        for container in pods.containers()
        if role_of(container) is None
    }
    assert len(images) >= 3
    found = faults_of_others(built(name), values)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_no_pod_has_a_secret_of_another_workload(built: Callable[[str], Objects], name: str) -> None:
    found = foreign_secrets(built(name))
    assert not found, "\n" + "\n".join(found)


def pods_of(objects: Objects, name: str) -> Pods:
    return next(pods for pods in objects.pods() if pods.owner["metadata"]["name"] == name)


def secret_of(objects: Objects, name: str) -> Object:
    (secret,) = (thing for thing in objects.of("Secret") if plain_name(thing) == name)
    return secret


def another_secret_of_the_same_keys(objects: Objects) -> None:
    (volume,) = (each for each in pods_of(objects, "images").spec["volumes"] if each["name"] == "secrets")
    volume["secret"]["secretName"] = secret_of(objects, "auth")["metadata"]["name"]


def a_secret_for_whom_has_none(objects: Objects) -> None:
    spec = pods_of(objects, "files").spec
    spec["volumes"].append({"name": "more", "secret": {"secretName": "console"}})
    spec["containers"][0]["volumeMounts"].append({"name": "more", "mountPath": "/run/secrets/more"})


def another_secret_by_a_projected_volume(objects: Objects) -> None:
    sources = [{"secret": {"name": "backup-store"}}]
    pods_of(objects, "images").spec["volumes"].append({"name": "more", "projected": {"sources": sources}})


def another_secret_in_the_environment(objects: Objects) -> None:
    (container,) = pods_of(objects, "backup").spec["containers"]
    container["envFrom"].append({"secretRef": {"name": "postgres"}})


def a_key_of_another_secret_in_the_environment(objects: Objects) -> None:
    reference = {"secretKeyRef": {"name": "auth", "key": "SERVICE_KEYS"}}
    pods_of(objects, "gateway").spec["containers"][0].setdefault("env", []).append(
        {"name": "X", "valueFrom": reference}
    )


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            another_secret_of_the_same_keys,
            "Deployment app-services/images: spec.template.spec.volumes[secrets]: the Secret auth is not for images",
        ),
        (
            a_secret_for_whom_has_none,
            "Deployment app-services/files: spec.template.spec.volumes[more]: the Secret console is not for files",
        ),
        (
            another_secret_by_a_projected_volume,
            (
                "Deployment app-services/images: spec.template.spec.volumes[more]: "
                "the Secret backup-store is not for images"
            ),
        ),
        (
            another_secret_in_the_environment,
            (
                "CronJob app-services/backup: spec.jobTemplate.spec.template.spec.containers[backup].envFrom: "
                "the Secret postgres is not for jobs"
            ),
        ),
        (
            a_key_of_another_secret_in_the_environment,
            (
                "Deployment frontend-service/gateway: spec.template.spec.containers[gateway].env[X]: "
                "the Secret auth is not for gateway"
            ),
        ),
    ],
)
def test_a_secret_of_another_workload_is_named(
    built: Callable[[str], Objects], mistake: Callable[[Objects], None], expected: str
) -> None:
    objects = Objects("broken", copy.deepcopy(built("minikube").all))
    mistake(objects)
    assert foreign_secrets(objects) == [expected]


def the_exporter_told_nothing(objects: Objects) -> None:
    del pods_of(objects, "postgres-exporter").spec["containers"][0]["envFrom"]


def a_misspelt_file(objects: Objects) -> None:
    (config,) = (thing for thing in objects.of("ConfigMap") if plain_name(thing) == "postgres-exporter")
    config["data"]["DATA_SOURCE_PASS_FILE"] = "/run/secrets/seawall/DATA_SOURCE_PASSWORD"


def a_password_forgotten(objects: Objects) -> None:
    del secret_of(objects, "postgres")["data"]["EXPORTER_PASSWORD"]


def a_variable_that_nobody_reads(objects: Objects) -> None:
    pods_of(objects, "files").spec["containers"][0]["env"] = [{"name": "PG_EXPORTER_URL", "value": "x"}]


def an_image_of_nobody(objects: Objects) -> None:
    pods_of(objects, "files").spec["containers"][0]["image"] = "example.org:5000/web/busybox:1@sha256:0"


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            an_image_of_nobody,
            (
                "Deployment app-services/files: spec.template.spec.containers[nginx]: "
                "what busybox reads is not known here"
            ),
        ),
        (
            the_exporter_told_nothing,
            (
                "Deployment app-services/postgres-exporter: spec.template.spec.containers[postgres-exporter]: "
                "DATA_SOURCE_URI: it is not set, and postgres-exporter reads it"
            ),
        ),
        (
            a_misspelt_file,
            (
                "Deployment app-services/postgres-exporter: spec.template.spec.containers[postgres-exporter]: "
                "DATA_SOURCE_PASS_FILE: no Secret brings the file /run/secrets/seawall/DATA_SOURCE_PASSWORD"
            ),
        ),
        (
            a_misspelt_file,
            (
                "Deployment app-services/postgres-exporter: spec.template.spec.containers[postgres-exporter]: "
                "the file /run/secrets/seawall/DATA_SOURCE_PASS of a Secret is for nobody in it"
            ),
        ),
        (
            a_password_forgotten,
            (
                "StatefulSet app-services/postgres: spec.template.spec.initContainers[prepare]: "
                "prepare.sh: no Secret brings the file /run/secrets/seawall/EXPORTER_PASSWORD"
            ),
        ),
        (
            a_variable_that_nobody_reads,
            (
                "Deployment app-services/files: spec.template.spec.containers[nginx]: "
                "PG_EXPORTER_URL: nginx-unprivileged does not read it"
            ),
        ),
    ],
)
def test_what_a_program_of_others_lacks_or_does_not_read_is_named(
    built: Callable[[str], Objects], values: Values, mistake: Callable[[Objects], None], expected: str
) -> None:
    objects = Objects("broken", copy.deepcopy(built("minikube").all))
    mistake(objects)
    assert expected in faults_of_others(objects, values)


@pytest.mark.parametrize("name", trees.WITH_SECRETS)
def test_the_secrets_of_an_overlay_are_those_that_the_command_makes(built: Callable[[str], Objects], name: str) -> None:
    made = {
        (namespace(thing), thing["metadata"]["name"].rpartition("-")[0]): set(thing["data"])
        for thing in built(name).of("Secret")
    }
    assert {each: set(keys) for each, keys in SECRETS.items() if each[1] in KEYS} == made


@pytest.mark.parametrize("name", [name for name in TREES if name not in trees.WITH_SECRETS])
def test_only_certificates_are_made_where_secrets_exist_beforehand(built: Callable[[str], Objects], name: str) -> None:
    made = {(namespace(thing), thing["metadata"]["name"]) for thing in built(name).of("Secret")}
    assert made == ({each for each in TLS_SECRETS if _has_host(built(name), each)} if "tls-openssl" in name else set())


def _has_host(objects: Objects, secret: tuple[str, str]) -> bool:
    return secret[0] != "monitoring" or "monitoring" in objects.name.split("+")
