"""The STORAGES entry of backups: a folder (BACKUP_STORE=filesystem), a bucket of S3 (BACKUP_STORE=s3), or none."""

from __future__ import annotations

import os
import re
from typing import Any

from environs import validate

from config.env import Environment

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NEEDED = {
    "BACKUP_S3_BUCKET": "name the bucket",
    "BACKUP_S3_ACCESS_KEY_ID": "give the access key of the bucket",
    "BACKUP_S3_SECRET_ACCESS_KEY": "give the secret of the access key",
}
_OF_S3 = (
    *_NEEDED,
    "BACKUP_S3_ENDPOINT_URL",
    "BACKUP_S3_REGION",
    "BACKUP_S3_ADDRESSING_STYLE",
    "BACKUP_S3_CA_FILE",
)
_OWN_PLACE = "it is the place of the images: backups go to one of their own, which outlives that one"


def backup_store(env: Environment, image_store: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The place that the environment names, as entry `backups`; nothing where it names none.

    What it needs and lacks, or has and does not need, are faults of `env`; so is the place of `image_store`.
    """
    kind = env.str("BACKUP_STORE", "", validate=validate.OneOf(["", "filesystem", "s3"]))
    root = env.str("BACKUP_ROOT", "")
    given = {name: env.str(name, "") for name in _OF_S3}
    if kind == "filesystem":
        return {"backups": _folder(env, root, given, image_store["OPTIONS"])}
    if root:
        env.fault("BACKUP_ROOT", "it is for BACKUP_STORE=filesystem: set that, too, or leave this out")
    if kind == "s3":
        return {"backups": _bucket(env, given, image_store["OPTIONS"])}
    _only_for_s3(env, given)
    return {}


def _folder(env: Environment, root: str, given: dict[str, str], images: dict[str, Any]) -> dict[str, Any]:
    _only_for_s3(env, given)
    if not root:
        env.fault("BACKUP_ROOT", "it is not set, and BACKUP_STORE=filesystem needs it: name the folder for backups")
    elif not os.path.isabs(root):
        env.fault("BACKUP_ROOT", "it must be an absolute path, such as /backups")
    elif (of_images := images.get("location")) and _one_in_the_other(root, of_images):
        env.fault("BACKUP_ROOT", f"{_OWN_PLACE}; neither may lie in the other")
    return {"BACKEND": "backups.places.folder.BackupFolder", "OPTIONS": {"location": root}}


def _bucket(env: Environment, given: dict[str, str], images: dict[str, Any]) -> dict[str, Any]:
    for name, advice in _NEEDED.items():
        if not given[name]:
            env.fault(name, f"it is not set, and BACKUP_STORE=s3 needs it: {advice}")
    if not given["BACKUP_S3_REGION"] and not given["BACKUP_S3_ENDPOINT_URL"]:
        env.fault(
            "BACKUP_S3_REGION",
            "it is not set: name the region of the bucket, or with BACKUP_S3_ENDPOINT_URL the server",
        )
    if given["BACKUP_S3_BUCKET"] and not _BUCKET.fullmatch(given["BACKUP_S3_BUCKET"]):
        env.fault(
            "BACKUP_S3_BUCKET",
            "it must have 3 to 63 of a-z, 0-9, '.' and '-', the first and last a letter or digit",
        )
    if given["BACKUP_S3_CA_FILE"] and not os.access(given["BACKUP_S3_CA_FILE"], os.R_OK):
        env.fault("BACKUP_S3_CA_FILE", "there is no such file, or it cannot be read: name one with certificates in PEM")
    address = env.base_url("BACKUP_S3_ENDPOINT_URL") if given["BACKUP_S3_ENDPOINT_URL"] else None
    bucket = given["BACKUP_S3_BUCKET"]
    if bucket and (bucket, address) == (images.get("bucket_name"), images.get("endpoint_url")):
        env.fault("BACKUP_S3_BUCKET", _OWN_PLACE)
    return {
        "BACKEND": "backups.places.bucket.BackupBucket",
        "OPTIONS": {
            "bucket_name": bucket,
            "endpoint_url": address,
            "region_name": given["BACKUP_S3_REGION"] or "us-east-1",
            "access_key": given["BACKUP_S3_ACCESS_KEY_ID"],
            "secret_key": given["BACKUP_S3_SECRET_ACCESS_KEY"],
            "addressing_style": env.str(
                "BACKUP_S3_ADDRESSING_STYLE", "auto", validate=validate.OneOf(["auto", "path", "virtual"])
            ),
            "verify": given["BACKUP_S3_CA_FILE"] or None,
        },
    }


def _only_for_s3(env: Environment, given: dict[str, str]) -> None:
    for name, value in given.items():
        if value:
            env.fault(name, "it is for BACKUP_STORE=s3: set that, too, or leave this out")


def _one_in_the_other(first: str, second: str) -> bool:
    paths = [os.path.realpath(first), os.path.realpath(second)]
    return os.path.commonpath(paths) in paths
