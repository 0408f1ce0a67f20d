"""What an overlay renders to, and what its objects need from the cluster around them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ops.cluster.kubectl import Kubectl, KubectlError, Object
from ops.cluster.secrets import KEYS, KUSTOMIZATION, NoOverlay
from ops.errors import OperatorError

CNPG = "postgresql.cnpg.io"
CERT_MANAGER = "cert-manager.io"
GATEWAY_API = "gateway.networking.k8s.io"

DOCKER_CONFIG = ".dockerconfigjson"
BASIC_AUTH = ("password", "username")

_ISSUER_ANNOTATIONS = (f"{CERT_MANAGER}/issuer", f"{CERT_MANAGER}/cluster-issuer")
_MISSING_SECRETS = re.compile(r"secrets/[\w.-]+\.env")


class OverlayError(OperatorError):
    """The overlay cannot be rendered. The message says why."""


@dataclass(frozen=True)
class SecretNeed:
    """A Secret that must be on the cluster before pods can start: the keys that are known to be read, and by whom."""

    namespace: str
    name: str
    keys: frozenset[str]
    consumers: tuple[str, ...]


@dataclass(frozen=True)
class Manifests:
    """The objects of one overlay, in the order of kustomize: namespaces first."""

    overlay: Path
    objects: list[Object]

    def of_kind(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    @property
    def namespaces(self) -> list[str]:
        """Those that any object is in."""
        return sorted({namespace_of(each) for each in self.objects} - {""})

    def as_list(self, objects: list[Object] | None = None) -> str:
        """Objects (all of them) as kubectl takes them from standard input."""
        items = self.objects if objects is None else objects
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def render(kubectl: Kubectl, overlay: Path) -> Manifests:
    """What `kubectl kustomize OVERLAY` says. Raises NoOverlay, OverlayError."""
    if not (overlay / KUSTOMIZATION).is_file():
        raise NoOverlay(overlay)
    try:
        text = kubectl.text("kustomize", str(overlay))
    except KubectlError as error:
        if _MISSING_SECRETS.search(str(error)) and "no such file" in str(error):
            raise OverlayError(
                f"{overlay} has no secrets yet: run `manage.py secrets {overlay}` once, then this command again."
            ) from error
        raise OverlayError(f"{overlay} cannot be rendered: {error}") from error
    try:
        objects = [each for each in yaml.safe_load_all(text) if each]
        _ = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in objects]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise OverlayError(f"{overlay} does not render to Kubernetes objects: {error!r}") from error
    if not objects:
        raise OverlayError(f"{overlay} renders to nothing: its kustomization names no resources.")
    return Manifests(overlay=overlay, objects=objects)


def namespace_of(each: Object) -> str:
    """Its namespace; empty for what is in none."""
    return str(each["metadata"].get("namespace", ""))


def name_of(each: Object) -> str:
    """`Kind/name`, as people write it."""
    return f"{each['kind']}/{each['metadata']['name']}"


def pod_specs(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods, with the specification of its pods: empty where the object has none, which the
    server refuses with better words."""
    for each in objects:
        spec = each.get("spec") or {}
        if each["kind"] == "CronJob":
            spec = (spec.get("jobTemplate") or {}).get("spec") or {}
        if each["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet"}:
            yield each, (spec.get("template") or {}).get("spec") or {}
        elif each["kind"] == "Pod":
            yield each, spec


@dataclass
class _Needs:
    """Collects what several consumers want of the same Secret."""

    keys: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    consumers: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, consumer: Object, name: str, keys: set[str]) -> None:
        place = (namespace_of(consumer), name)
        self.keys[place] |= keys
        if name_of(consumer) not in self.consumers[place]:
            self.consumers[place].append(name_of(consumer))


def secrets_needed(manifests: Manifests) -> list[SecretNeed]:
    """The Secrets that somebody else must have made: neither rendered here nor written by an operator for an object
    that is."""
    needs = _Needs()
    config = {(namespace_of(each), each["metadata"]["name"]): each for each in manifests.of_kind("ConfigMap")}
    for owner, spec in pod_specs(manifests.objects):
        _needs_of_pod(needs, owner, spec, config)
    for each in manifests.of_kind("ServiceAccount"):
        for reference in each.get("imagePullSecrets") or []:
            needs.add(each, reference["name"], {DOCKER_CONFIG})
    for each in manifests.of_kind("Cluster"):
        for name, keys in _references(each.get("spec") or {}):
            needs.add(each, name, keys)
    for each in manifests.of_kind("Ingress"):
        if not any(note in (each["metadata"].get("annotations") or {}) for note in _ISSUER_ANNOTATIONS):
            for entry in (each.get("spec") or {}).get("tls") or []:
                if entry.get("secretName"):
                    needs.add(each, entry["secretName"], {"tls.crt", "tls.key"})
    made = _made_here(manifests)
    return [
        SecretNeed(namespace, name, frozenset(keys), tuple(needs.consumers[namespace, name]))
        for (namespace, name), keys in sorted(needs.keys.items())
        if (namespace, name) not in made
    ]


