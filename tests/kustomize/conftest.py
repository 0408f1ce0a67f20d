"""The rendered trees of a run: each is built once, when the first test asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.kustomize import combinations, trees
from tests.kustomize.objects import Objects

TREES = (*trees.OVERLAYS, *map(combinations.title, combinations.covering()))


@pytest.fixture(scope="session")
def kustomize(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `kustomize/` with secrets, and an overlay for each combination of components."""
    return trees.tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="session")
def folder_of(kustomize: Path) -> Callable[[str], Path]:
    """The folder of a tree, by the names of TREES."""
    chosen_by_title = {combinations.title(chosen): chosen for chosen in combinations.covering()}

    @cache
    def folder(name: str) -> Path:
        if name in chosen_by_title:
            return trees.combination(kustomize, chosen_by_title[name])
        return kustomize / "overlays" / name

    return folder


@pytest.fixture(scope="session")
def built(folder_of: Callable[[str], Path]) -> Callable[[str], Objects]:
    """The objects of a tree, by the names of TREES. Whoever changes them copies them first."""
    done: dict[str, Objects | trees.BuildError] = {}

    def build(name: str) -> Objects:
        if name not in done:
            try:
                done[name] = Objects(name, trees.build(folder_of(name)))
            except trees.BuildError as error:
                done[name] = error
        if isinstance(result := done[name], trees.BuildError):
            pytest.fail(f"{name} does not build: {result}", pytrace=False)
        return result

    return build
