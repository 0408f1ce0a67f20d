"""`files`: the real nginx on the real configuration."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.nginx import find_nginx

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = PROJECT / "config" / "files" / "nginx.conf.template"
START_SECONDS = 15
ID = "0b1c2d3e-0000-4000-8000-000000000001"
CONTENT = bytes(range(256)) * 40
MOMENT = 1_700_000_000
UNPRIVILEGED = 65534

TYPES = {
    f"{ID}.png": "image/png",
    f"{ID}.jpg": "image/jpeg",
    f"{ID}.webp": "image/webp",
    f"{ID}.gif": "image/gif",
    f"{ID}.avatar.webp": "image/webp",
    f"{ID}.card.webp": "image/webp",
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Files:
    """A running nginx and the store that it serves."""

    root: Path
    port: int
    management_port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, path: str, method: str = "GET", *, port: int | None = None, **headers: str) -> Answer:
        """The answer to a request whose path is sent exactly as it is given."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def raw(self, request: bytes) -> bytes:
        """What comes back for bytes that no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def rendered(**values: str) -> str:
    """The template with every name in it replaced; a name that is not given is an error."""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], TEMPLATE.read_text())


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    """nginx without any privilege: as an unprivileged user where the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="seawall-files-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        root, temp = scratch / "store with spaces", scratch / "temp"
        (root / "uploads").mkdir(parents=True)
        temp.mkdir()
        identity = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}
        if identity:
            os.chown(temp, UNPRIVILEGED, UNPRIVILEGED)
        for name in TYPES:
            store(root, name)
        port, management_port = free_ports(2)
        configuration = scratch / "nginx.conf"
        configuration.write_text(
            rendered(
                FILES_LISTEN_ADDRESS="127.0.0.1",
                FILES_PORT=str(port),
                FILES_MANAGEMENT_PORT=str(management_port),
                FILES_ROOT=str(root),
                FILES_TEMP=str(temp),
                FILES_PID=str(temp / "nginx.pid"),
                FILES_WORKERS="2",
            )
        )
        log = scratch / "log"
        program = shutil.copy2(find_nginx(), scratch / "nginx")  # where the unprivileged user can run it
        command = [str(program), "-e", "stderr", "-p", str(temp), "-c", str(configuration), "-g", "daemon off;"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, **identity)  # type: ignore[call-overload]
        assert checked.returncode == 0, checked.stderr
        assert not re.search(r"\[(warn|error|alert|emerg)\]", checked.stderr), checked.stderr
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stderr=sink, stdout=sink, **identity)  # type: ignore[call-overload]
        running = Files(root, port, management_port, process, log)
        try:
            wait_until_ready(running)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        assert not re.search(r"\[(warn|alert|emerg)\]", log.read_text()), log.read_text()


def store(root: Path, name: str, content: bytes = CONTENT) -> Path:
    path = root / "uploads" / name
    path.write_bytes(content)
    path.chmod(0o644)
    os.utime(path, (MOMENT, MOMENT))
    return path


def wait_until_ready(files: Files) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if files.ask("/readyz", port=files.management_port).status == 200:
                return
        except OSError:
            pass
        if files.process.poll() is not None or time.monotonic() > until:
            pytest.fail(files.log.read_text())
        time.sleep(0.02)


@pytest.mark.parametrize("name", TYPES)
def test_an_image_is_served_with_its_type_and_every_header(files: Files, name: str) -> None:
    answer = files.ask(f"/uploads/{name}")

    assert (answer.status, answer.body) == (200, CONTENT)
    del answer.headers["Date"]
    assert answer.headers == {
        "Server": "nginx",
        "Connection": "keep-alive",
        "Content-Type": TYPES[name],
        "Content-Length": "10240",
        "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "ETag": '"6553f100-2800"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def test_a_head_request_has_the_headers_and_no_body(files: Files) -> None:
    answer = files.ask(f"/uploads/{ID}.png", "HEAD")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "10240")


def test_what_a_browser_has_already_is_not_sent_again(files: Files) -> None:
    for headers in ({"If_None_Match": '"6553f100-2800"'}, {"If_Modified_Since": "Tue, 14 Nov 2023 22:13:20 GMT"}):
        answer = files.ask(f"/uploads/{ID}.png", **headers)

        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_ranges_are_served(files: Files) -> None:
    answer = files.ask(f"/uploads/{ID}.png", Range="bytes=100-199")
    assert (answer.status, answer.body) == (206, CONTENT[100:200])
    assert answer.headers["Content-Range"] == "bytes 100-199/10240"

    beyond = files.ask(f"/uploads/{ID}.png", Range="bytes=20000-")
    assert (beyond.status, beyond.headers["Cache-Control"]) == (416, "no-store")


def test_images_are_not_compressed_again(files: Files) -> None:
    answer = files.ask(f"/uploads/{ID}.png", Accept_Encoding="gzip, br")

    assert "Content-Encoding" not in answer.headers
    assert answer.body == CONTENT


