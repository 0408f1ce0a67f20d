"""Values of an example that nobody has replaced by the system's own: whatever is under `example.com`, `.net` or `.org`,
which nobody can have (RFC 2606, section 3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ops.cluster.kubectl import Object
from ops.cluster.manifests import Manifests, containers, name_of, pod_specs
from ops.cluster.overlay import layers
from ops.cluster.shapes import mapping, mappings, text, texts
from ops.errors import OperatorError

_EXAMPLES = ("example.com", "example.net", "example.org")


def left_in(manifests: Manifests) -> list[str]:
    """Each value that is still a placeholder, once, with the place to edit it: file and variable where a .env file of
    the overlay, or of what it is built on, has it; else the first object that has it."""
    users: dict[str, str] = {}
    for each in manifests.objects:
        for value in _values(each):
            if _is_example(value):
                users.setdefault(value, name_of(each))
    variables = _variables(manifests.overlay) if users else {}
    return sorted(
        line
        for value, user in users.items()
        for line in variables.get(value, [f"{user}: {value}, which no .env file of the overlay has"])
    )


def _values(each: Object) -> Iterator[str]:
    """The addresses in an object under which others find the system, or it finds others."""
    spec, kind = mapping(each, "spec"), each["kind"]
    if kind == "Ingress":
        yield from (text(rule.get("host")) for rule in mappings(spec.get("rules")))
        for entry in mappings(spec.get("tls")):
            yield from texts(entry.get("hosts"))
    elif kind == "Gateway":
        yield from (text(listener.get("hostname")) for listener in mappings(spec.get("listeners")))
    elif kind in {"HTTPRoute", "GRPCRoute", "TLSRoute"}:
        yield from texts(spec.get("hostnames"))
    elif kind == "Certificate":
        yield from texts(spec.get("dnsNames"))
    elif kind in {"Issuer", "ClusterIssuer"}:
        yield text(mapping(spec, "acme").get("email"))
    elif kind == "Cluster":
        yield _registry(spec.get("imageName"))
    for _, pod in pod_specs([each]):
        yield from (_registry(container.get("image")) for container in containers(pod))


def _registry(image: object) -> str:
    host, slash, _ = text(image).partition("/")
    return host if slash else ""


def _is_example(value: str) -> bool:
    host = value.rpartition("@")[2].partition(":")[0].rstrip(".").lower()
    return host.endswith(tuple(f".{example}" for example in _EXAMPLES)) or host in _EXAMPLES


def _variables(overlay: Path) -> dict[str, list[str]]:
    """Value → `file: VARIABLE=value` for each line of the .env files beside the kustomizations that has it."""
    found: dict[str, list[str]] = {}
    try:
        paths = [
            path
            for layer in layers(overlay, "resources", "components")
            for path in sorted(Path(os.path.normpath(layer.folder)).glob("*.env"))
            if path.is_file()
        ]
        for path in paths:
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                variable, _, value = line.strip().partition("=")
                if value and not variable.startswith("#"):
                    found.setdefault(value, []).append(f"{path}: {variable}={value}")
    except (OSError, OperatorError):
        pass  # the values are told without their places, which is enough to look for them
    return found
