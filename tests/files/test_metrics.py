"""Metrics of files: the real nginx and the real process that counts beside it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.nginx import FOLDER
from tests.files.origins import scripted_origin
from tests.files.serving import (
    CONTENT,
    ID,
    UNPRIVILEGED,
    Files,
    running_nginx,
    running_writer,
    scratch_folder,
    store,
    until,
)

PATH = f"/uploads/{ID}.png"
MISSING = f"/uploads/{ID[:-1]}2.png"


@pytest.fixture
def files() -> Iterator[Files]:
    """nginx over a folder; nothing counts yet."""
    with scratch_folder() as folder:
        store(folder / "store with spaces", f"{ID}.png")
        with running_nginx(folder, "volume") as running:
            yield running


def metrics(files: Files) -> dict[str, float]:
    """What Prometheus would read, by sample."""
    answer = files.manage("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def requests(files: Files) -> dict[str, float]:
    """How many answers were counted, by status."""
    return {
        match[1]: value
        for sample, value in metrics(files).items()
        if (match := re.fullmatch(r"files_requests_total\{status=(\d+)\}", sample)) and value
    }


def counted(files: Files, expected: dict[str, int]) -> None:
    """Wait until exactly these answers are counted."""
    until(lambda: sum(requests(files).values()) >= sum(expected.values()), f"{expected} are counted")
    assert requests(files) == expected


def test_what_was_answered_is_counted_by_status_exactly(files: Files) -> None:
    started = time.monotonic()
    with running_writer(files):
        with ThreadPoolExecutor(8) as pool:
            kinds = [(PATH, "GET", {})] * 500 + [(MISSING, "GET", {})] * 50 + [(PATH, "HEAD", {})] * 20
            kinds += [(PATH, "GET", {"Range": "bytes=0-99"})] * 30 + [(PATH, "GET", {"If_None_Match": "*"})] * 40
            kinds += [(PATH, "POST", {})] * 10 + [(PATH, "GET", {"Range": "bytes=99999-"})] * 5
            seen = Counter(pool.map(lambda kind: files.ask(kind[0], kind[1], **kind[2]).status, kinds))
        assert files.ask("/uploads/probe.gif").status == 200  # no read of an image, and not counted as one
        files.raw(b"nonsense\r\n\r\n")
        counted(files, {str(status): number for status, number in seen.items()} | {"400": 1})

        now = metrics(files)
        assert seen == {200: 520, 404: 50, 206: 30, 304: 40, 405: 10, 416: 5}
        assert now["files_request_duration_seconds_count"] == 656
        assert now["files_request_duration_seconds_bucket{le=+Inf}"] == 656
        assert now["files_connections_opened_total"] == 656
        assert now["files_response_body_bytes_total"] >= 500 * len(CONTENT) + 30 * 100
        assert now["files_metrics_unreadable_lines_total"] == 0
        buckets = [value for sample, value in now.items() if sample.startswith("files_request_duration_seconds_bucket")]
        assert buckets == sorted(buckets)
        mean = now["files_request_duration_seconds_sum"] / 656
        assert mean <= time.monotonic() - started
        assert now["files_request_duration_seconds_bucket{le=0.25}"] > 0


def test_the_first_of_each_status_is_an_increase(files: Files) -> None:
    with running_writer(files):
        until(lambda: "files_requests_total{status=503}" in metrics(files), "the metrics are there")
        assert metrics(files)["files_requests_total{status=503}"] == 0


def test_a_writer_that_is_killed_again_and_again_counts_nothing_twice_and_forgets_nothing(files: Files) -> None:
    asked = 0
    for life in range(6):
        with running_writer(files) as writer:
            for _ in range(200):
                files.ask(PATH)
                asked += 1
            if life % 2:
                until(lambda: requests(files).get("200", 0) > asked - 200, "some are counted")  # noqa: B023
            writer.kill()
            writer.wait()
        files.ask(PATH)
        asked += 1

    with running_writer(files):
        counted(files, {"200": asked})


def test_the_log_takes_up_little_room_however_much_is_counted(files: Files) -> None:
    line = b"200 0.001 10240 - kept\n"
    log = files.metrics / "requests.log"
    with running_writer(files):
        for part in range(1, 5):
            with log.open("ab") as file:  # as several workers of nginx would
                file.write(line * 400_000)
            until(lambda: requests(files).get("200") == part * 400_000, "all is counted")  # noqa: B023
        until(lambda: log.stat().st_blocks * 512 < 200_000, "the room is free again")
        assert log.stat().st_size == 4 * 400_000 * len(line)
        files.ask(PATH)
        counted(files, {"200": 1_600_001})


def test_a_log_that_grew_while_nothing_counted_is_caught_up_with(files: Files) -> None:
    with (files.metrics / "requests.log").open("ab") as file:
        file.write(b"200 0.001 10240 - kept\n" * 1_500_000)

    with running_writer(files):
        counted(files, {"200": 1_500_000})
        assert metrics(files)["files_metrics_unread_bytes"] == 0


def test_lines_that_are_no_lines_are_told_and_change_nothing_else(files: Files) -> None:
    with (files.metrics / "requests.log").open("ab") as file:
        file.write(b"200 0.0\0\0\n\xff\xfe\n\n999 0.1 1 - new\n200 0.001 10 - new extra\n200 0.001 10240 HIT new\n")

    with running_writer(files):
        counted(files, {"200": 1})
        assert metrics(files)["files_metrics_unreadable_lines_total"] == 5


def test_numbers_go_on_when_nginx_starts_again_and_begin_anew_without_their_file(files: Files) -> None:
    with running_writer(files) as writer:
        files.ask(PATH)
        counted(files, {"200": 1})
        files.process.send_signal(signal.SIGQUIT)
        files.process.wait(10)
        with running_nginx(files.folder, "volume") as again:
            again.ask(PATH)
            counted(again, {"200": 2})
            writer.terminate()
            writer.wait()
            (files.metrics / "metrics.prom").unlink()
            assert metrics(again) == {"files_metrics_updated_timestamp_seconds": 0}
            with running_writer(again):
                again.ask(PATH)
                until(lambda: requests(again), "something is counted")


def test_what_nginx_answered_before_it_was_stopped_is_counted(files: Files) -> None:
    with running_writer(files) as writer:
        until((files.metrics / "metrics.prom").exists, "it counts")
        for _ in range(25):
            files.ask(PATH)
        files.process.terminate()
        files.process.wait(10)
        writer.terminate()
        writer.wait()

    assert 'files_requests_total{status="200"} 25\n' in (files.metrics / "metrics.prom").read_text()


def test_connections_are_counted_as_long_as_they_are_open(files: Files) -> None:
    with running_writer(files):
        held = [socket.create_connection(("127.0.0.1", files.port)) for _ in range(7)]
        until(lambda: metrics(files).get("files_open_connections") == 7, "seven are open")
        for each in held:
            each.close()
        until(lambda: metrics(files).get("files_open_connections") == 0, "none is open")
        assert metrics(files)["files_waiting_connections"] == 0


def test_metrics_without_a_writer_say_that_they_are_old(files: Files) -> None:
    assert metrics(files) == {"files_metrics_updated_timestamp_seconds": 0}
    with running_writer(files):
        until(lambda: metrics(files)["files_metrics_updated_timestamp_seconds"] > time.time() - 10, "they are new")


def fill(log: Path) -> None:
    """Append lines until nothing fits any more."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, b"200 0.001 10240 - kept\n" * 20)
    os.close(descriptor)


