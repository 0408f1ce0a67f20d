"""What an operator forgets is named by the build itself, before anything reaches a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.cluster.secrets import KEYS
from tests.kustomize import trees


@pytest.mark.parametrize("overlay", trees.WITH_SECRETS)
@pytest.mark.parametrize("secret", sorted(KEYS))
def test_a_missing_secrets_file_is_named_and_nothing_is_rendered(tmp_path: Path, overlay: str, secret: str) -> None:
    kustomize = trees.tree(tmp_path)
    folder = kustomize / "overlays" / overlay
    # `ci` may take the files of `minikube`: every file of this name has to go.
    for file in kustomize.rglob(f"secrets/{secret}.env"):
        file.unlink()
    with pytest.raises(trees.BuildError, match=rf"secrets/{secret}\.env"):
        trees.build(folder)


def test_a_misspelt_component_is_named(tmp_path: Path) -> None:
    kustomize = trees.tree(tmp_path)
    file = kustomize / "overlays" / "minikube" / "kustomization.yaml"
    file.write_text(file.read_text().replace("components/console", "components/consol"))
    with pytest.raises(trees.BuildError, match="components/consol"):
        trees.build(file.parent)


def test_a_tree_takes_no_secrets_of_the_person_who_runs_the_tests(tmp_path: Path) -> None:
    first, second = trees.tree(tmp_path / "a"), trees.tree(tmp_path / "b")
    file = Path("overlays/minikube/secrets/gateway.env")
    assert (first / file).read_text() != (second / file).read_text()
