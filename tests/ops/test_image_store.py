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
