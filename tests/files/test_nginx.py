"""`files`: the real nginx on the real configuration, with both sources: a folder, and a cache in front of images."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.nginx import FOLDER, SOURCES
from tests.files.origins import images_role
from tests.files.serving import (
    CONTENT,
    ID,
    PROGRAMS,
    TYPES,
    Files,
    running_nginx,
    scratch_folder,
    store,
    until,
)


@pytest.fixture(scope="module", params=SOURCES)
def files(request: pytest.FixtureRequest) -> Iterator[Files]:
    """nginx over a store with images, by the way that the parameter says."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        root = folder / "store with spaces"
        for name in TYPES:
            store(root, name)
        origin = stack.enter_context(images_role(root)) if request.param == "origin" else "127.0.0.1:1"
        yield stack.enter_context(running_nginx(folder, request.param, origin=origin))


@pytest.fixture(scope="module")
def volume() -> Iterator[Files]:
    """nginx over a folder."""
    with scratch_folder() as folder:
        store(folder / "store with spaces", f"{ID}.png")
        with running_nginx(folder, "volume") as files:
            yield files


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


def test_a_browser_can_try_whether_images_load(files: Files) -> None:
    answer = files.ask("/uploads/probe.gif?1234")

    assert (answer.status, answer.body[:6], len(answer.body)) == (200, b"GIF89a", 43)
    del answer.headers["Date"], answer.headers["Last-Modified"]
    assert answer.headers == {
        "Server": "nginx",
        "Connection": "keep-alive",
        "Content-Type": "image/gif",
        "Content-Length": "43",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    assert files.ask("/uploads/probe.gif", "HEAD").status == 200
    assert files.ask("/uploads/probe.gif", "POST").status == 405


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
        f"/uploads/{ID}.avatar-0.webp",
        f"/uploads/{ID}.avatar-.webp",
        f"/uploads/{ID}.avatar-2.png",
        f"/uploads/{ID}.card-2",
        f"/uploads/{ID}.png;x",
        f"/uploads/{ID}.png%3fx",
        f"/uploads/{ID}.png%20",
        f"/uploads/{ID}.png%ff",
        f"/uploads/{ID}.%c3%bfng",
        f"/uploads/{ID}.p%6eg",
        f"/uploads/{ID}%2epng",
        f"/UPLOADS/{ID}.png",
        f"/uploads/{ID}.png" + "x" * 7000,
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


def test_an_image_that_was_asked_for_too_early_is_served_as_soon_as_it_is_there(volume: Files) -> None:
    name = f"{ID[:-1]}3.png"
    for _ in range(3):
        assert volume.ask(f"/uploads/{name}").status == 404

    store(volume.root, name)

    assert volume.ask(f"/uploads/{name}").status == 200


def test_an_image_that_was_asked_for_too_early_is_served_soon_by_the_cache_too(files: Files) -> None:
    name = f"{ID[:-1]}6.png"
    for _ in range(3):
        assert files.ask(f"/uploads/{name}").status == 404

    store(files.root, name)

    until(lambda: files.ask(f"/uploads/{name}").status == 200, "the image is there", 15)


def test_a_deleted_image_is_gone_within_a_minute_even_while_it_is_asked_for_all_the_time(files: Files) -> None:
    path = store(files.root, f"{ID[:-1]}4.png")
    for _ in range(20):
        assert files.ask(f"/uploads/{path.name}").status == 200
    path.unlink()
    deleted = time.monotonic()

    while files.ask(f"/uploads/{path.name}").status == 200:
        assert time.monotonic() - deleted < 60
        time.sleep(0.5)

    # Each worker has files open of its own, and one may notice it later than another.
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
        answer = files.manage(path)

        assert (answer.status, answer.body) == (200, b"ok\n")
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("text/plain", "no-store")
    assert files.manage(f"/uploads/{ID}.png").status == 404


def test_it_is_alive_but_not_ready_while_the_store_is_away(volume: Files) -> None:
    away = volume.root.with_name("away")
    volume.root.rename(away)
    try:
        assert (volume.manage("/livez").status, volume.manage("/readyz").status) == (200, 503)
    finally:
        away.rename(volume.root)
    assert volume.manage("/readyz").status == 200


# Plain HTTP, where a proxy in front speaks HTTPS


HOST = "images.example"


@pytest.fixture(scope="module", params=SOURCES)
def behind_https(request: pytest.FixtureRequest) -> Iterator[Files]:
    """nginx behind a proxy that says how it was asked; none of its answers needs an origin that works."""
    with scratch_folder() as folder:
        store(folder / "store with spaces", f"{ID}.png")
        with running_nginx(folder, request.param, https_host=HOST) as files:
            yield files


@pytest.mark.parametrize(
    "path", [f"/uploads/{ID}.png", "/uploads/probe.gif?1234", "/", "/a%20b?x=%0d%0aSet-Cookie:y=1"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_plain_http_leads_to_the_same_path_over_https(behind_https: Files, path: str, method: str) -> None:
    answer = behind_https.ask(path, method, X_Forwarded_Proto="http")

    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}{path}")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", f"{HOST}.evil.example", f"{HOST}:80", "127.0.0.1"])
