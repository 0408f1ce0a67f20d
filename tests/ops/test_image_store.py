"""Where the images of `up` are: in its state folder, or where the person's own environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.layout import Ports, State
from ops.secrets import DatabaseUrls, Secrets, environments

S3 = {
    "IMAGE_STORE": "s3",
    "S3_BUCKET": "images",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "key",
    "S3_SECRET_ACCESS_KEY_FILE": "/run/secrets/s3",
}


def written(folder: Path) -> dict[str, dict[str, str]]:
    """The environments of the roles, as `up` would write them now."""
    return environments(State.at(folder), Secrets.generate(), Ports(), DatabaseUrls("auth", "images"))


def of_store(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(("IMAGE_", "S3_"))}


@pytest.mark.parametrize("kind", [None, "filesystem"])
def test_images_are_in_the_state_folder_unless_somebody_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    for name, value in S3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("IMAGE_STORE")
    if kind is not None:
        monkeypatch.setenv("IMAGE_STORE", kind)

    by_role = written(tmp_path)

    root = {"IMAGE_ROOT": str(State.at(tmp_path).images)}
    assert {role: of_store(by_role[role]) for role in by_role} == {
        "gateway": {},
        "auth": {},
        "images": root,
        "console": root,
    }


def test_a_bucket_of_the_persons_own_goes_to_images_and_console_and_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in S3.items():
        monkeypatch.setenv(name, value)

    by_role = written(tmp_path)

    assert {role: of_store(by_role[role]) for role in by_role} == {
        "gateway": {},
        "auth": {},
        "images": S3,
        "console": S3,
    }


def of_backups(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(("BACKUP_", "PG_"))}


def test_backups_are_in_the_state_folder_unless_somebody_says_otherwise_and_the_consoles_business_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"BACKUP_STORE": "filesystem", "BACKUP_ROOT": str(State.at(tmp_path).backups)}
    nowhere: dict[str, dict[str, str]] = {"gateway": {}, "auth": {}, "images": {}}

    assert {role: of_backups(values) for role, values in written(tmp_path).items()} == nowhere | {"console": here}

    monkeypatch.setenv("BACKUP_ROOT", "/elsewhere")
    monkeypatch.setenv("BACKUP_KEEP_LAST", "3")
    own = here | {"BACKUP_ROOT": "/elsewhere", "BACKUP_KEEP_LAST": "3"}
    assert {role: of_backups(values) for role, values in written(tmp_path).items()} == nowhere | {"console": own}

    monkeypatch.delenv("BACKUP_ROOT")
    monkeypatch.setenv("BACKUP_STORE", "s3")
    monkeypatch.setenv("BACKUP_S3_SECRET_ACCESS_KEY_FILE", "/run/secrets/backups")
    bucket = {
        "BACKUP_STORE": "s3",
        "BACKUP_S3_SECRET_ACCESS_KEY_FILE": "/run/secrets/backups",
        "BACKUP_KEEP_LAST": "3",
    }
    assert {role: of_backups(values) for role, values in written(tmp_path).items()} == nowhere | {"console": bucket}
