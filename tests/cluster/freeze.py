"""Keeps a release as the tests of upgrades begin with it: `python -m tests.cluster.freeze VERSION`.

Reads the overlay that is deployed on the cluster of SEAWALL_CONTEXT, and writes `tests/cluster/releases/VERSION/`:
`manifests.yaml` (what `kubectl kustomize` renders, without Secrets and without the hash in their names) and `auth.sql`,
`images.sql` (the schema of both databases with the migrations that were applied; no other row).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

from tests.cluster.kubectl import Kubectl
from tests.cluster.system import NAMESPACES, System

RELEASES = Path(__file__).parent / "releases"
_HASHED = re.compile(r"-[bcdfghkmt2456789]{10}$")
# A dump names the versions of its programs, and a random word since PostgreSQL 15.14.
_OF_THE_MOMENT = re.compile(r"^(?:-- Dumped (?:from|by) .*|\\(?:un)?restrict .*)\n", re.MULTILINE)


def manifests(system: System) -> str:
    """The rendered overlay, without Secrets; those that it refers to have their plain names."""
    objects = system.rendered()
    names = {one["metadata"]["name"] for one in objects if one["kind"] == "Secret"}
    text = yaml.safe_dump_all([one for one in objects if one["kind"] != "Secret"], sort_keys=True)
    for name in names:
        text = text.replace(name, without_hash(name))
    return text


def without_hash(name: str) -> str:
    """The name of a generated object as its kustomization has it."""
    return _HASHED.sub("", name)


def schema(kubectl: Kubectl, database: str) -> str:
    """SQL that makes the tables of a database, and the rows of its applied migrations."""
    pod = ("-n", NAMESPACES["postgres"], "exec", "postgres-0", "-c", "postgres", "--")
    dump = (*pod, "pg_dump", "-U", "postgres", "--no-owner", "--no-privileges")
    structure = kubectl.run(*dump, "--schema-only", database).stdout
    applied = kubectl.run(*dump, "--data-only", "--column-inserts", "--table=django_migrations", database).stdout
    return _OF_THE_MOMENT.sub("", structure + applied)


def main(arguments: list[str]) -> int:
    """Writes the release; exit status 2 for a wrong call."""
    if len(arguments) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+", arguments[0]):
        print("usage: python -m tests.cluster.freeze VERSION, such as 0.1.0", file=sys.stderr)
        return 2
    kubectl = Kubectl.from_environment()
    folder = RELEASES / arguments[0]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifests.yaml").write_text(manifests(System.of_environment(kubectl)))
    for database in ("auth", "images"):
        (folder / f"{database}.sql").write_text(schema(kubectl, database))
    print(f"{folder}: manifests.yaml, auth.sql, images.sql")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
