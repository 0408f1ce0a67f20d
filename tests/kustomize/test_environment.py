"""Each container gets what its role reads: nothing is missing, nothing too much, and no secret of another one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ops.cluster.secrets import KEYS
from tests.kustomize import trees
from tests.kustomize.conftest import TREES
from tests.kustomize.environment import ROLES, Case, ask, cases, faults, role_of
from tests.kustomize.objects import Objects, label, namespace
from tests.kustomize.rules import SECRETS, TLS_SECRETS, environment_of

Values = dict[tuple[str, str], dict[str, str]]


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


# What programs of others read, by image: their own documentation says so.
_OF_OTHERS = {
    "postgres": {"PGDATA"},
    "python": {"FILES_METRICS", "FILES_PORT"},
    "nginx-unprivileged": set(),
    "nginx": set(),
    "postgres-exporter": {"DATA_SOURCE_URI", "DATA_SOURCE_USER", "DATA_SOURCE_PASS_FILE"},
}


@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_programs_of_others_get_only_what_they_read(built: Callable[[str], Objects], name: str) -> None:
    checked = 0
    for pods in built(name).pods():
        for container in pods.containers():
            if role_of(container):
                continue
            image = re.split(r"[@:]", container.spec["image"].rsplit("/", 1)[-1])[0]
            given = environment_of(built(name), pods, container)
            allowed = {each for each in _OF_OTHERS[image] if each != "FILES_PORT" or container.name == "metrics"}
            extra = {each for each in given if each not in allowed and not each.startswith("PG_EXPORTER_")}
            assert not extra, f"{label(pods.owner)}: {container.path}: {extra} is not read by {image}"
            checked += 1
    assert checked >= 3


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
