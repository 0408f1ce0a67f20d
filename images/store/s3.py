"""The store in a bucket of S3, or of what speaks its language."""

from __future__ import annotations

import base64
import datetime as dt
import errno
import hashlib
import io
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import structlog
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files import File
from django.utils.encoding import filepath_to_uri
from storages.backends.s3 import S3Storage

from images.store.base import FOLDER, ImageStorage, StorageUnavailable, Stored
from images.store.wire import STALL_SECONDS, NotAsked, Redirected, Wire
from internal.context import Deadline, current_deadline, deadline_of
from internal.sockets import held_to

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = structlog.get_logger(__name__)

# Seconds. A request has its own deadline; of an upload's, the last part is for the removal of what was stored in vain.
WRITE_SECONDS = 60.0  # outside of a request
READ_SECONDS = 2.5  # until the bytes begin to come
STREAM_SECONDS = 60.0  # until the last one has come
LIST_SECONDS = 30.0  # for a page
REMOVE_SECONDS = 0.8  # at least
PROBE_SECONDS = 0.9
PROBE_KEPT_SECONDS = 1.0

BATCH = 1000  # names in one page, which is what S3 allows
REMOVE_THREADS = 8  # requests at a time
BUFFER = 64 * 1024  # bytes

_MD5 = re.compile(r"[0-9a-f]{32}")
_FULL = frozenset(
    {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioBucketQuotaExceeded"}
)
_NOT_THERE = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})
_REFUSED = frozenset(
    {"403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}
    | {"RequestTimeTooSkewed", "SignatureDoesNotMatch", "Unauthorized"}
)
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})
_ELSEWHERE_ADVICE = "the bucket is elsewhere; correct S3_ENDPOINT_URL or S3_REGION"


class CredentialsRefused(StorageUnavailable):
    """The store does not let us in."""


class BucketMissing(StorageUnavailable):
    """The store has no bucket of this name."""


class WrongAddress(StorageUnavailable):
    """The store sends us to another place, where we do not go: the request is signed for this one."""


