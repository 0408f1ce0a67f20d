"""PostgreSQL: what comes before every start (with stand-ins for its programs), and how many connections it takes."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.kustomize import trees

SCRIPT = trees.PROJECT / "kustomize" / "base" / "postgres" / "prepare.sh"
PLAN = tomllib.loads((trees.PROJECT / "config" / "connections.toml").read_text())
CLUSTER = trees.PROJECT / "kustomize" / "components" / "cloudnative-pg" / "cluster" / "cluster.yaml"

INITDB = """#!/bin/sh
folder=${1#--pgdata=}
[ ! -e "$folder" ] || { echo "$folder exists" >&2; exit 1; }
mkdir "$folder"
echo 18 >"$folder/PG_VERSION"
"""
PG_CTL = """#!/bin/sh
[ -s "$PGDATA/PG_VERSION" ] || exit 1
echo "$1" >>"$CALLS"
"""
PSQL = """#!/bin/sh
cat >/dev/null
exit "$PSQL_STATUS"
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty volume, with stand-ins for PostgreSQL's programs beside it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("initdb", INITDB), ("pg_ctl", PG_CTL), ("psql", PSQL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def prepare(volume: Path, psql_status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the script as the init container does; pg_ctl's calls are in the file `calls` beside the volume."""
    environment = {
        "PATH": f"{volume.parent / 'bin'}:{os.environ['PATH']}",
        "PGDATA": str(volume / "data"),
        "CALLS": str(volume.parent / "calls"),
        "PSQL_STATUS": str(psql_status),
    }
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def calls(volume: Path) -> list[str]:
    """What pg_ctl was asked for."""
    return (volume.parent / "calls").read_text().split()


def test_an_interrupted_first_start_is_begun_anew(volume: Path) -> None:
    (volume / "data.partial").mkdir()
    (volume / "data.partial" / "half").touch()
    finished = prepare(volume)
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in volume.rglob("*")) == ["PG_VERSION", "data", "pg_hba.conf"]
    assert calls(volume) == ["start", "stop"]


def test_a_cluster_that_is_there_is_kept(volume: Path) -> None:
    assert prepare(volume).returncode == 0
    (volume / "data" / "row").touch()
    assert prepare(volume).returncode == 0
    assert (volume / "data" / "row").exists()
    assert (volume / "data" / "pg_hba.conf").read_text().count("host all all all") == 1


def test_an_empty_data_folder_becomes_a_cluster(volume: Path) -> None:
    (volume / "data").mkdir()
    assert prepare(volume).returncode == 0
    assert (volume / "data" / "PG_VERSION").exists()


def test_a_data_folder_with_something_else_is_left_alone_and_named(volume: Path) -> None:
    (volume / "data").mkdir()
    (volume / "data" / "letters").touch()
    for _ in range(2):  # what the first attempt left behind must not make the second one worse
        finished = prepare(volume)
        assert finished.returncode == 1
        assert finished.stderr.count("\n") == 1
        assert f"{volume / 'data'} has files but no PG_VERSION" in finished.stderr
    assert [path.name for path in (volume / "data").iterdir()] == ["letters"]


def test_a_refused_statement_keeps_postgresql_from_starting_and_stops_what_was_started(volume: Path) -> None:
    assert prepare(volume, psql_status=3).returncode == 3
    assert calls(volume) == ["start", "stop"]


def test_both_ways_to_run_postgresql_take_as_many_connections_as_are_planned() -> None:
    stateful = yaml.safe_load((SCRIPT.parent / "statefulset.yaml").read_text())
    arguments = stateful["spec"]["template"]["spec"]["containers"][0]["args"]
    parameters = yaml.safe_load(CLUSTER.read_text())["spec"]["postgresql"]["parameters"]
    for name in ("max_connections", "superuser_reserved_connections"):
        assert f"{name}={PLAN['server'][name]}" in arguments
        assert parameters[name] == str(PLAN["server"][name])


def test_the_exporter_gets_as_many_connections_as_are_planned_for_it() -> None:
    planned = PLAN["others"]["postgres_exporter"]
    roles = {role["name"]: role for role in yaml.safe_load(CLUSTER.read_text())["spec"]["managed"]["roles"]}
    assert f"CONNECTION LIMIT {planned};" in SCRIPT.read_text()
    assert roles["exporter"]["connectionLimit"] == planned
