"""The STORAGES entry of the image store: a folder (IMAGE_STORE=filesystem), or a bucket of S3 (IMAGE_STORE=s3)."""

from __future__ import annotations

import os
import re
from typing import Any

from environs import validate

from config.env import Environment

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NEEDED = {
    "S3_BUCKET": "name the bucket",
    "S3_ACCESS_KEY_ID": "give the access key of the bucket",
    "S3_SECRET_ACCESS_KEY": "give the secret of the access key",
}
_OF_S3 = (*_NEEDED, "S3_ENDPOINT_URL", "S3_REGION", "S3_ADDRESSING_STYLE", "S3_CA_FILE")


def image_store(env: Environment) -> dict[str, Any]:
    """The store that the environment names. What it needs and lacks, or has and does not need, are faults of `env`."""
    kind = env.str("IMAGE_STORE", "filesystem", validate=validate.OneOf(["filesystem", "s3"]))
    root = env.str("IMAGE_ROOT", "")
    given = {name: env.str(name, "") for name in _OF_S3}
    if kind == "s3":
        return _bucket(env, root, given)
    if not root and kind == "filesystem":
        env.fault("IMAGE_ROOT", "it is not set: name the folder of the store, or set IMAGE_STORE=s3")
    for name, value in given.items():
        if value and kind == "filesystem":
            env.fault(name, "it is for IMAGE_STORE=s3: set that, too, or leave this out")
    return {"BACKEND": "images.store.DurableFileSystemStorage", "OPTIONS": {"location": root, "base_url": "/"}}


def _bucket(env: Environment, root: str, given: dict[str, str]) -> dict[str, Any]:
    if root:
        env.fault("IMAGE_ROOT", "it is for IMAGE_STORE=filesystem: leave it out, or leave IMAGE_STORE out")
    for name, advice in _NEEDED.items():
        if not given[name]:
            env.fault(name, f"it is not set, and IMAGE_STORE=s3 needs it: {advice}")
    if not given["S3_REGION"] and not given["S3_ENDPOINT_URL"]:
        env.fault("S3_REGION", "it is not set: name the region of the bucket, or with S3_ENDPOINT_URL the server")
    if given["S3_BUCKET"] and not _BUCKET.fullmatch(given["S3_BUCKET"]):
        env.fault("S3_BUCKET", "it must have 3 to 63 of a-z, 0-9, '.' and '-', the first and last a letter or digit")
    if given["S3_CA_FILE"] and not os.access(given["S3_CA_FILE"], os.R_OK):
        env.fault("S3_CA_FILE", "there is no such file, or it cannot be read: name one with certificates in PEM")
    return {
        "BACKEND": "images.store.s3.S3ImageStorage",
        "OPTIONS": {
            "bucket_name": given["S3_BUCKET"],
            "endpoint_url": env.base_url("S3_ENDPOINT_URL") if given["S3_ENDPOINT_URL"] else None,
            "region_name": given["S3_REGION"] or "us-east-1",
            "access_key": given["S3_ACCESS_KEY_ID"],
            "secret_key": given["S3_SECRET_ACCESS_KEY"],
            "addressing_style": env.str(
                "S3_ADDRESSING_STYLE", "auto", validate=validate.OneOf(["auto", "path", "virtual"])
            ),
            "verify": given["S3_CA_FILE"] or None,
            # A connection for each thread of the server, which reads the same variable.
            "pool_size": env.whole("THREADS", "8", at_least=2, at_most=128),
        },
    }