class S3ImageStorage(S3Storage, ImageStorage):  # type: ignore[misc]
    """Objects that the store has confirmed when `save` returns: a request each, with a digest that both sides compare.

    Every thread uses one client, which is made at once: where the server loads the application before it forks, all of
    its workers share that memory.
    """

    def __init__(self, *, addressing_style: str, pool_size: int, **options: Any) -> None:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
            retries={"total_max_attempts": 1, "mode": "standard"},  # the wire repeats, inside the deadline
            # Many servers know none of the newer checksums. Ours is Content-MD5, which all of them compare.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            max_pool_connections=pool_size,
        )
        super().__init__(client_config=config, querystring_auth=False, **options)
        self._wire = Wire(connections=pool_size, verify=True if self.verify is None else self.verify)
        self._resource = super().connection
        self._client = self._resource.meta.client
        self._client.meta.events.register("before-send.s3", self._wire.send)
        self._usable = False
        self._refusal = ""
        self._probing = threading.Lock()
        self._probed: tuple[float, bool] | None = None

    @property
    def connection(self) -> Any:
        return self._resource

    def url(self, name: str | None, *args: Any, **options: Any) -> str:
        return f"/{filepath_to_uri(name or '')}"

    def _save(self, name: str, content: File[Any]) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in content.chunks(BUFFER):
            digest.update(chunk)
        content.seek(0)
        with _named(), deadline_of(current_deadline(WRITE_SECONDS).remaining() - REMOVE_SECONDS):
            answer = self._client.put_object(
                **self._of(name),
                **self._get_write_parameters(name),
                Body=content,
                ContentLength=content.size,
                ContentMD5=base64.b64encode(digest.digest()).decode(),
            )
        tag = answer.get("ETag", "").strip('"')
        # Under a key of the customer's or of a key service a tag is no digest; the store has compared Content-MD5.
        encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
        if not tag or (_MD5.fullmatch(tag) and tag != digest.hexdigest() and not encrypted):
            raise OSError(errno.EIO, "the store confirmed something else than what was sent")
        return name

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode != "rb":
            raise ValueError("An object is written as a whole: use save().")
        return self.opened(name)[0]

    def opened(self, name: str) -> tuple[File[Any], dt.datetime]:
        reader = _Reader(self, name)
        return File(io.BufferedReader(reader, BUFFER), name), reader.modified

    def look(self, name: str) -> Stored:
        try:
            with _named(), _at_most(READ_SECONDS):
                answer = self._client.head_object(**self._of(name))
        except FileNotFoundError:
            # An answer to HEAD has no body: whether the object is missing or the whole bucket, GET says.
            with _Reader(self, name) as reader:
                return Stored(name, reader.size, reader.modified)
        return Stored(name, answer["ContentLength"], answer["LastModified"])

    def exists(self, name: str) -> bool:
        try:
            self.look(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return self.look(name).size

    def get_modified_time(self, name: str) -> dt.datetime:
        return self.look(name).modified

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        with _named(), deadline_of(LIST_SECONDS):
            folders, files = super().listdir(name)
        return folders, files

    def listing(self) -> Iterator[Stored]:
        place: dict[str, str] = {}
        while True:
            page = self._page("list_objects_v2", MaxKeys=BATCH, **place)
            for entry in page.get("Contents", ()):
                yield Stored(entry["Key"], entry["Size"], entry["LastModified"])
            if not page.get("IsTruncated"):
                return
            place = {"ContinuationToken": page["NextContinuationToken"]}

    def unfinished(self) -> Iterator[Stored]:
        place: dict[str, str] = {}
        while True:
            page = self._page("list_multipart_uploads", MaxUploads=BATCH, **place)
            for entry in page.get("Uploads", ()):
                yield Stored(entry["Key"], 0, entry["Initiated"], entry["UploadId"])
            if not page.get("IsTruncated"):
                return
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}

    def discard(self, unfinished: Stored) -> None:
        try:
            with _named(), deadline_of(LIST_SECONDS):
                self._client.abort_multipart_upload(**self._of(unfinished.name), UploadId=unfinished.handle)
        except FileNotFoundError:
            return

    def delete(self, name: str) -> None:
        for reason in self.remove([name]).values():
            raise OSError(errno.EIO, reason)

    def remove(self, names: Iterable[str]) -> dict[str, str]:
        """A request for each name: many servers want a Content-MD5 with a list of names, which boto3 sends no more."""
        waiting = list(dict.fromkeys(names))
        if not waiting:
            return {}
        deadline = Deadline.after(max(REMOVE_SECONDS, current_deadline(WRITE_SECONDS).remaining()))
        with ThreadPoolExecutor(min(REMOVE_THREADS, len(waiting))) as pool:
            reasons = list(pool.map(lambda name: self._remove_one(name, deadline), waiting))
        return {name: reason for name, reason in zip(waiting, reasons, strict=True) if reason is not None}

    def _remove_one(self, name: str, deadline: Deadline) -> str | None:
        """Why it could not be removed; None if it is gone."""
        try:
            with _named(), deadline_of(deadline.remaining()):
                self._client.delete_object(**self._of(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error.strerror)
        return None

    def require_usable(self) -> None:
        """That the store has let us in once. No answer is no reason: an outage must not take galleries away, too."""
        if self._usable:
            return
        try:
            self._probe()
        except StorageUnavailable as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                log.error("image_store_refuses_us", reason=self._refusal)
            raise
        except OSError:
            return
        self._usable = True

    def is_up(self) -> bool:
        with self._probing:
            now = time.monotonic()
            if self._probed is None or now - self._probed[0] > PROBE_KEPT_SECONDS:
                try:
                    self._probe()
                except OSError:
                    up = False
                else:
                    up = True
                self._probed = time.monotonic(), up
            return self._probed[1]

    def _probe(self) -> None:
        with _named(), deadline_of(PROBE_SECONDS):
            self._client.list_objects_v2(Bucket=self.bucket_name, Prefix=f"{FOLDER}/", MaxKeys=1)

    def _page(self, operation: str, **place: str | int) -> dict[str, Any]:
        call = getattr(self._client, operation)
        with _named(), deadline_of(LIST_SECONDS):
            page: dict[str, Any] = call(Bucket=self.bucket_name, Prefix=f"{FOLDER}/", **place)
        return page

    def _of(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": name}


class _Reader(io.RawIOBase):
    """An object as it comes over the network; whoever reads it in another order makes it come to a temporary file."""

    def __init__(self, storage: S3ImageStorage, name: str) -> None:
        self._storage, self._name = storage, name
        self._position = self._at = 0
        self._spool: BinaryIO | None = None
        self._body: Any = None
        with _named(), _at_most(READ_SECONDS):
            answer = storage._client.get_object(**storage._of(name))
        self._body = answer["Body"]
        self._deadline = Deadline.after(STREAM_SECONDS)
        self.size: int = answer["ContentLength"]
        self.modified: dt.datetime = answer["LastModified"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._position >= self.size:
            return 0
        if self._spool is None and self._position != self._at:
            self._spool = self._fetched()
        if self._spool is not None:
            self._spool.seek(self._position)
            data = self._spool.read(len(view))
        else:
            data = self._stream(self._body, len(view))
            self._at += len(data)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            for source in (self._body, self._spool):
                if source is not None:
                    source.close()
        super().close()

    def _stream(self, body: Any, size: int) -> bytes:
        with _named(), held_to(self._deadline, stall=STALL_SECONDS):
            data: bytes = body.read(size)
        if not data:
            raise OSError(errno.EIO, "the object ended early")
        return data

    def _fetched(self) -> BinaryIO:
        spool = cast(BinaryIO, tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR))  # noqa: SIM115
        try:
            with _Reader(self._storage, self._name) as again:
                while chunk := again.read(BUFFER):
                    spool.write(chunk)
        except BaseException:
            spool.close()
            raise
        return spool


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    with deadline_of(min(seconds, current_deadline(seconds).remaining())):
        yield


@contextmanager
def _named() -> Iterator[None]:
    """Turns what boto3 raises into the OSError that it stands for. No message has a key, a name or an address."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error) from error
    except Redirected as error:
        raise WrongAddress(f"{error}: {_ELSEWHERE_ADVICE}") from error
    except BotoCoreError as error:
        raise OSError(errno.EIO, str(error) if isinstance(error, NotAsked) else type(error).__name__) from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise OSError(errno.EIO, type(error).__name__) from error


def _meaning(error: ClientError) -> OSError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code} ({status})"
    if code == "NoSuchBucket":
        return BucketMissing(f"{said}: the store has no such bucket; make it, or correct S3_BUCKET")
    if code in _NOT_THERE:
        return FileNotFoundError(errno.ENOENT, said)
    if code in _FULL or status == 507:
        return OSError(errno.ENOSPC, said)
    if code in _ELSEWHERE:
        return WrongAddress(f"{said}: {_ELSEWHERE_ADVICE}")
    if code in _REFUSED or status in {401, 403}:
        advice = "correct S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, the rights of this key or the clock"
        return CredentialsRefused(f"{said}: the store refuses our requests; {advice}")
    return OSError(errno.EIO, said)