def test_the_host_that_was_asked_for_never_decides_where_a_redirect_leads(behind_https: Files, host: str) -> None:
    answer = behind_https.ask("/uploads/", Host=host, X_Forwarded_Proto="http")

    assert answer.headers["Location"] == f"https://{HOST}/uploads/"


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "http://evil.example/x"])
def test_the_path_that_was_asked_for_never_decides_which_host_a_redirect_leads_to(
    behind_https: Files, path: str
) -> None:
    answer = behind_https.ask(path, X_Forwarded_Proto="http")

    assert (answer.status, urlsplit(answer.headers["Location"]).netloc) == (308, HOST)


@pytest.mark.parametrize(
    "proto", ["https, http", "http, https", "https,https", "https ", "HTTPS", "wss", "httpsx", "|"]
)
def test_a_scheme_that_is_not_exactly_https_counts_as_plain(behind_https: Files, proto: str) -> None:
    expected = 200 if proto == "https " else 308  # white space at the ends is no part of a value

    assert behind_https.ask("/uploads/probe.gif", X_Forwarded_Proto=proto).status == expected


def test_a_header_that_comes_twice_counts_as_plain(behind_https: Files) -> None:
    def status(*lines: str) -> bytes:
        request = "\r\n".join(("GET /uploads/probe.gif HTTP/1.1", f"Host: {HOST}", "Connection: close", *lines, "", ""))
        return behind_https.raw(request.encode()).split()[1]

    https, http = "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"
    assert [status(https), status(https, http), status(http, https)] == [b"200", b"308", b"308"]


def test_https_is_served_and_so_is_who_comes_past_the_proxy(behind_https: Files) -> None:
    for headers in ({"X_Forwarded_Proto": "https"}, {}):
        assert behind_https.ask("/uploads/probe.gif", **headers).status == 200
        assert behind_https.ask("/uploads/probe.gif", "POST", **headers).status == 405


def test_a_method_that_nobody_may_use_is_not_sent_on(behind_https: Files) -> None:
    assert behind_https.ask("/uploads/probe.gif", "POST", X_Forwarded_Proto="http").status == 405


def test_probes_are_answered_whatever_they_say_of_the_scheme(behind_https: Files) -> None:
    assert behind_https.ask("/livez", port=behind_https.management_port, X_Forwarded_Proto="http").status == 200


def test_without_a_host_for_https_plain_http_is_served(volume: Files) -> None:
    for proto in ("http", "https", "https, http"):
        assert volume.ask(f"/uploads/{ID}.png", X_Forwarded_Proto=proto).status == 200


@pytest.mark.parametrize("program", PROGRAMS)
def test_old_and_new_nginx_send_plain_http_on(program: Callable[[], Path]) -> None:
    with scratch_folder() as folder, running_nginx(folder, "volume", program=program(), https_host=HOST) as files:
        for proto, status in (("http", 308), ("https", 200), ("https, http", 308)):
            assert files.ask("/uploads/probe.gif", X_Forwarded_Proto=proto).status == status


# The configuration itself


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_old_and_new_nginx_take_the_configuration_without_a_warning(program: Callable[[], Path], source: str) -> None:
    with scratch_folder() as folder, running_nginx(folder, source, program=program()) as files:
        assert files.manage("/readyz").status == 200


def test_every_name_in_the_templates_is_explained_at_the_top() -> None:
    main = (FOLDER / "nginx.conf.template").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", "".join(path.read_text() for path in FOLDER.glob("*.template"))))

    assert used == set(re.findall(r"^#   (FILES_\w+) ", main[: main.index("worker_processes")], re.MULTILINE))
