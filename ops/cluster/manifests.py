"""What an overlay renders to, and what its objects need from the cluster around them."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ops.cluster.kubectl import Kubectl, KubectlError, Object
from ops.cluster.overlay import OverlayError, YamlError, kustomization_text, layers, yaml_documents
from ops.cluster.secrets import KEYS
from ops.cluster.shapes import mapping, mappings, text
from ops.errors import OperatorError

CNPG = "postgresql.cnpg.io"
CERT_MANAGER = "cert-manager.io"
GATEWAY_API = "gateway.networking.k8s.io"

DOCKER_CONFIG = ".dockerconfigjson"
BASIC_AUTH = ("password", "username")

_ISSUER_ANNOTATIONS = (f"{CERT_MANAGER}/issuer", f"{CERT_MANAGER}/cluster-issuer")
_MISSING_SECRETS = re.compile(r"secrets/[\w.-]+\.env")


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
    kustomization_text(overlay)
    try:
        rendered = kubectl.text("kustomize", str(overlay))
    except KubectlError as error:
        if _MISSING_SECRETS.search(str(error)) and "no such file" in str(error):
            raise OverlayError(
                f"{overlay} has no secrets yet: run `manage.py secrets {overlay}` once, then this command again."
            ) from error
        raise OverlayError(f"{overlay} cannot be rendered: {error}") from error
    try:
        objects = [each for each in yaml_documents(rendered) if each]
    except YamlError as error:
        raise OverlayError(f"{overlay} does not render to Kubernetes objects: {error}.") from error
    for number, each in enumerate(objects, 1):
        if lacking := _lacking(each):
            which = " ".join(filter(None, (text(mapping(each).get("kind")), f"number {number}")))
            raise OverlayError(f"{overlay} does not render to Kubernetes objects: {which} has no {lacking}.")
    if not objects:
        raise OverlayError(f"{overlay} renders to nothing: its kustomization names no resources.")
    return Manifests(overlay=overlay, objects=objects)


def _lacking(each: Any) -> str | None:
    """The field that every object has and this one has not, or not as a string."""
    found = {
        "apiVersion": mapping(each).get("apiVersion"),
        "kind": mapping(each).get("kind"),
        "metadata.name": mapping(each, "metadata").get("name"),
    }
    return next((field for field, value in found.items() if not text(value)), None)


def namespace_of(each: Object) -> str:
    """Its namespace; empty for what is in none."""
    return text(each["metadata"].get("namespace"))


def name_of(each: Object) -> str:
    """`Kind/name`, as people write it."""
    return f"{each['kind']}/{each['metadata']['name']}"


def pod_specs(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods, with the specification of its pods: empty where the object has none, which the
    server refuses with better words."""
    for each in objects:
        if each["kind"] == "CronJob":
            yield each, mapping(each, "spec", "jobTemplate", "spec", "template", "spec")
        elif each["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"}:
            yield each, mapping(each, "spec", "template", "spec")
        elif each["kind"] == "Pod":
            yield each, mapping(each, "spec")


@dataclass
class _Needs:
    """Collects what several consumers want of the same Secret."""

    keys: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    consumers: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, consumer: Object, name: str, keys: set[str]) -> None:
        """A reference without a name is left to the server."""
        if not name:
            return
        place = (namespace_of(consumer), name)
        self.keys[place] |= keys - {""}
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
        for reference in mappings(each.get("imagePullSecrets")):
            needs.add(each, text(reference.get("name")), {DOCKER_CONFIG})
    for each in manifests.of_kind("Cluster"):
        for name, keys in _references(each.get("spec")):
            needs.add(each, name, keys)
    for each in manifests.of_kind("Ingress"):
        if not any(note in mapping(each, "metadata", "annotations") for note in _ISSUER_ANNOTATIONS):
            for entry in mappings(mapping(each, "spec").get("tls")):
                needs.add(each, text(entry.get("secretName")), {"tls.crt", "tls.key"})
    made = _made_here(manifests)
    return [
        SecretNeed(namespace, name, frozenset(keys), tuple(needs.consumers[namespace, name]))
        for (namespace, name), keys in sorted(needs.keys.items())
        if (namespace, name) not in made
    ]


def _made_here(manifests: Manifests) -> set[tuple[str, str]]:
    made = {(namespace_of(each), each["metadata"]["name"]) for each in manifests.of_kind("Secret")}
    certificates = manifests.of_kind("Certificate")
    made |= {(namespace_of(each), text(mapping(each, "spec").get("secretName"))) for each in certificates}
    for each in manifests.of_kind("Cluster"):
        name = each["metadata"]["name"]
        made |= {(namespace_of(each), f"{name}-{suffix}") for suffix in ("app", "superuser", "ca", "server")}
    return made