@contextlib.contextmanager
def metrics_on_a_disk_of(size: str) -> Iterator[tuple[Path, Path]]:
    """A folder for nginx with a stored image, and its folder of metrics, which is a small file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs a file system of its own: run as root")
    with scratch_folder() as folder:
        store(folder / "store with spaces", f"{ID}.png")
        where = folder / "metrics"
        options = f"size={size},uid={UNPRIVILEGED},gid={UNPRIVILEGED}"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], capture_output=True, check=False
        )
        if mounted.returncode:
            said = mounted.stderr.decode().strip()
            pytest.skip(f"no file system can be mounted here ({said}): run as root of a machine that lets it mount")
        try:
            yield folder, where
        finally:
            subprocess.run(["umount", where], check=True)


def test_a_disk_that_the_log_has_filled_stops_no_image_and_is_free_again_when_somebody_counts() -> None:
    with metrics_on_a_disk_of("256k") as (folder, _), running_nginx(folder, "volume", quiet=False) as files:
        fill(files.metrics / "requests.log")
        assert {files.ask(PATH).status for _ in range(50)} == {200}
        with running_writer(files):
            until(lambda: requests(files).get("200", 0) > 10_000, "the log is counted")
            before = requests(files)["200"]

            def goes_on() -> bool:
                files.ask(PATH)
                return requests(files)["200"] > before

            until(goes_on, "nginx writes again, and that is counted")


def test_a_disk_that_something_else_has_filled_ends_no_counting() -> None:
    with (
        metrics_on_a_disk_of("64k") as (folder, where),
        running_nginx(folder, "volume") as files,
        running_writer(files) as writer,
    ):
        counted(files, {})
        files.ask(PATH)
        (where / "something").touch()
        fill(where / "something")
        for _ in range(20):
            assert files.ask(PATH).status == 200
        until(lambda: updated(files) < time.time() - 6, "nothing can be written")
        assert writer.poll() is None
        (where / "something").unlink()
        until(lambda: updated(files) > time.time() - 5, "it goes on")
        assert writer.poll() is None


def updated(files: Files) -> float:
    return metrics(files)["files_metrics_updated_timestamp_seconds"]


@pytest.mark.parametrize(
    "torn", [b"files_connections_opened_total 1\nfiles_requests_total{status=", b"\xff\xfe\x00", b""]
)
def test_metrics_that_a_crash_has_torn_are_begun_anew(files: Files, torn: bytes) -> None:
    (files.metrics / "metrics.prom").write_bytes(torn)
    for _ in range(3):
        files.ask(PATH)

    with running_writer(files) as writer:
        until(lambda: b"updated_timestamp" in files.manage("/metrics").body, "they are whole again")
        counted(files, {"200": 3})
        assert writer.poll() is None


def test_nobody_who_asks_and_nothing_that_is_asked_for_is_in_the_log_or_the_metrics(files: Files) -> None:
    for _ in range(20):
        files.ask(PATH, User_Agent="a-very-special-browser", X_Forwarded_For="203.0.113.9")
    log = files.metrics / "requests.log"
    until(lambda: log.read_bytes().count(b"\n") == 20, "the lines are written")

    with running_writer(files):
        counted(files, {"200": 20})
        text = log.read_text() + files.manage("/metrics").body.decode() + files.log.read_text()

    assert not re.search(r"browser|203\.0\.113|127\.0\.0\.1|0b1c2d3e", text)


def test_metrics_are_on_the_management_port_alone_and_no_label_is_renamed_by_scraping(files: Files) -> None:
    with running_writer(files):
        until(lambda: len(metrics(files)) > 10, "the metrics are there")
        for path in ("/metrics", "/metrics.prom", "/requests.log"):
            assert files.ask(path).status == 404
        for path in ("/metrics.prom", "/requests.log", "/metrics/", "/metrics/requests.log"):
            assert files.manage(path).status == 404
        families = list(text_string_to_metric_families(files.manage("/metrics").body.decode()))

    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels == {"status", "le"}
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    assert all(family.documentation for family in families)


def test_what_the_cache_had_is_counted() -> None:
    with scratch_folder() as folder, scripted_origin() as origin:
        origin.headers["Cache-Control"] = "max-age=1, stale-while-revalidate=60"
        origin.images[PATH] = CONTENT
        with running_nginx(folder, "origin", origin=origin.address) as files, running_writer(files):
            for _ in range(10):
                assert files.ask(PATH).status == 200
            time.sleep(2.1)
            origin.mood = 503
            assert files.ask(PATH).status == 200
            until(lambda: metrics(files).get("files_cache_lookups_total{result=hit}") == 9, "hits are counted")
            until(lambda: metrics(files).get("files_cache_lookups_total{result=stale}") == 1, "the stale one, too")
            assert metrics(files)["files_cache_lookups_total{result=miss}"] == 1


def test_a_writer_that_is_not_told_where_to_work_says_what_to_do(files: Files) -> None:
    import subprocess

    result = subprocess.run(
        [sys.executable, FOLDER / "metrics.py"], env={}, capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr.startswith("Set FILES_METRICS to the folder and FILES_PORT to the port")
