"""Every overlay and every supported combination of components builds, and both programs make the same of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.kustomize import combinations, tools, trees
from tests.kustomize.conftest import TREES
from tests.kustomize.objects import Objects, label

needs_kustomize = pytest.mark.skipif(
    tools.kustomize() is None,
    reason=f"kustomize was not found: install the package {tools.KUSTOMIZE} (go install)",
)


@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_a_tree_builds(built: Callable[[str], Objects], name: str) -> None:
    kinds = {thing["kind"] for thing in built(name).all}
    assert {"Namespace", "Deployment", "Service", "ConfigMap", "CronJob", "HorizontalPodAutoscaler"} <= kinds


@needs_kustomize
@pytest.mark.parametrize("name", TREES, ids=TREES)
def test_kustomize_makes_the_same_objects_as_kubectl(
    built: Callable[[str], Objects], folder_of: Callable[[str], Path], name: str
) -> None:
    by_kubectl = {label(thing): thing for thing in built(name).all}
    by_kustomize = {label(thing): thing for thing in trees.build_with_kustomize(folder_of(name))}
    assert len(by_kubectl) == len(built(name).all)
    assert by_kustomize == by_kubectl


def test_the_combinations_bring_together_every_two_choices_that_are_supported() -> None:
    everything = set().union(*map(combinations.pairs, combinations.supported()))
    built = set().union(*map(combinations.pairs, combinations.covering()))
    assert built == everything
    chosen = {value for combination in combinations.supported() for value in combination} - {""}
    assert chosen | {"places"} == {name for name in combinations.ORDER if "/" not in name}


def test_every_component_is_in_a_combination_and_says_what_it_is() -> None:
    folder = trees.PROJECT / "kustomize" / "components"
    there = {path.name for path in folder.iterdir() if path.is_dir()}
    assert there == {name for name in combinations.ORDER if "/" not in name}
    parts = {str(path.parent.relative_to(folder)) for path in folder.glob("*/*/kustomization.yaml")}
    assert {part for part in parts if part.split("/")[1] in there} == {
        name for name in combinations.ORDER if "/" in name
    }
    without_readme = [name for name in sorted(there) if not (folder / name / "README.md").is_file()]
    assert not without_readme


@pytest.mark.parametrize("overlay", ["minikube", "production"])
def test_the_python_that_counts_for_files_is_the_one_of_our_images(
    built: Callable[[str], Objects], overlay: str
) -> None:
    dockerfile = (trees.PROJECT / "Dockerfile").read_text()
    files = built(overlay).get("Deployment", "app-services", "files")
    assert files
    (metrics,) = files["spec"]["template"]["spec"]["initContainers"]
    assert f"ARG BASE={metrics['image']}\n" in dockerfile


def test_every_overlay_is_built() -> None:
    folder = trees.PROJECT / "kustomize" / "overlays"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(trees.OVERLAYS)


def _kustomizations() -> list[Path]:
    return sorted((trees.PROJECT / "kustomize").rglob("kustomization.yaml"))


def test_kustomizations_use_no_common_labels_and_every_file_they_name_is_there() -> None:
    checked = 0
    for file in _kustomizations():
        document = yaml.safe_load(file.read_text())
        assert "commonLabels" not in document, f"{file}: commonLabels change selectors: use labels"
        for entry in document.get("labels", ()):
            assert not entry.get("includeSelectors"), f"{file}: labels must not go into selectors"
        for name in (*document.get("resources", ()), *document.get("components", ())):
            checked += 1
            assert (file.parent / name).exists(), f"{file}: there is no {name}"
    assert checked > 40


def test_every_manifest_is_one_object_in_a_file_named_for_its_kind_and_named_by_a_kustomization() -> None:
    checked = 0
    for kustomization in _kustomizations():
        for name in yaml.safe_load(kustomization.read_text()).get("resources", ()):
            file = kustomization.parent / name
            if file.is_dir():
                continue
            objects = trees.parse(file.read_text())
            if {each["kind"] for each in objects} == {"NetworkPolicy"}:
                continue  # one file for each component, with both of its directions
            assert len(objects) == 1, f"{file} has {len(objects)} objects"
            kind, own = objects[0]["kind"].lower(), objects[0]["metadata"]["name"]
            namespaces = kind == "namespace" and file.stem == own
            named = file.stem == kind or file.stem.startswith(f"{kind}-") or namespaces
            assert named, f"{file} is not named for its kind, {kind}"
            checked += 1
    assert checked > 30


def test_no_yaml_file_lies_about_that_nothing_uses() -> None:
    used = set()
    for file in _kustomizations():
        text = file.read_text()
        used |= {path for path in file.parent.rglob("*.yaml") if os.path.relpath(path, file.parent) in text}
    lying = [
        path
        for path in (trees.PROJECT / "kustomize").rglob("*.yaml")
        if path not in used and path.name != "kustomization.yaml"
    ]
    assert not lying
