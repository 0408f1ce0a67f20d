"""Many people who upload a picture at the same moment, and what that costs the role."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from internal.context import UPLOAD_DEADLINE
from internal.transport import DEADLINE_HEADER
from ops.procfs import family
from tests.images.conftest import BODY_TYPE, Person, access_token
from tests.images.roles import Role
from tests.watching import Watch, memory_of

MOST_MEMORY = 700e6 / 1024**2  # MiB, of all processes of the role together
PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What one of them got, and after how many seconds."""

    status: int
    retry_after: str
    body: Any
    seconds: float


@dataclass(frozen=True)
class Upload:
    """What came of an upload by many: the answers, and memory in MiB."""

    answers: list[Answer]
    before: float
    peak: float

    def __str__(self) -> str:
        counts = Counter((answer.status, str(answer.body.get("code", "stored"))) for answer in self.answers)
        said = ", ".join(f"{count} x {status} {code}" for (status, code), count in sorted(counts.items()))
        slowest = max(answer.seconds for answer in self.answers)
        return f"PSS {self.before:.0f} -> {self.peak:.0f} MiB, slowest {slowest:.1f} s, {said}"


def upload_all(role: Role, data: bytes, count: int) -> Upload:
    """Uploads the picture for that many people at once."""
    answers: list[Answer] = []
    start = threading.Barrier(count)

    def send() -> None:
        connection = role.connection(PATIENCE)
        connection.connect()
        headers = {
            "Authorization": f"Bearer {access_token(Person().id)}",
            "Content-Type": BODY_TYPE,
            DEADLINE_HEADER: str(int(UPLOAD_DEADLINE * 1000)),
        }
        start.wait()
        began = time.monotonic()
        connection.request("POST", "/internal/v1/images", body=data, headers=headers)
        response = connection.getresponse()
        body = json.loads(response.read())
        seconds = time.monotonic() - began
        answers.append(Answer(response.status, response.headers.get("Retry-After", ""), body, seconds))
        connection.close()

    processes = family(role.pid)
    before = memory_of(processes)
    threads = [threading.Thread(target=send) for _ in range(count)]
    with Watch(lambda: memory_of(processes), every=0.02) as memory:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Upload(answers, before, max(memory.seen))


def assert_answered(upload: Upload, count: int) -> None:
    """Everybody got an answer, and those who were turned away know when to come again."""
    assert len(upload.answers) == count
    for answer in upload.answers:
        if answer.status != 201:
            assert (answer.status, answer.body["code"]) in {(503, "busy"), (503, "deadline_exceeded")}, answer
            assert 1 <= int(answer.retry_after) <= 60
