"""The environment of each container of a role, and what the role itself makes of it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kustomize.objects import Container, Object, Objects, Pods, label, namespace, plain_name
from tests.kustomize.rules import environment_of, keys_of

Values = dict[tuple[str, str], dict[str, str]]  # namespace and name of a Secret → key → value

PROJECT = Path(__file__).resolve().parents[2]
ROLES = ("gateway", "auth", "images", "console")
# What the image of every role sets: see Dockerfile.
OF_THE_IMAGE = {"STATIC_ROOT": "/seawall/static", "VERSION": "0.1.0", "COMMIT": "0000000"}
# What programs of others must be told, by image: their own documentation says so. PG_EXPORTER_* may come besides.
OF_OTHERS = {
    "postgres": {"PGDATA"},
    "python": {"FILES_METRICS", "FILES_PORT"},
    "nginx-unprivileged": set(),
    "nginx": set(),
    "postgres-exporter": {"DATA_SOURCE_URI", "DATA_SOURCE_USER", "DATA_SOURCE_PASS_FILE"},
}
# Which Secrets the pods of a workload may have; those of no other workload have any. `jobs` are all of them.
MAY_HAVE = {
    "gateway": {"gateway"},
    "auth": {"auth"},
    "images": {"images", "image-store"},
    "console": {"console", "image-store", "backup-store"},
    "jobs": {"console", "image-store", "backup-store"},
    "postgres": {"postgres"},
    "postgres-exporter": {"postgres-exporter"},
}


@dataclass(frozen=True)
class Case:
    """One container of a role: its environment as it will be, with the files of its Secrets."""

    where: str
    role: str
    serves: bool
    given: dict[str, str]
    mounted: dict[str, str]  # path in the container → value, of all Secrets that it mounts


def image_of(container: Container) -> str:
    """The name of the image that a container runs, without its registry, version and digest."""
    return str(container.spec["image"]).partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]


def role_of(container: Container) -> str | None:
    """The role whose image a container runs, None for an image of somebody else's."""
    name = image_of(container)
    role = name.removeprefix("seawall-")
    return role if name.startswith("seawall-") and role in ROLES else None


def cases(objects: Objects, values: Values) -> list[Case]:
    """All containers of roles in a tree. `values` are the Secrets that exist beforehand."""
    found = []
    for pods in objects.pods():
        servers = {role_of(each) for each in pods.containers() if each.serves and not _is_command(each)}
        for container in pods.containers():
            if (role := role_of(container)) is not None:
                found.append(
                    Case(
                        where=f"{label(pods.owner)}: {container.path}",
                        role=role,
                        serves=role in servers,
                        given=environment_of(objects, pods, container),
                        mounted=_mounted(objects, pods, container, values),
                    )
                )
    return found


def _is_command(container: Container) -> bool:
    return "manage.py" in [*container.spec.get("command", ()), *container.spec.get("args", ())]


def _mounted(objects: Objects, pods: Pods, container: Container, values: Values) -> dict[str, str]:
    volumes = {volume["name"]: volume for volume in pods.spec.get("volumes", ())}
    files: dict[str, str] = {}
    for mount in container.spec.get("volumeMounts", ()):
        volume = volumes.get(mount["name"], {})
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if secret := source.get("secret"):
                name = secret.get("secretName", secret.get("name"))
                for key in keys_of(objects, "Secret", namespace(pods.owner), name) or ():
                    renamed = {item["key"]: item["path"] for item in secret.get("items", ())}
                    if not renamed or key in renamed:
                        file = f"{mount['mountPath']}/{renamed.get(key, key)}"
                        files[file] = _value(objects, values, namespace(pods.owner), name, key)
    return files


def _value(objects: Objects, values: Values, where: str, name: str, key: str) -> str:
    thing = objects.get("Secret", where, name)
    if thing is not None:
        return base64.b64decode(thing["data"][key]).decode()
    return values[where, name][key]


