"""The role of each target, made once."""

from __future__ import annotations

import pytest

from tests.image import dockerfile, running


@pytest.fixture(scope="session", params=dockerfile.TARGETS)
def role(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> running.Role:
    """Each of the four, one after the other."""
    return running.role(request.param, tmp_path_factory.mktemp(request.param))
