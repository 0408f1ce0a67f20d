"""A role that is told to end keeps its database until its last answer is given, and then closes it as one does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from internal import signing
from tests.internal.serving import gateway
from tests.running import environment_of, until

TERMINATE = b"X\x00\x00\x00\x04"  # the message with which a client of PostgreSQL takes its leave


class Wire:
    """Passes connections on to a PostgreSQL; tells what the client of each has said last, and how many have ended."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.last_words: list[bytes] = []
        self.ended = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.last_words.append(b"")
                threading.Thread(target=self._pass_on, args=(client, len(self.last_words) - 1), daemon=True).start()

    def _pass_on(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            others = {client: server, server: client}
            while True:
                for source in select.select(list(others), [], [])[0]:
                    if not (data := source.recv(65536)):
                        self.ended += 1
                        return
                    if source is client:
                        self.last_words[number] = (self.last_words[number] + data)[-len(TERMINATE) :]
                    others[source].sendall(data)


@contextlib.contextmanager
def wire_to(url: str) -> Iterator[tuple[Wire, str]]:
    """A wire to the server of a database, and the address of the database by this way."""
    place = urlsplit(url)
    wire = Wire((place.hostname or "", place.port or 5432))
    try:
        credentials, _, _ = place.netloc.rpartition("@")
        yield wire, place._replace(netloc=f"{credentials}@127.0.0.1:{wire.port}").geturl()
    finally:
        wire.close()


def test_the_pool_is_closed_cleanly_after_the_last_answer(tmp_path: Path) -> None:
    started_with = environment_of("auth")
    own = {"BIND", "MANAGEMENT_BIND", "PROMETHEUS_MULTIPROC_DIR", "WORKERS", "THREADS", "SHUTDOWN_DELAY"}
    path = "/internal/v1/sessions"
    content = {"email": "nobody@example.org", "password": "walnut tractor velvet", "device": "", "address": ""}
    body = json.dumps(content).encode().ljust(64 * 1024)
    headers = signing.sign(
        settings.SERVICE_KEYS, method="POST", path=path, body_digest=hashlib.sha256(body).hexdigest()
    )
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers | {"Content-Length": str(len(body))}).items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    with wire_to(started_with["DATABASE_URL"]) as (wire, address):
        variables = {name: value for name, value in started_with.items() if name not in own}
        variables |= {"DJANGO_SETTINGS_MODULE": "config.settings.auth", "DATABASE_URL": address}
        with gateway(tmp_path / "role", **variables) as served, served.client() as client:
            assert served.get("/internal/v1/jwks").status == 200
            client.send(head + body[:-20])
            served.process.send_signal(signal.SIGTERM)
            until(served.takes_nobody, "the port is closed")
            client.send(body[-20:])
            answer = client.reply()
            served.end()

        assert (answer.status, answer.json["code"]) == (401, "invalid_credentials")
        until(lambda: wire.ended == len(wire.last_words), "every connection to the database has ended")
        assert wire.last_words == [TERMINATE] * len(wire.last_words)
