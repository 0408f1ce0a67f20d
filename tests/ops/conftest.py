"""Real systems for the tests: a state folder of their own, free ports, `manage.py up` as a person starts it."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.unprivileged import OUTSIDE
from tests.ops.running import TIMEOUT, FirstStart, Up, first_start, system_id


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Time enough for whole systems on a machine that does other things, too."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def _open_folder() -> Iterator[Path]:
    """A folder that another user may pass through, so that PostgreSQL's data stays in it even when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-ops-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


folder = pytest.fixture(_open_folder, name="folder")
session_folder = pytest.fixture(_open_folder, scope="session", name="session_folder")


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that nobody else can enter; what lies outside because of that is removed, too."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-ops-"))
    yield folder
    for secrets in folder.glob("**/secrets.json"):
        shutil.rmtree(OUTSIDE / system_id(secrets.parent), ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def first(session_folder: Path) -> FirstStart:
    """A whole system that was started on an empty folder and stopped again."""
    return first_start(session_folder / "state")


@pytest.fixture(scope="module")
def system(first: FirstStart) -> Iterator[Up]:
    """A whole system, running: the tests of one module share it and leave everything ready."""
    with Up.running(first.state) as up:
        up.until_ready()
        yield up
        up.stop(signal.SIGTERM)
        assert up.process.returncode == 0
