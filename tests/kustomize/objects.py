"""What was rendered, seen as Kubernetes sees it: which pods there will be, who selects them, what they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


def label(thing: Object) -> str:
    """An object as messages name it: `Deployment app-services/auth`."""
    namespace = thing["metadata"].get("namespace")
    return f"{thing['kind']} {namespace + '/' if namespace else ''}{thing['metadata']['name']}"


def namespace(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))


@dataclass(frozen=True)
class Container:
    """A container of a pod, with the place where it is written."""

    spec: Object
    path: str
    initial: bool  # whether it ends before the others start

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def serves(self) -> bool:
        """Whether it runs as long as the pod: an init container that always restarts does, too (a sidecar)."""
        return not self.initial


@dataclass(frozen=True)
class Pods:
    """The pods that a workload makes: its template, and where that is written."""

    owner: Object
    template: Object
    path: str

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def labels(self) -> Mapping[str, str]:
        return self.template.get("metadata", {}).get("labels", {})

    @property
    def is_job(self) -> bool:
        return self.owner["kind"] in {"CronJob", "Job"}

    def containers(self) -> Iterator[Container]:
        for group in ("initContainers", "containers"):
            for spec in self.spec.get(group, ()):
                initial = group == "initContainers" and spec.get("restartPolicy") != "Always"
                yield Container(spec, f"{self.path}.spec.{group}[{spec['name']}]", initial)

    def selected_by(self, selector: Mapping[str, str]) -> bool:
        return bool(selector) and selector.items() <= self.labels.items()


_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


class Objects:
    """All objects of one tree."""

    def __init__(self, name: str, everything: list[Object]) -> None:
        self.name = name
        self.all = everything

    def of(self, *kinds: str) -> list[Object]:
        return [thing for thing in self.all if thing["kind"] in kinds]

    def get(self, kind: str, namespace_name: str, name: str) -> Object | None:
        """An object by its name, or by its name less the hash that a generator added."""
        for thing in self.of(kind):
            if namespace(thing) == namespace_name and name in {thing["metadata"]["name"], plain_name(thing)}:
                return thing
        return None

    def pods(self) -> list[Pods]:
        found = []
        for thing in self.all:
            if (path := _TEMPLATES.get(thing["kind"])) is not None:
                template = thing
                for part in path:
                    template = template[part]
                found.append(Pods(thing, template, ".".join(path)))
        return found


def plain_name(thing: Object) -> str:
    """A name less the hash of a generator: ten letters and digits of kustomize's alphabet at its end."""
    name = str(thing["metadata"]["name"])
    front, dash, end = name.rpartition("-")
    hashed = thing["kind"] in {"ConfigMap", "Secret"} and dash and len(end) == 10 and set(end) <= _HASH_LETTERS
    return front if hashed else name


# Hexadecimal digits, of which kustomize replaces 0, 1, 3, a and e so that no word comes of them.
_HASH_LETTERS = set("2456789bcdfghkmt")


def cpu(quantity: str | float) -> float:
    """A quantity of processors in cores."""
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def memory(quantity: str | int) -> float:
    """A quantity of memory in MiB."""
    text = str(quantity)
    for suffix, factor in (("Ki", 1 / 1024), ("Mi", 1), ("Gi", 1024), ("k", 1e3 / 2**20), ("M", 1e6 / 2**20)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text) / 2**20
