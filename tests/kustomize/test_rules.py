"""Every tree keeps the house rules; the message names the object, the place in it and what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kustomize.conftest import TREES
from tests.kustomize.objects import Objects
from tests.kustomize.rules import RULES, inspect


@pytest.mark.parametrize("name", TREES, ids=TREES)
@pytest.mark.parametrize("rule", RULES)
def test_a_tree_keeps_the_rule(built: Callable[[str], Objects], name: str, rule: str) -> None:
    findings = inspect(rule, built(name))
    assert not findings.faults, "\n" + "\n".join(findings.faults)
    assert findings.checked, f"{rule} found nothing to look at"