def test_a_question_mark_changes_nothing(files: Files) -> None:
    assert files.ask(f"/uploads/{ID}.png?v=1").body == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/uploads",
        "/uploads/",
        "/uploads/unknown.png",
        f"/uploads/{ID[:-1]}2.png",
        f"/uploads/{ID}",
        f"/uploads/{ID}.svg",
        f"/uploads/{ID}.html",
        f"/uploads/{ID}.PNG",
        f"/uploads/{ID.upper()}.png",
        f"/uploads/{ID}.png/",
        f"/uploads/{ID}.png.html",
        f"/uploads/{ID}.png%00",
        f"/uploads/{ID}.png%00.html",
        f"/uploads/{ID}.png%0a",
        f"/uploads/x/../{ID}.png",
        f"/uploads/./{ID}.png",
        f"/uploads//{ID}.png",
        f"//uploads/{ID}.png",
        f"/uploads/%2e%2e/uploads/{ID}.png",
        f"/uploads%2f{ID}.png",
        f"/uploads/%30b1c2d3e{ID[8:]}.png",
        f"/%75ploads/{ID}.png",
        "/uploads/../secret.png",
        "/uploads/%2e%2e/secret.png",
        "/uploads/..%2fsecret.png",
        "/../../../../etc/passwd",
        "/uploads/..;/secret.png",
        "/uploads/\\..\\secret.png",
        "/secret.png",
        "/incoming/",
        "/metrics",
        "/livez",
        "/readyz",
        "/nginx.conf",
    ],
)
def test_every_other_path_is_not_there(files: Files, path: str) -> None:
    (files.root / "secret.png").write_bytes(b"not for anybody")

    answer = files.ask(path)

    assert answer.status in ({400, 404} if "%00" in path or path.startswith("/..") else {404})
    assert b"not for anybody" not in answer.body
    assert "max-age" not in answer.headers.get("Cache-Control", "")


def test_a_link_out_of_the_store_is_not_followed(files: Files) -> None:
    (files.root / "secret.png").write_bytes(b"not for anybody")
    link = files.root / "uploads" / f"{ID[:-1]}9.png"
    link.symlink_to(files.root / "secret.png")

    answer = files.ask(f"/uploads/{link.name}")

    assert answer.status in {403, 404}
    assert b"not for anybody" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"])
def test_other_methods_are_refused(files: Files, method: str) -> None:
    answer = files.ask(f"/uploads/{ID}.png", method)

    assert answer.status == 405
    if method != "TRACE":  # nginx itself refuses that one
        assert (answer.headers["Allow"], answer.headers["Cache-Control"]) == ("GET, HEAD", "no-store")


def test_bytes_that_are_no_request_are_refused(files: Files) -> None:
    for request in (
        b"GET /uploads/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /uploads/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        assert re.match(rb"HTTP/1.1 4\d\d ", files.raw(request))


def test_an_image_that_was_asked_for_too_early_is_served_as_soon_as_it_is_there(files: Files) -> None:
    name = f"{ID[:-1]}3.png"
    for _ in range(3):
        assert files.ask(f"/uploads/{name}").status == 404

    store(files.root, name)

    assert files.ask(f"/uploads/{name}").status == 200


def test_a_deleted_image_is_gone_within_a_minute_even_while_it_is_asked_for_all_the_time(files: Files) -> None:
    path = store(files.root, f"{ID[:-1]}4.png")
    for _ in range(20):
        assert files.ask(f"/uploads/{path.name}").status == 200
    path.unlink()
    deleted = time.monotonic()

    while files.ask(f"/uploads/{path.name}").status == 200:
        assert time.monotonic() - deleted < 60
        time.sleep(0.5)

    assert {files.ask(f"/uploads/{path.name}").status for _ in range(20)} <= {200, 404}
    time.sleep(max(0, 21 - (time.monotonic() - deleted)))
    assert {files.ask(f"/uploads/{path.name}").status for _ in range(20)} == {404}


def test_many_at_once_are_all_served_whole(files: Files) -> None:
    big = store(files.root, f"{ID[:-1]}5.jpg", CONTENT * 200)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: files.ask(f"/uploads/{big.name}"), range(200)))

    assert all(answer.status == 200 and answer.body == CONTENT * 200 for answer in answers)


def test_the_management_port_says_that_nginx_lives_and_is_ready(files: Files) -> None:
    for path in ("/livez", "/readyz"):
        answer = files.ask(path, port=files.management_port)

        assert (answer.status, answer.body) == (200, b"ok\n")
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("text/plain", "no-store")
    assert files.ask(f"/uploads/{ID}.png", port=files.management_port).status == 404


def test_it_is_alive_but_not_ready_while_the_store_is_away(files: Files) -> None:
    away = files.root.with_name("away")
    files.root.rename(away)
    try:
        assert files.ask("/livez", port=files.management_port).status == 200
        assert files.ask("/readyz", port=files.management_port).status == 503
    finally:
        away.rename(files.root)
    assert files.ask("/readyz", port=files.management_port).status == 200


def test_every_name_in_the_template_is_explained_at_its_top() -> None:
    template = TEMPLATE.read_text()
    heading = template[: template.index("worker_processes")]

    used = set(re.findall(r"\$\{(\w+)\}", template))

    assert used == set(re.findall(r"^#   (FILES_\w+) ", heading, re.MULTILINE))
