"""The cache in front of the origin: what reaches the origin, for how long an answer is good, and what failures do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.files.origins import Origin, images_role, scripted_origin
from tests.files.serving import CONTENT, PROGRAMS, Files, running_nginx, scratch_folder, store, until

WINDOW = 3.2
"""Seconds after which an answer with SHORT is no longer served before the origin was asked, rounding included."""


@dataclass
class Cached:
    """An nginx in front of an origin."""

    files: Files
    origin: Origin

    def new_image(self, content: bytes = CONTENT) -> str:
        """The path of an image that the origin has."""
        path = f"/uploads/{uuid4()}.png"
        self.origin.images[path] = content
        return path

    def status(self, path: str) -> int:
        return self.files.ask(path).status

    def pass_the_window(self, path: str) -> None:
        """Have the image cached, and wait until the origin has to be asked for it first."""
        assert self.status(path) == 200
        time.sleep(WINDOW)


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    return Path(request.param())


@pytest.fixture
def cached(program: Path) -> Iterator[Cached]:
    with (
        scripted_origin() as origin,
        scratch_folder() as folder,
        running_nginx(folder, "origin", origin=origin.address, program=program, change=_sooner) as files,
    ):
        yield Cached(files, origin)
        origin.mood = "well"


def _sooner(configuration: str) -> str:
    """The same configuration with shorter patience."""
    return configuration.replace("proxy_read_timeout 5s", "proxy_read_timeout 1s")


# What reaches the origin


def test_a_hot_image_reaches_the_origin_once(cached: Cached) -> None:
    cached.origin.headers["Cache-Control"] = "max-age=600"
    path = cached.new_image()

    answers = [cached.files.ask(path) for _ in range(50)]

    assert {(answer.status, answer.body) for answer in answers} == {(200, CONTENT)}
    assert cached.origin.count(path) == 1


def test_many_who_ask_for_a_new_image_at_once_reach_the_origin_once(cached: Cached) -> None:
    path = cached.new_image()
    cached.origin.mood, cached.origin.seconds = "slow", 0.3

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: cached.files.ask(path), range(20)))

    assert {(answer.status, answer.body) for answer in answers} == {(200, CONTENT)}
    assert cached.origin.count(path) == 1


@pytest.mark.parametrize(
    ("method", "headers", "status", "body"),
    [
        ("HEAD", {}, 200, b""),
        ("GET", {"Range": "bytes=100-199"}, 206, CONTENT[100:200]),
        ("GET", {"Range": "bytes=99999-"}, 416, None),
        ("GET", {"If_None_Match": '"2800-00010203"'}, 304, b""),
        ("GET", {"If_None_Match": '"another"'}, 200, CONTENT),
        ("GET", {"If_Modified_Since": "Tue, 14 Nov 2033 22:13:20 GMT"}, 200, CONTENT),
        ("GET", {"If_Match": '"another"'}, 412, None),
        ("GET", {"Cache_Control": "no-cache", "Pragma": "no-cache"}, 200, CONTENT),
        ("GET", {"Cookie": "a=b", "Authorization": "Bearer abc", "X_Forwarded_For": "1.2.3.4"}, 200, CONTENT),
        (
            "GET",
            {"Accept_Encoding": "gzip", "Accept": "text/html", "Upgrade": "h2c", "Expect": "100-continue"},
            200,
            CONTENT,
        ),
        ("GET", {"Host": "elsewhere.example", "X_Request_ID": "chosen-by-the-visitor"}, 200, CONTENT),
    ],
)
def test_nothing_that_a_visitor_adds_reaches_the_origin_or_changes_what_is_cached(
    cached: Cached, method: str, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    path = cached.new_image()

    answer = cached.files.ask(path, method, **headers)

    assert answer.status == status
    assert body is None or answer.body == body
    whole = cached.files.ask(path)
    assert (whole.status, whole.body) == (200, CONTENT)
    # What is refused for a condition or a range is not kept: the next one asks again.
    assert [(asked.method, asked.path) for asked in cached.origin.asked] == [("GET", path)] * (
        1 + (status in {412, 416})
    )
    sent = cached.origin.asked[0].headers
    assert re.fullmatch("[0-9a-f]{32}", sent.pop("X-Request-ID"))
    assert sent == {"Host": cached.origin.address}


def test_the_body_of_a_request_stays_here(cached: Cached) -> None:
    path = cached.new_image()

    assert cached.files.ask(path, body=b"x" * 100).status == 200
    assert [asked.headers.get("Content-Length") for asked in cached.origin.asked] == [None]


def test_an_address_with_parameters_is_the_same_entry(cached: Cached) -> None:
    path = cached.new_image()

    for tail in ("", "?", "?v=1", "?v=2", "?../../secret", "?%00", "?a=b&c=d#e"):
        assert cached.files.ask(path + tail).body == CONTENT

    assert [asked.path for asked in cached.origin.asked] == [path]


def test_what_else_the_origin_says_is_for_nobody(cached: Cached) -> None:
    cached.origin.headers |= {
        "Set-Cookie": "secret=1",
        "Vary": "Cookie, Accept",
        "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
        "X-Accel-Redirect": "/livez",
        "X-Accel-Expires": "0",
        "X-Request-ID": "of another request",
        "Content-Security-Policy": "default-src *",
        "X-Content-Type-Options": "sniff",
        "Cross-Origin-Resource-Policy": "same-site",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Content-Disposition": 'inline; filename="of a person.png"',
    }
    path = cached.new_image()

    for headers in ({}, {"Cookie": "a=b"}, {"Accept": "text/html"}):
        answer = cached.files.ask(path, **headers)

        del answer.headers["Date"]
        assert answer.headers == {
            "Server": "nginx",
            "Connection": "keep-alive",
            "Content-Type": "image/png",
            "Content-Length": "10240",
            "ETag": '"2800-00010203"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
    assert cached.origin.count(path) == 1


def test_connections_to_the_origin_are_kept(cached: Cached) -> None:
    for _ in range(30):
        assert cached.status(cached.new_image()) == 200

    assert cached.origin.connections <= 2  # one for each worker


# For how long an answer is good


def test_nobody_waits_while_a_hot_image_is_looked_at_again(cached: Cached) -> None:
    cached.origin.headers["Cache-Control"] = "max-age=1, stale-while-revalidate=600, stale-if-error=600"
    path = cached.new_image()
    assert cached.status(path) == 200
    time.sleep(2.1)
    cached.origin.mood = "hangs"

    assert {cached.status(path) for _ in range(20)} == {200}
    until(lambda: cached.origin.count(path) == 2, "the origin was asked behind their backs")


def test_an_image_that_is_still_there_is_not_sent_again(cached: Cached) -> None:
    path = cached.new_image()

    for asked in (2, 3):
        cached.pass_the_window(path)
        answer = cached.files.ask(path)
        assert (answer.status, answer.body) == (200, CONTENT)
        assert cached.origin.count(path) == asked
        assert cached.origin.asked[-1].headers["If-None-Match"] == '"2800-00010203"'
        assert "Range" not in cached.origin.asked[-1].headers


def test_a_deleted_image_is_gone_as_soon_as_it_was_looked_at_behind_somebodys_back(cached: Cached) -> None:
    cached.origin.headers["Cache-Control"] = "max-age=1, stale-while-revalidate=600, stale-if-error=600"
    path = cached.new_image()
    assert cached.status(path) == 200
    del cached.origin.images[path]
    time.sleep(2.1)

    assert cached.status(path) == 200  # this one sets it going
    until(lambda: cached.status(path) == 404, "the image is gone")
    assert {cached.status(path) for _ in range(20)} == {404}
    assert cached.origin.count(path) == 2


def test_a_deleted_image_that_was_asked_for_all_the_time_is_gone_after_the_window(cached: Cached) -> None:
    path = cached.new_image()
    assert cached.status(path) == 200
    del cached.origin.images[path]

    deadline = time.monotonic() + WINDOW
    while time.monotonic() < deadline:
        cached.status(path)

    assert {cached.status(path) for _ in range(20)} == {404}


def test_a_deleted_image_that_nobody_asked_for_is_gone_at_the_first_request(cached: Cached) -> None:
    path = cached.new_image()
    cached.pass_the_window(path)
    del cached.origin.images[path]

    assert cached.status(path) == 404


def test_a_deleted_image_does_not_come_back_when_the_origin_fails_or_nginx_starts_again(cached: Cached) -> None:
    path = cached.new_image()
    cached.pass_the_window(path)
    del cached.origin.images[path]
    assert cached.status(path) == 404
    cached.origin.mood = 503

    deadline = time.monotonic() + 7  # its 404 is good for 5 s
    while time.monotonic() < deadline:
        assert cached.status(path) in {404, 503}
        time.sleep(0.2)
    with restarted(cached.files, cached.origin) as again:
        assert again.ask(path).status in {404, 503}


def test_a_missing_image_is_asked_for_seldom_and_there_soon_after_it_was_stored(cached: Cached) -> None:
    path = f"/uploads/{uuid4()}.png"

    assert {cached.status(path) for _ in range(50)} == {404}
    assert cached.origin.count(path) == 1
    assert cached.files.ask(path).headers["Cache-Control"] == "no-store"
    cached.origin.images[path] = CONTENT
    until(lambda: cached.status(path) == 200, "the image is there", 10)


# What failures do


@pytest.mark.parametrize("mood", [500, 502, 503, 504, "resets", "hangs"])
def test_what_is_cached_is_served_while_the_origin_fails(cached: Cached, mood: str | int) -> None:
    path, other = cached.new_image(), cached.new_image()
    cached.pass_the_window(path)
    cached.origin.mood = mood

    for _ in range(3):
        answer = cached.files.ask(path)
        assert (answer.status, answer.body) == (200, CONTENT)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    missing = cached.files.ask(other)
    assert missing.status in ({mood, 503} if isinstance(mood, int) else {503})
    assert missing.headers["Cache-Control"] == "no-store"

    cached.origin.mood = "well"
    until(lambda: cached.status(other) == 200, "the origin is asked again")


@pytest.mark.parametrize("status", [400, 403, 429, 500, 502, 503, 504])
def test_no_error_is_kept_whatever_the_origin_says(cached: Cached, status: int) -> None:
    path = cached.new_image()
    cached.origin.mood, cached.origin.error_headers = status, {"Cache-Control": "public, max-age=600"}
    assert cached.status(path) == status
    cached.origin.mood = "well"

    until(lambda: cached.status(path) == 200, "the error is forgotten", 8)


def test_half_an_answer_is_not_kept(cached: Cached) -> None:
    path = cached.new_image()
    cached.origin.mood = "cut"
    with pytest.raises(Exception, match=r"IncompleteRead|reset"):
        cached.files.ask(path)
    cached.origin.mood = "well"

    answer = cached.files.ask(path)
    assert (answer.status, answer.body) == (200, CONTENT)


def test_an_origin_that_hangs_costs_a_few_visitors_their_time_and_then_nobody(cached: Cached) -> None:
    paths = [cached.new_image() for _ in range(12)]
    for path in paths:
        assert cached.status(path) == 200
    time.sleep(WINDOW)
    cached.origin.mood = "hangs"
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(cached.status, paths)) == {200}
    asked = len(cached.origin.asked)

    assert {cached.status(path) for path in paths for _ in range(5)} == {200}

    assert len(cached.origin.asked) - asked <= 2  # now and then one is tried


def test_the_cache_outlives_nginx_and_the_origin(cached: Cached) -> None:
    path = cached.new_image()
    cached.pass_the_window(path)
    cached.origin.mood = "resets"

    with restarted(cached.files, cached.origin) as again:
        answer = again.ask(path)
        assert (answer.status, answer.body) == (200, CONTENT)


def test_it_is_ready_without_the_origin_but_not_without_its_cache(cached: Cached) -> None:
    cached.origin.mood = "hangs"
    assert (cached.files.manage("/livez").status, cached.files.manage("/readyz").status) == (200, 200)
    away = cached.files.cache.with_name("away")
    cached.files.cache.rename(away)
    try:
        assert (cached.files.manage("/livez").status, cached.files.manage("/readyz").status) == (200, 503)
    finally:
        away.rename(cached.files.cache)


def test_an_answer_that_failed_is_told_in_the_log_without_saying_who_asked_for_what(cached: Cached) -> None:
    path = cached.new_image()
    cached.origin.mood = 503
    assert cached.status(path) == 503
    until(lambda: "read_failed" in cached.files.log.read_text(), "the failure is told")

    line = json.loads(cached.files.log.read_text().splitlines()[-1])
    assert (line["event"], line["status"], line["cache"]) == ("read_failed", 503, "MISS")
    assert line["request_id"] == cached.origin.asked[-1].headers["X-Request-ID"]
    assert path.split("/")[-1][:36] not in cached.files.log.read_text()
    assert '127.0.0.1"' not in json.dumps(line)


def test_the_images_role_lets_the_cache_forget_what_was_deleted() -> None:
    with scratch_folder() as folder:
        image = store(folder / "store with spaces", f"{uuid4()}.png")
        path = f"/uploads/{image.name}"
        with ExitStack() as stack:
            with images_role(folder / "store with spaces") as origin:
                files = stack.enter_context(running_nginx(folder, "origin", origin=origin))
                assert files.ask(path).status == 200
                image.unlink()
                assert files.ask(path).status == 200  # from the cache
                until(lambda: files.ask(path).status == 404, "the image is gone", 60)
            # The role is away now.
            assert {files.ask(path).status for _ in range(10)} <= {404, 503}
            time.sleep(6)
            assert {files.ask(path).status for _ in range(10)} <= {404, 503}


def restarted(files: Files, origin: Origin) -> AbstractContextManager[Files]:
    files.process.terminate()
    files.process.wait(10)
    return running_nginx(files.folder, "origin", origin=origin.address, change=_sooner)
