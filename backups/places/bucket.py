"""Backups in a bucket of S3, or of what speaks its language."""

from __future__ import annotations

import base64
import datetime as dt
import errno
import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from backups import manifest as manifests
from backups.places.base import CHUNK, BackupPlace, Kept, PlaceUnavailable

PART = 8 * 1024 * 1024  # bytes; S3 takes 10,000 parts: 80 GB for one piece
CONNECT_SECONDS = 5
STALL_SECONDS = 30  # without a byte, after which an attempt is given up
ATTEMPTS = 4  # of each request, with growing pauses

_FULL = frozenset(
    {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioBucketQuotaExceeded"}
)
_NOT_THERE = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})
_REFUSED = frozenset(
    {"403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}
    | {"RequestTimeTooSkewed", "SignatureDoesNotMatch", "Unauthorized"}
)
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})


class BackupBucket(S3Storage, BackupPlace):  # type: ignore[misc]
    """Objects that the store has confirmed, each part with a digest that it compares. One part is in memory at a time.

    A piece that needs several parts has no name before the last one is there: half of it is never seen.
    """

    def __init__(self, *, addressing_style: str, **options: Any) -> None:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            # Many servers know none of the newer checksums. Ours is Content-MD5, which all of them compare.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=STALL_SECONDS,
            proxies={},
        )
        super().__init__(client_config=config, querystring_auth=False, **options)
        self._client = self.connection.meta.client  # for all threads

    @property
    def called(self) -> str:
        return f"the bucket {self.bucket_name}"

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        parts = _parts(chunks)
        first = next(parts)
        second = next(parts, None)
        with _named():
            if second is None:
                self._client.put_object(**self._of(name), Body=first, ContentMD5=_md5(first))
            else:
                self._write_parts(name, chain([first, second], parts))

    def _write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        upload = {**self._of(name), "UploadId": self._client.create_multipart_upload(**self._of(name))["UploadId"]}
        tags: list[dict[str, Any]] = []
        try:
            for number, part in enumerate(parts, 1):
                answer = self._client.upload_part(**upload, PartNumber=number, Body=part, ContentMD5=_md5(part))
                tags.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": tags})
        except BaseException:
            with suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**upload)
            raise

    def read(self, name: str) -> Generator[bytes, None, None]:
        with _named():
            answer = self._client.get_object(**self._of(name))
            left, body = answer["ContentLength"], answer["Body"]
        try:
            while left > 0:
                with _named():
                    chunk = body.read(min(CHUNK, left))
                if not chunk:
                    raise OSError(errno.EIO, "the object ended early")
                left -= len(chunk)
                yield chunk
        finally:
            body.close()

    def kept(self) -> Iterator[Kept]:
        place: dict[str, str] = {}
        while True:
            with _named():
                page = self._client.list_objects_v2(Bucket=self.bucket_name, **place)
            for entry in page.get("Contents", ()):
                yield Kept(entry["Key"], entry["Size"], entry["LastModified"])
            if not page.get("IsTruncated"):
                return
            place = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError), _named():
                self._client.delete_object(**self._of(name))

    def discard_unfinished(self, *, before: dt.datetime) -> int:
        count = 0
        place: dict[str, str] = {}
        while True:
            with _named():
                page = self._client.list_multipart_uploads(Bucket=self.bucket_name, **place)
            for entry in page.get("Uploads", ()):
                ours = manifests.began(entry["Key"].partition("/")[0]) is not None
                if ours and entry["Initiated"] < before:
                    with suppress(FileNotFoundError), _named():
                        self._client.abort_multipart_upload(**self._of(entry["Key"]), UploadId=entry["UploadId"])
                        count += 1
            if not page.get("IsTruncated"):
                return count
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}

    def require_usable(self, *, writing: bool) -> None:
        with _named():
            self._client.list_objects_v2(Bucket=self.bucket_name, MaxKeys=1)

    def _of(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": name}


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of PART, the last one smaller; at least one, which may be empty."""
    buffer = bytearray()
    empty = True
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PART:
            yield bytes(memoryview(buffer)[:PART])
            del buffer[:PART]
            empty = False
    if buffer or empty:
        yield bytes(buffer)


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@contextmanager
def _named() -> Iterator[None]:
    """Turns what boto3 raises into the OSError that it stands for. No message has a key or an address."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error) from error
    except BotoCoreError as error:
        raise OSError(errno.EIO, f"it does not answer ({type(error).__name__})") from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise OSError(errno.EIO, f"the connection broke ({type(error).__name__})") from error


def _meaning(error: ClientError) -> OSError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code} ({status})"
    if code == "NoSuchBucket":
        return PlaceUnavailable(f"{said}: the store has no such bucket; make it, or correct BACKUP_S3_BUCKET")
    if code in _NOT_THERE:
        return FileNotFoundError(errno.ENOENT, said)
    if code in _FULL or status == 507:
        return OSError(errno.ENOSPC, said)
    if code in _ELSEWHERE or 300 <= status < 400:
        return PlaceUnavailable(f"{said}: the bucket is elsewhere; correct BACKUP_S3_ENDPOINT_URL or BACKUP_S3_REGION")
    if code in _REFUSED or status in {401, 403}:
        return PlaceUnavailable(
            f"{said}: the store refuses our requests; correct BACKUP_S3_ACCESS_KEY_ID, BACKUP_S3_SECRET_ACCESS_KEY, "
            "the rights of this key or the clock"
        )
    return OSError(errno.EIO, said)