def _needs_of_pod(needs: _Needs, owner: Object, spec: Object, config: dict[tuple[str, str], Object]) -> None:
    for reference in mappings(spec.get("imagePullSecrets")):
        needs.add(owner, text(reference.get("name")), {DOCKER_CONFIG})
    whole: dict[str, str] = {}  # volume → Secret of which every key becomes a file
    for volume in mappings(spec.get("volumes")):
        secret = _required(volume, "secret")
        name, items = text(secret.get("secretName")), secret.get("items")
        if name and not items:
            whole[text(volume.get("name"))] = name
        needs.add(owner, name, _keys_of(items) if items else set(KEYS.get(name, ())))
        for source in mappings(mapping(volume, "projected").get("sources")):
            part = _required(source, "secret")
            needs.add(owner, text(part.get("name")), _keys_of(part.get("items")))
    for container in containers(spec):
        variables: dict[str, str] = {}
        for source in mappings(container.get("envFrom")):
            name = text(_required(source, "secretRef").get("name"))
            needs.add(owner, name, set(KEYS.get(name, ())))
            place = (namespace_of(owner), text(mapping(source, "configMapRef").get("name")))
            variables |= mapping(config.get(place), "data")
        for variable in mappings(container.get("env")):
            secret = _required(mapping(variable, "valueFrom"), "secretKeyRef")
            needs.add(owner, text(secret.get("name")), {text(secret.get("key"))})
            variables[text(variable.get("name"))] = text(variable.get("value"))
        mounts = {
            PurePosixPath(text(mount.get("mountPath"))): whole[text(mount.get("name"))]
            for mount in mappings(container.get("volumeMounts"))
            if text(mount.get("name")) in whole
        }
        for name, value in variables.items():
            path = PurePosixPath(text(value))
            if text(name).endswith("_FILE") and path.parent in mounts:
                needs.add(owner, mounts[path.parent], {path.name})


def containers(spec: Object) -> list[Object]:
    """Those of a specification of pods, the ones that run first included."""
    return [*mappings(spec.get("initContainers")), *mappings(spec.get("containers"))]


def _required(value: Object, field: str) -> Object:
    """The reference to a Secret in this field; empty where pods start without it."""
    reference = mapping(value, field)
    return {} if reference.get("optional") else reference


def _keys_of(items: Any) -> set[str]:
    return {text(item.get("key")) for item in mappings(items)}


def _references(value: Any, key: str = "") -> Iterator[tuple[str, set[str]]]:
    """The Secrets that a CloudNativePG Cluster names: `…Secret: {name}`, `secret: {name}`, `…: {name, key}`. One
    without a key has a name and a password."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each, key)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str) and (key.lower().endswith("secret") or set(value) == {"name", "key"}):
            signs_in = key in {"passwordSecret", "secret", "superuserSecret"}
            yield value["name"], {text(value["key"])} if "key" in value else set(BASIC_AUTH if signs_in else ())
        for name, each in value.items():
            yield from _references(each, text(name))


def image_entry(overlay: Path, image: str) -> str | None:
    """Where the overlay, or what it is built on, names this image: `file:line`; None when no `images:` entry does, or
    when a kustomization cannot be read."""
    repository = image.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    try:
        for layer in layers(overlay, "resources", "components"):
            images = re.search(r"^images:", layer.text, re.MULTILINE)  # a Secret above may have the name of an image
            for entry in layer.entries("images"):
                if repository in (entry.get("newName"), entry.get("name")):
                    field = "name" if text(entry.get("name")) else "newName"
                    value = re.escape(entry[field])
                    named = re.compile(rf"^[ -]*{field}: *[\"']?{value}[\"']? *$", re.MULTILINE)
                    line = named.search(layer.text, images.end() if images else 0)
                    number = layer.text.count("\n", 0, line.start()) + 1 if line else 1
                    return f"{_short(Path(os.path.realpath(layer.path)), overlay)}:{number}"
    except OperatorError:
        return None  # it could be read when it was rendered
    return None


def _short(path: Path, overlay: Path) -> str:
    """The path as a person would write it who wrote the overlay's."""
    start = overlay if overlay.is_absolute() else Path.cwd()
    return str(path) if overlay.is_absolute() or not path.is_relative_to(start) else str(path.relative_to(start))
