"""Every supported combination of components, not only every pair: it builds, the same by both programs, and is valid.

`make test` renders as few combinations as bring together every two components (tests/kustomize); this takes them all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kustomize import combinations, trees
from tests.kustomize.objects import Objects, label
from tests.kustomize.rules import RULES, inspect
from tests.kustomize.test_schemas import MINORS, faults

SUPPORTED = combinations.supported()
TITLES = [combinations.title(one) for one in SUPPORTED]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `kustomize/` in which the combinations are written one after another."""
    return trees.tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def write(tree: Path) -> Callable[[combinations.Combination], Path]:
    """Writes the overlay of a combination, in the place of the last one."""

    def combination(chosen: combinations.Combination) -> Path:
        for old in (tree / "overlays").glob("combination-*"):
            shutil.rmtree(old)
        return trees.combination(tree, chosen)

    return combination


def test_no_two_combinations_have_the_same_name() -> None:
    assert len(set(TITLES)) == len(TITLES) > 600


@pytest.mark.parametrize("chosen", SUPPORTED, ids=TITLES)
def test_a_combination_builds_alike_by_both_programs_and_keeps_every_rule(
    write: Callable[[combinations.Combination], Path], chosen: combinations.Combination
) -> None:
    overlay = write(chosen)

    by_kubectl = Objects(combinations.title(chosen), trees.build(overlay))
    by_kustomize = trees.build_with_kustomize(overlay)

    named = {label(one): one for one in by_kubectl.all}
    assert len(named) == len(by_kubectl.all)
    assert named == {label(one): one for one in by_kustomize}
    found = [fault for rule in RULES for fault in inspect(rule, by_kubectl).faults]
    found += [fault for one in by_kubectl.all for fault in faults(one, MINORS[-1])]
    assert not found, "\n" + "\n".join(found)