def ask(asked: list[Case], folder: Path) -> list[dict[str, Any]]:
    """What each role reads, and what it says against the environment, with the Secrets' files under this folder."""
    requests = []
    for number, case in enumerate(asked):
        root = folder / str(number)
        given = OF_THE_IMAGE | case.given
        for path, value in case.mounted.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value)
        for name, value in given.items():
            if value in case.mounted:
                given[name] = str(root / value.lstrip("/"))
        requests.append({"role": case.role, "serves": case.serves, "environment": given})
    finished = subprocess.run(
        [sys.executable, "-m", "tests.kustomize.reading"],
        cwd=PROJECT,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    answers: list[dict[str, Any]] = json.loads(finished.stdout)
    return answers


def faults(case: Case, answer: dict[str, Any]) -> list[str]:
    """What is wrong with a container's environment: missing, superfluous, or a Secret that is not the role's."""
    reads = set(answer["reads"])
    found = []
    if answer["fault"]:
        found.append(f"{case.where}: {answer['fault']}")
    for name, value in sorted(case.given.items()):
        plain = name.removesuffix("_FILE") if name.removesuffix("_FILE") in reads else name
        if plain not in reads:
            found.append(f"{case.where}: {name}: the role {case.role} does not read it")
        if name != plain and value.startswith("/run/secrets") and value not in case.mounted:
            found.append(f"{case.where}: {name}: no Secret brings the file {value}")
    for path in sorted(case.mounted):
        if path not in case.given.values():
            found.append(f"{case.where}: the file {path} of a Secret is for nobody in it")
    return found


def foreign_secrets(objects: Objects) -> list[str]:
    """The Secrets that pods have, as files or in their environment, and that are not their workload's."""
    found = []
    for pods in objects.pods():
        workload = "jobs" if pods.is_job else str(pods.owner["metadata"]["name"])
        for path, name in _secrets_of(pods):
            secret = objects.get("Secret", namespace(pods.owner), name)
            plain = name if secret is None else plain_name(secret)
            if plain not in MAY_HAVE.get(workload, ()):
                found.append(f"{label(pods.owner)}: {path}: the Secret {plain} is not for {workload}")
    return found


def _secrets_of(pods: Pods) -> Iterator[tuple[str, str]]:
    """Where a pod names Secrets for its containers, and which."""
    for volume in pods.spec.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if secret := source.get("secret"):
                yield f"{pods.path}.spec.volumes[{volume['name']}]", secret.get("secretName", secret.get("name"))
    for container in pods.containers():
        for entry in container.spec.get("envFrom", ()):
            if secret := entry.get("secretRef"):
                yield f"{container.path}.envFrom", secret["name"]
        for entry in container.spec.get("env", ()):
            if secret := entry.get("valueFrom", {}).get("secretKeyRef"):
                yield f"{container.path}.env[{entry['name']}]", secret["name"]


def faults_of_others(objects: Objects, values: Values) -> list[str]:
    """What is wrong with the environments and Secrets of the containers that run no role: missing or superfluous."""
    found = []
    for pods in objects.pods():
        for container in pods.containers():
            if role_of(container) is None:
                where = f"{label(pods.owner)}: {container.path}"
                found += [f"{where}: {fault}" for fault in _faults_of_other(objects, pods, container, values)]
    return found


def _faults_of_other(objects: Objects, pods: Pods, container: Container, values: Values) -> Iterator[str]:
    image = image_of(container)
    if image not in OF_OTHERS:
        yield f"what {image} reads is not known here"
        return
    given = environment_of(objects, pods, container)
    for name in sorted(OF_OTHERS[image] - set(given)):
        yield f"{name}: it is not set, and {image} reads it"
    for name in sorted(set(given) - OF_OTHERS[image]):
        if not (image == "postgres-exporter" and name.startswith("PG_EXPORTER_")):
            yield f"{name}: {image} does not read it"
    read = {value: name for name, value in given.items() if name.endswith("_FILE")}
    read |= {file: script for script, text in _scripts(objects, pods, container) for file in _SECRET_FILE.findall(text)}
    mounted = _mounted(objects, pods, container, values)
    for file in sorted(set(read) - set(mounted)):
        yield f"{read[file]}: no Secret brings the file {file}"
    for file in sorted(set(mounted) - set(read)):
        yield f"the file {file} of a Secret is for nobody in it"


_SECRET_FILE = re.compile(r"/run/secrets/[\w-]+/\w+")


def _scripts(objects: Objects, pods: Pods, container: Container) -> Iterator[tuple[str, str]]:
    """Name and text of what a container mounts of ConfigMaps."""
    mounts = {mount["name"] for mount in container.spec.get("volumeMounts", ())}
    for volume in pods.spec.get("volumes", ()):
        if volume["name"] in mounts and (config := volume.get("configMap")):
            thing: Object = objects.get("ConfigMap", namespace(pods.owner), config["name"]) or {}
            yield from thing.get("data", {}).items()