def _made_here(manifests: Manifests) -> set[tuple[str, str]]:
    made = {(namespace_of(each), each["metadata"]["name"]) for each in manifests.of_kind("Secret")}
    certificates = manifests.of_kind("Certificate")
    made |= {(namespace_of(each), (each.get("spec") or {}).get("secretName", "")) for each in certificates}
    for each in manifests.of_kind("Cluster"):
        name = each["metadata"]["name"]
        made |= {(namespace_of(each), f"{name}-{suffix}") for suffix in ("app", "superuser", "ca", "server")}
    return made


def _needs_of_pod(needs: _Needs, owner: Object, spec: Object, config: dict[tuple[str, str], Object]) -> None:
    for reference in spec.get("imagePullSecrets") or []:
        needs.add(owner, reference["name"], {DOCKER_CONFIG})
    whole: dict[str, str] = {}  # volume → Secret of which every key becomes a file
    for volume in spec.get("volumes") or []:
        secret = volume.get("secret")
        if secret and not secret.get("optional"):
            name, items = secret["secretName"], secret.get("items")
            if not items:
                whole[volume["name"]] = name
            keys = {item["key"] for item in items} if items else set(KEYS.get(name, ()))
            needs.add(owner, name, keys)
        for source in (volume.get("projected") or {}).get("sources") or []:
            part = source.get("secret")
            if part and not part.get("optional"):
                needs.add(owner, part["name"], {item["key"] for item in part.get("items") or []})
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        variables: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            secret = source.get("secretRef")
            if secret and not secret.get("optional"):
                needs.add(owner, secret["name"], set(KEYS.get(secret["name"], ())))
            reference = source.get("configMapRef")
            if reference and (namespace_of(owner), reference["name"]) in config:
                variables |= config[namespace_of(owner), reference["name"]].get("data") or {}
        for variable in container.get("env") or []:
            secret = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if secret and not secret.get("optional"):
                needs.add(owner, secret["name"], {secret["key"]})
            variables[variable["name"]] = str(variable.get("value", ""))
        mounts = {
            PurePosixPath(mount["mountPath"]): whole[mount["name"]]
            for mount in container.get("volumeMounts") or []
            if mount["name"] in whole
        }
        for name, value in variables.items():
            path = PurePosixPath(value)
            if name.endswith("_FILE") and path.parent in mounts:
                needs.add(owner, mounts[path.parent], {path.name})


def _references(value: Any, key: str = "") -> Iterator[tuple[str, set[str]]]:
    """The Secrets that a CloudNativePG Cluster names: `…Secret: {name}`, `secret: {name}`, `…: {name, key}`. One
    without a key has a name and a password."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each, key)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str) and (key.lower().endswith("secret") or set(value) == {"name", "key"}):
            signs_in = key in {"passwordSecret", "secret", "superuserSecret"}
            yield value["name"], {value["key"]} if "key" in value else set(BASIC_AUTH if signs_in else ())
        for name, each in value.items():
            yield from _references(each, name)


def image_entry(overlay: Path, image: str) -> str | None:
    """Where the overlay, or what it is built on, names this image: `file:line`; None when no `images:` entry does."""
    repository = image.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    folders, seen = [overlay.resolve()], set()
    while folders:
        folder = folders.pop(0)
        path = folder / KUSTOMIZATION
        if folder in seen or not path.is_file():
            continue
        seen.add(folder)
        text = path.read_text()
        content = yaml.safe_load(text) or {}
        images = re.search(r"^images:", text, re.MULTILINE)  # a Secret above may have the name of an image
        for entry in content.get("images") or []:
            if repository in (entry.get("newName"), entry.get("name")):
                name = re.compile(rf"^[ -]*name: *[\"']?{re.escape(entry['name'])}[\"']? *$", re.MULTILINE)
                line = name.search(text, images.end() if images else 0)
                number = text.count("\n", 0, line.start()) + 1 if line else 1
                return f"{_short(path, overlay)}:{number}"
        for part in [*(content.get("resources") or []), *(content.get("components") or [])]:
            if "://" not in part:
                folders.append((folder / part).resolve())
    return None


def _short(path: Path, overlay: Path) -> str:
    """The path as a person would write it who wrote the overlay's."""
    start = overlay if overlay.is_absolute() else Path.cwd()
    return str(path) if overlay.is_absolute() or not path.is_relative_to(start) else str(path.relative_to(start))
