"""The bill of materials in each image: CycloneDX, the same bytes each time, and equal to the lock."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from ops import sbom
from tests.config.test_locks import FOLDER, locked
from tests.image import running
from tests.image.dockerfile import PROJECT
from tests.image.running import Role

CLIENT = FOLDER / "postgresql-client.txt"


def written(role: Role) -> subprocess.CompletedProcess[str]:
    """As the Dockerfile runs it, with the packages of the role."""
    client = [str(CLIENT)] if role.name == "console" else []
    lock = str(FOLDER / f"{role.name}.txt")
    return role.run("file", str(PROJECT / "ops" / "sbom.py"), role.name, "1.2.3", lock, *client)


@pytest.fixture
def bill(role: Role) -> dict[str, Any]:
    said = written(role)
    assert said.returncode == 0, said.stderr
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def test_the_bill_names_the_packages_of_the_lock_with_their_hashes(role: Role, bill: dict[str, Any]) -> None:
    entries = {name: each for name, each in locked(role.name).items() if each.marker is None or each.marker.evaluate()}
    if role.name == "console":
        entries |= locked("postgresql-client")

    assert {
        component["name"]: (component["version"], {f"sha256:{each['content']}" for each in component["hashes"]})
        for component in bill["components"]
    } == {name: (entry.version, set(entry.hashes)) for name, entry in entries.items()}


def test_the_bill_keeps_the_rules_of_cyclonedx(role: Role, bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    subject = bill["metadata"]["component"]
    assert (subject["type"], subject["name"], subject["version"]) == ("application", f"seawall-{role.name}", "1.2.3")
    references = [subject["bom-ref"]]
    for component in bill["components"]:
        assert component["type"] == "library"
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        assert re.fullmatch(r"pkg:pypi/[a-z0-9]+(-[a-z0-9]+)*@[0-9][0-9A-Za-z.!+-]*", component["purl"])
        assert [each for each in component["hashes"] if each["alg"] != "SHA-256" or len(each["content"]) != 64] == []
        references.append(component["bom-ref"])
    assert len(references) == len(set(references)), "a reference stands for two components"
    assert sorted(each["ref"] for each in bill["dependencies"]) == sorted(references)


def test_everything_in_the_bill_is_there_because_something_needs_it(role: Role, bill: dict[str, Any]) -> None:
    edges = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    reached, waiting = set(), [bill["metadata"]["component"]["bom-ref"]]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += edges[reference]

    assert reached == set(edges)
    assert (
        f"pkg:pypi/sqlparse@{locked('dev')['sqlparse'].version}"
        in edges[f"pkg:pypi/django@{locked('dev')['django'].version}"]
    )


def test_the_same_packages_give_the_same_bytes(role: Role) -> None:
    assert written(role).stdout == written(role).stdout


def test_another_package_gives_another_serial_number() -> None:
    one = sbom.Package("one", "1.0", ("ab" * 32,), conditional=False, wanted_by=("seawall",))
    two = sbom.Package("two", "1.0", ("cd" * 32,), conditional=False, wanted_by=("one",))

    assert sbom.document("auth", "1", [one])["serialNumber"] != sbom.document("auth", "1", [one, two])["serialNumber"]


def test_a_package_that_the_lock_does_not_have_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    crowded = running.role("gateway", tmp_path_factory.mktemp("crowded"))
    running.link("rich", crowded.packages)

    said = written(crowded)

    assert (said.returncode, said.stdout) == (1, "")
    assert re.fullmatch(r"sbom: rich \S+ is installed, and the lock does not have it\n", said.stderr)


def test_a_package_that_is_not_installed_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    poor = running.role("gateway", tmp_path_factory.mktemp("poor"))
    for path in poor.packages.glob("whitenoise-*.dist-info"):
        path.unlink()

    said = written(poor)

    assert (said.returncode, said.stdout) == (1, "")
    assert re.fullmatch(r"sbom: whitenoise \S+ of the lock is not installed\n", said.stderr)


def test_a_lock_without_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="django has no hash in the lock: run `make lock`"):
        sbom.read_lock("django==5.2.19\n    # via seawall (pyproject.toml)\n")
