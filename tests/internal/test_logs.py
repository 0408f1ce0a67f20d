"""Logs are one JSON object a line, carry the request, and never a secret."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time

SCRIPT = """
import logging, structlog
from internal import context, logs
logs.configure({"style": "json", "level": "INFO"})
log = structlog.get_logger("test")
context.begin_request("request-0001")
context.bind_account("account-1")
log.info("something_happened", count=3, password="hunter2",
    payload={"password": "hunter2", "list": [{"token": "hunter2"}]}, refresh_token="abc",
    detail="write to ada@example.org")
logging.getLogger("library").warning("from %s with Bearer abcdefgh12345678", "a library")
try:
    raise ValueError("Key (email)=(ada@example.org) already exists; postgres://auth:pa55@db:5432/auth")
except ValueError:
    log.exception("it_failed")
context.end_request()
log.info("afterwards", header="eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", several=["x@y.example"])
"""


def test_lines_are_json_with_the_request_and_without_anything_secret() -> None:
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in finished.stderr.splitlines()]

    assert [line["event"] for line in lines] == [
        "something_happened",
        "from a library with Bearer [token]",
        "it_failed",
        "afterwards",
    ]
    assert lines[0]["count"] == 3
    for line in lines[:3]:
        assert (line["request_id"], line["account_id"]) == ("request-0001", "account-1")
    assert "request_id" not in lines[3]
    assert "ValueError" in lines[2]["exception"]
    for secret in ("hunter2", "abc", "ada@example.org", "abcdefgh12345678", "pa55", "eyJ", "x@y.example"):
        assert secret not in finished.stderr, secret


UNUSUAL = """
import logging, structlog
from internal import logs
logs.configure({"style": "json", "level": "INFO"})
class Broken:
    def __str__(self): raise RuntimeError("no")
class Person:
    def __str__(self): return "Ada <ada@example.org> postgres://u:pa55@db/x"
log = structlog.get_logger("test")
log.info("objects", who=Person(), several=[Person()], by_key={"ada@example.org": 1}, number=1.5, nothing=None, yes=True)
log.info("broken", thing=Broken(), password="hunter2", note="ada@example.org")
logging.getLogger("library").warning("%s %s", "hunter2")
log.error("DETAIL:  Failing row contains (1, Ada Lovelace, argon2$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA).")
log.info("stored argon2$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
"""


def test_nothing_secret_comes_out_of_objects_keys_rows_and_records_that_cannot_be_written() -> None:
    finished = subprocess.run([sys.executable, "-c", UNUSUAL], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in finished.stderr.splitlines()]

    assert [line["event"] for line in lines] == [
        "objects",
        "log_record_lost",
        "log_record_lost",
        "DETAIL:  Failing row contains [row]",
        "stored [hash]",
    ]
    assert (lines[0]["number"], lines[0]["nothing"], lines[0]["yes"]) == (1.5, None, True)
    assert [line["reason"] for line in lines[1:3]] == ["RuntimeError", "TypeError"]
    for secret in ("hunter2", "ada@example.org", "pa55", "Lovelace", "c2FsdA"):
        assert secret not in finished.stderr, secret


CROWD = """
import logging, threading
from internal import logs
logs.configure({"style": "json", "level": "INFO"})
start = threading.Barrier(8)
def tell(number):
    start.wait()
    for each in range(200):
        logging.getLogger("library").info("%d-%d %s", number, each, "x" * (8000 if each % 20 == 0 else 300))
threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_lines_of_threads_that_write_at_the_same_time_stay_whole_where_the_reader_is_slow() -> None:
    with subprocess.Popen([sys.executable, "-c", CROWD], stderr=subprocess.PIPE) as process:
        assert process.stderr
        written = b""
        while data := os.read(process.stderr.fileno(), select.PIPE_BUF):
            written += data
            time.sleep(0.0005)  # so that the pipe is full, and a line does not fit at once
    lines = written.decode().splitlines()
    said = [json.loads(line)["event"].partition(" ")[0] for line in lines]

    assert process.returncode == 0
    assert sorted(said) == sorted(f"{number}-{each}" for number in range(8) for each in range(200))
    assert max(len(line) for line in lines) < select.PIPE_BUF


LONG = r"""
import logging
from internal import logs
logs.configure({"style": "json", "level": "INFO"})
log = logging.getLogger("library")
def fall(depth):
    if depth:
        fall(depth - 1)
    elif depth == 0:
        raise ValueError("\u00e9\n" * 1500 + "the very reason")
try:
    fall(60)
except ValueError:
    log.exception("fell")
log.info("%s", {"numbers": list(range(2000))})
"""


def test_a_long_traceback_keeps_its_begin_and_its_end() -> None:
    finished = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    fell, numbers = finished.stderr.splitlines()
    trace = json.loads(fell)["exception"]

    assert len(fell) < select.PIPE_BUF
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("the very reason")
    assert " [...] " in trace
    assert len(numbers) < select.PIPE_BUF
    assert json.loads(numbers)["event"].startswith("{'numbers': [0, 1, 2")
