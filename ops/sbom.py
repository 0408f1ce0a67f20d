"""What an image is made of, as a CycloneDX document: the packages of its hashed locks, as they are installed in it.

Run in a build stage, so it needs the standard library alone: `python sbom.py ROLE VERSION LOCK… > ROLE.cdx.json`, by
the Python whose environment the first lock fills. The same locks give the same bytes.
Exit status 1, with one line that says why, when the environment holds other packages than the lock.

https://cyclonedx.org/docs/1.6/json/ and the package-url specification's type `pypi`.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;\\]+)(?P<marker> *;[^\\]*)?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAMESPACE = uuid.UUID("8a4b5a3e-6c6e-5f6b-9d0e-5b1d3f6f0c11")
PROJECT = "seawall"


class Mismatch(Exception):
    """The environment and the lock do not name the same packages."""


@dataclass(frozen=True)
class Package:
    """A package of a lock: its files' SHA-256 in hex, whether it may be left out, and what asks for it.

    `wanted_by` holds names of packages, and of the project itself.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    conditional: bool
    wanted_by: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def normalised(name: str) -> str:
    """A package's name as the index writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> list[Package]:
    """The packages of a lock that uv has written, in its order. Raises ValueError for one without a hash."""
    packages = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text):
        lines = [line for line in entry.splitlines() if not line.startswith("#")]
        pinned = _PINNED.match(lines[0]) if lines else None
        if pinned is None:
            continue
        hashes = tuple(sorted(_HASH.findall(entry)))
        if not hashes:
            raise ValueError(f"{pinned['name']} has no hash in the lock: run `make lock`")
        reasons = re.findall(r"^ +# +(?:via +)?([A-Za-z0-9._-]+)", entry, re.MULTILINE)
        packages.append(
            Package(
                name=normalised(pinned["name"]),
                version=pinned["version"],
                hashes=hashes,
                conditional=pinned["marker"] is not None,
                wanted_by=tuple(sorted({normalised(reason) for reason in reasons} - {"via"})),
            )
        )
    return packages


def installed_packages(locked: list[Package], installed: dict[str, str]) -> list[Package]:
    """Those of the lock that are installed: all but what its markers leave out on this platform.

    Args:
        locked: packages of the lock.
        installed: versions by normalised name.

    Raises:
        Mismatch: something else is installed, or something is missing.
    """
    by_name = {package.name: package for package in locked}
    for name, version in installed.items():
        if name not in by_name or by_name[name].version != version:
            raise Mismatch(f"{name} {version} is installed, and the lock does not have it")
    for package in locked:
        if package.name not in installed and not package.conditional:
            raise Mismatch(f"{package.name} {package.version} of the lock is not installed")
    return [package for package in locked if package.name in installed]


def document(role: str, version: str, packages: Iterable[Package]) -> dict[str, Any]:
    """The CycloneDX document of a role's image.

    Its serial number follows from what it says, so that the same contents have the same one.
    """
    ordered = sorted(packages, key=lambda package: package.name)
    subject = f"{PROJECT}-{role}@{version}"
    edges: dict[str, set[str]] = {subject: set(), **{package.purl: set() for package in ordered}}
    by_name = {PROJECT: subject} | {package.name: package.purl for package in ordered}
    for package in ordered:
        for wanting in package.wanted_by:
            if wanting in by_name:
                edges[by_name[wanting]].add(package.purl)
    described: dict[str, Any] = {
        "metadata": {
            "component": {"type": "application", "bom-ref": subject, "name": f"{PROJECT}-{role}", "version": version}
        },
        "components": [
            {
                "type": "library",
                "bom-ref": package.purl,
                "name": package.name,
                "version": package.version,
                "purl": package.purl,
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.hashes],
            }
            for package in ordered
        ],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in edges.items()],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(described, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **described,
    }


def main(role: str, version: str, environment: Path, *others: Path) -> None:
    """Print the document: of what this Python has of the lock `environment`, and of the whole of the other locks."""
    installed = {normalised(each.metadata["Name"]): each.version for each in metadata.distributions()}
    packages = installed_packages(read_lock(environment.read_text()), installed)
    for other in others:
        packages += read_lock(other.read_text())
    json.dump(document(role, version, packages), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:]))
    except (Mismatch, ValueError, OSError) as error:
        sys.exit(f"sbom: {error}")
