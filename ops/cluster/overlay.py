"""The folders that an overlay is built of, and what their kustomizations say."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops.cluster.shapes import mappings, texts
from ops.errors import OperatorError

KUSTOMIZATION = "kustomization.yaml"


class NoOverlay(OperatorError):
    """The folder has no kustomization."""

    def __init__(self, overlay: Path) -> None:
        super().__init__(
            f"{overlay} is no overlay: there is no {KUSTOMIZATION} in it. Name a folder such as "
            "kustomize/overlays/minikube."
        )


class OverlayError(OperatorError):
    """The overlay cannot be read or rendered. The message says why."""


class YamlError(ValueError):
    """A text is not YAML that can be read. The message says where and why."""


@dataclass(frozen=True)
class Kustomization:
    """One kustomization. Entries of another shape than kustomize takes are left out: it refuses them itself."""

    folder: Path
    text: str
    content: dict[str, Any]

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / KUSTOMIZATION

    def entries(self, field: str) -> list[dict[str, Any]]:
        """The mappings in one of its lists."""
        return mappings(self.content.get(field))

    def names(self, field: str) -> list[str]:
        """The strings in one of its lists."""
        return texts(self.content.get(field))


def kustomization_text(folder: Path) -> str:
    """What is in its file. Raises NoOverlay when there is none, OverlayError when it cannot be read."""
    path = folder / KUSTOMIZATION
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoOverlay(folder) from error
    except UnicodeDecodeError as error:
        raise OverlayError(f"{path} is damaged: it is not text.") from error
    except ValueError as error:  # a zero byte, which no path has
        raise NoOverlay(folder) from error
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
            raise NoOverlay(folder) from error
        raise OverlayError(
            f"{path} cannot be read: {error.strerror}. Run as a user who may read it, or correct its owner and mode."
        ) from error


def layers(overlay: Path, *fields: str) -> Iterator[Kustomization]:
    """The overlay, then the folders that these fields of it and of each other name, every one once, the nearest first.

    Raises NoOverlay, OverlayError.
    """
    folders, seen = [overlay], set()
    for folder in folders:
        try:
            text = kustomization_text(folder)
        except NoOverlay:
            if folder is overlay:
                raise
            continue  # a file or an address, or nothing at all, which kustomize refuses in words of its own
        if (place := os.path.realpath(folder)) in seen:
            continue
        seen.add(place)
        layer = Kustomization(folder, text, _content(folder / KUSTOMIZATION, text))
        yield layer
        folders += [folder / name for field in fields for name in layer.names(field)]


def _content(path: Path, text: str) -> dict[str, Any]:
    try:
        documents = yaml_documents(text)
    except YamlError as error:
        raise OverlayError(f"{path} cannot be read: {error}. Correct it.") from error
    content = next(iter(documents), None) or {}
    if not isinstance(content, dict):
        raise OverlayError(f"{path} is no kustomization: it has no fields such as `resources:`. Correct it.")
    return content


class _Loader(yaml.SafeLoader):
    """Takes what looks like a date as the text that it is to Kubernetes; JSON has no dates either."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def yaml_documents(text: str) -> list[Any]:
    """All documents of a text. Raises YamlError."""
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlError(f"{where}{error.problem or error.context}") from error
    except RecursionError:
        raise YamlError("it is nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        raise YamlError(" ".join(str(error).split())) from error
