"""`make bench-signin`: one run, side by side, on a system of its own (`manage.py up` on free ports).

- CPU of a sign-in: user and system time of auth's workers, over sign-ins of as many people at a time as auth has
  workers. Beside it the CPU that the same workers counted for the Argon2 hashes of the same sign-ins (a hash costs less
  in a loop, where the memory caches stay warm). Their ratio is what everything else in a sign-in adds: the database,
  tokens, audit, HTTP. PostgreSQL's own CPU is not in it.
- Access tokens that one core verifies in a second.
- Memory of auth before, in and after a flood of 200 sign-ins at once, and what the people got.

Writes benchmarks/results/signin.json (git-ignored) and prints a table. Exit status 0 whatever the figures are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from internal import signing
from internal.keys import NamedKey
from ops.procfs import family
from tests.flood.crowd import SignIn, address, sign_in_all
from tests.support import System, running_system
from tests.watching import Watch, memory_of

PROJECT = Path(__file__).resolve().parents[2]
RESULT = PROJECT / "benchmarks" / "results" / "signin.json"
GOAL = 1.15
ROUNDS, SIGN_INS = 6, 80  # sign-ins of a round
AT_ONCE = 2
TOKENS = 3000
CROWD = 200
PASSWORD = "lantern-orchid-mosaic-41"  # noqa: S105 - of accounts that live for one run
TICK = 1000 / os.sysconf("SC_CLK_TCK")  # ms


class Auth:
    """The auth role of a running system."""

    def __init__(self, system: System) -> None:
        self.environment = _environment(system, "auth")
        self._url = f"http://127.0.0.1:{system.port_base + 1}"
        self._management_url = f"http://127.0.0.1:{system.port_base + 1001}"
        self._pool = urllib3.PoolManager(retries=False, maxsize=AT_ONCE)
        name, _, secret = self.environment["SERVICE_KEYS"].split(",")[0].partition(":")
        self._keys = (NamedKey(name, base64.b64decode(secret)),)
        status = _manage(system, "status", "--json")
        [self.master] = [role["pid"] for role in json.loads(status)["roles"] if role["role"] == "auth"]

    def call(self, path: str, payload: dict[str, Any], *, status: int) -> dict[str, Any]:
        """One signed call; raises RuntimeError for another status."""
        body, target = json.dumps(payload).encode(), f"/internal/v1/{path}"
        headers = signing.sign(self._keys, method="POST", path=target, body_digest=hashlib.sha256(body).hexdigest())
        response = self._pool.request(
            "POST", self._url + target, body=body, headers=headers | {"Content-Type": "application/json"}
        )
        if response.status != status:
            raise RuntimeError(f"{path} answered {response.status}: {response.data[:200]!r}")
        answer: dict[str, Any] = json.loads(response.data)
        return answer

    def register(self) -> str:
        """A new account; its email address."""
        email = f"{secrets.token_hex(10)}@example.org"
        self.call("accounts", {"name": "Benchmark", "email": email, "password": PASSWORD}, status=201)
        return email

    def sign_in(self, email: str, source: str) -> str:
        """A sign-in; the access token."""
        payload = {"email": email, "password": PASSWORD, "device": "Benchmark", "address": source}
        return str(self.call("sessions", payload, status=200)["access_token"])

    def cpu(self) -> float:
        """User and system time so far in ms, of the processes that are not the management port's."""
        ticks = 0
        for process in self.workers():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks * TICK

    def hashing(self) -> float:
        """CPU time of password hashes so far in ms, as the role counts it."""
        exposed = self._pool.request("GET", f"{self._management_url}/metrics").data.decode()
        for found in text_string_to_metric_families(exposed):
            for sample in found.samples:
                if sample.name == "auth_password_hashing_cpu_seconds_total":
                    return float(sample.value) * 1000
        raise RuntimeError("auth does not say how much CPU its hashes take")

    def workers(self) -> list[int]:
        """The children of gunicorn's master but the first: that is the management port's (internal.management)."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        return [int(child) for child in children][1:]


def _environment(system: System, role: str) -> dict[str, str]:
    values: dict[str, str] = json.loads((system.state / "env" / f"{role}.json").read_text())
    return values


def _manage(system: System, *words: str) -> str:
    environment = os.environ | {"SEAWALL_STATE": str(system.state)}
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=PROJECT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def _probe(system: System, role: str, *words: str) -> dict[str, float]:
    environment = os.environ | _environment(system, role) | {"DJANGO_SETTINGS_MODULE": f"config.settings.{role}"}
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.signin.probe", *words],
        cwd=PROJECT,
        env=environment | {"LOG_LEVEL": "WARNING"},
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(finished.stdout)
    return measured


def measure_sign_ins(system: System, auth: Auth) -> dict[str, Any]:
    """Sign-ins in rounds, and the part of their hashes."""
    people = [auth.register() for _ in range(4)]
    for number in range(20):
        auth.sign_in(people[number % 4], f"10.9.0.{number + 1}")
    rounds = []
    for round_number in range(ROUNDS):
        cpu, hashing = auth.cpu(), auth.hashing()
        with ThreadPoolExecutor(AT_ONCE) as clients:
            sources = [f"10.9.{round_number + 1}.{number + 1}" for number in range(SIGN_INS)]
            list(clients.map(auth.sign_in, people * (SIGN_INS // 4), sources))
        spent, hashed = auth.cpu() - cpu, auth.hashing() - hashing
        rounds.append({"sign_in_ms": spent / SIGN_INS, "hash_ms": hashed / SIGN_INS})
    sign_in = sum(one["sign_in_ms"] for one in rounds) / ROUNDS
    hashing = sum(one["hash_ms"] for one in rounds) / ROUNDS
    return {
        "sign_in_cpu_ms": round(sign_in, 2),
        "hash_cpu_ms": round(hashing, 2),
        "ratio": round(sign_in / hashing, 3),
        "ratio_of_each_round": [round(one["sign_in_ms"] / one["hash_ms"], 3) for one in rounds],
        "goal": GOAL,
    }


def measure_tokens(system: System, auth: Auth) -> dict[str, Any]:
    """Verification, as the gateway does it for each request of a person."""
    token = auth.sign_in(auth.register(), "10.9.200.1")
    return {"verified_per_cpu_second": round(_probe(system, "gateway", str(TOKENS), token)["per_cpu_second"])}


def measure_flood(system: System, auth: Auth) -> dict[str, Any]:
    """A crowd at the gateway: right, wrong and unknown, a third each."""
    people = [auth.register() for _ in range(8)]
    attempts = [
        SignIn(
            people[number % 8] if number % 3 else f"{secrets.token_hex(8)}@example.org",
            PASSWORD if number % 3 == 1 else "not the right password 9",
            address(number),
        )
        for number in range(CROWD)
    ]
    processes = family(auth.master)
    before = memory_of(processes)
    with Watch(lambda: memory_of(processes), every=0.02) as memory:
        answers = sign_in_all(f"http://127.0.0.1:{system.port_base}", attempts)
    time.sleep(1)
    return {
        "crowd": CROWD,
        "pss_before_mib": round(before),
        "pss_peak_mib": round(max(memory.seen)),
        "pss_after_mib": round(memory_of(processes)),
        "slowest_answer_s": round(max(answer.seconds for answer in answers), 2),
        "answers": {str(status): n for status, n in sorted(Counter(answer.status for answer in answers).items())},
    }


def main() -> int:
    """Measures everything once."""
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as folder, running_system(Path(folder) / "system") as up:
        auth = Auth(up)
        result: dict[str, Any] = {
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_average_before": round(os.getloadavg()[0], 1),
            "sign_in": measure_sign_ins(up, auth),
            "tokens": measure_tokens(up, auth),
            "flood": measure_flood(up, auth),
        }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    _print(result)
    return 0


def _print(result: dict[str, Any]) -> None:
    sign_in, flood = result["sign_in"], result["flood"]
    rows = [
        ("CPU of a sign-in in auth", f"{sign_in['sign_in_cpu_ms']:.1f} ms"),
        ("CPU of its Argon2 hash", f"{sign_in['hash_cpu_ms']:.1f} ms"),
        ("ratio (goal: at most 1.15)", f"{sign_in['ratio']:.2f}"),
        ("tokens verified by one core", f"{result['tokens']['verified_per_cpu_second']} a second"),
        (f"memory of auth, {flood['crowd']} sign-ins at once", ""),
        ("  before, peak, after", " / ".join(str(flood[f"pss_{when}_mib"]) for when in ("before", "peak", "after"))),
        ("  answers", ", ".join(f"{n} times {status}" for status, n in flood["answers"].items())),
        ("  slowest answer", f"{flood['slowest_answer_s']:.2f} s"),
    ]
    print(f"On {result['cores']} cores, load {result['load_average_before']} before:")
    for name, value in rows:
        print(f"  {name:42} {value}")
    print(f"Written to {RESULT.relative_to(PROJECT)}")


if __name__ == "__main__":
    sys.exit(main())
