"""Places for the backups of the suite's own running system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from tests.backups.system import Place
from tests.disk.volumes import become_able_to_mount
from tests.running import Person, environment_of
from tests.s3server import S3Server, s3_server


@pytest.fixture(scope="session", autouse=True)
def can_mount() -> str:
    """Empty, or why this process cannot mount a file system. Comes before there are threads."""
    try:
        become_able_to_mount()
    except OSError as error:
        return f"a small file system cannot be mounted here ({error}): run as root, or allow user namespaces"
    return ""


@pytest.fixture(scope="session", autouse=True)
def console(can_mount: str) -> Iterator[None]:
    """This process has the settings of the console of the running system."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of("console").items():
            patch.setenv(name, value)
        patch.setenv("DJANGO_SETTINGS_MODULE", "config.settings.console")
        django.setup()
        yield


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty folder for backups."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return Place(folder)


@pytest.fixture(scope="session")
def someone() -> Person:
    """Somebody with an image, and signed in."""
    person = Person.new().register().sign_in()
    person.upload()
    return person


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with an empty bucket."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> Place:
    """That bucket, for backups."""
    s3.empty()
    variables = {f"BACKUP_{name}": value for name, value in s3.environment().items() if name.startswith("S3_")}
    return Place(tmp_path, {"BACKUP_STORE": "s3", "BACKUP_ROOT": ""} | variables)
