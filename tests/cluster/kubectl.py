"""kubectl against one context, as the tests of a real cluster use it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pytest

PATIENCE = 180.0  # seconds that anything may take on a small cluster before a test gives up on it
PART_OF = "app.kubernetes.io/part-of=seawall"

T = TypeVar("T")
Object = dict[str, Any]


def until(condition: Callable[[], T], what: str | Callable[[], str], seconds: float = PATIENCE) -> T:
    """Waits for the condition to be true, and returns what it gave; `what` may be asked for late, to tell the state."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.5)
    return result


class Kubectl:
    """kubectl with `--context`; raises AssertionError with what kubectl said when a command fails."""

    def __init__(self, context: str) -> None:
        self.context = context

    @classmethod
    def from_environment(cls) -> Kubectl:
        """The context that SEAWALL_CONTEXT names; fails with one sentence that says what is missing."""
        context = os.environ.get("SEAWALL_CONTEXT", "")
        if not context:
            pytest.exit(
                "SEAWALL_CONTEXT is not set: name the cluster's context; `kubectl config get-contexts` lists them", 2
            )
        if shutil.which("kubectl") is None:
            pytest.exit("kubectl was not found on PATH: install it, or add its folder to PATH", 2)
        kubectl = cls(context)
        answer = kubectl.run("version", "--request-timeout=10s", check=False)
        if answer.returncode:
            reason = answer.stderr.strip().splitlines()[-1:] or ["no reason given"]
            pytest.exit(f"the cluster of context {context} does not answer: {reason[0]}", 2)
        return kubectl

    def command(self, *args: str) -> list[str]:
        """The words that run kubectl with these arguments."""
        return ["kubectl", "--context", self.context, *args]

    def run(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002
        check: bool = True,
        seconds: float = 600.0,
    ) -> subprocess.CompletedProcess[str]:
        """One kubectl command to its end."""
        finished = subprocess.run(
            self.command(*args), input=input, capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and finished.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {finished.stderr.strip() or finished.stdout.strip()}")
        return finished

    def json(self, *args: str) -> Object:
        """What a command prints with `-o json`."""
        document: Object = json.loads(self.run(*args, "-o", "json").stdout)
        return document

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """An object, None if it is not there."""
        answer = self.run("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        document: Object | None = json.loads(answer.stdout) if answer.stdout.strip() else None
        return document

    def objects(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[Object]:
        """The objects of a kind, of all namespaces if none is named."""
        where = ["-n", namespace] if namespace else ["-A"]
        items: list[Object] = self.json("get", kind, *where, *(["-l", selector] if selector else []))["items"]
        return items

    def pods(self, namespace: str, name: str) -> Sequence[Object]:
        """The pods with a label `app.kubernetes.io/name`, those that are being deleted left out."""
        found = self.objects("pods", namespace, f"app.kubernetes.io/name={name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def rollout_status(self, workload: str, namespace: str, seconds: float = PATIENCE) -> None:
        """Waits until a rollout (`deployment/NAME`, `statefulset/NAME`) has ended well."""
        self.run("-n", namespace, "rollout", "status", workload, f"--timeout={seconds:g}s", seconds=seconds + 30)

    def wait(self, what: str, condition: str, namespace: str, seconds: float = PATIENCE) -> None:
        """`kubectl wait --for=CONDITION WHAT`."""
        self.run("-n", namespace, "wait", f"--for={condition}", what, f"--timeout={seconds:g}s", seconds=seconds + 30)

    def wait_gone(self, kind: str, namespace: str, selector: str, seconds: float = PATIENCE) -> None:
        """Waits until no object of a kind has these labels."""
        until(lambda: not self.objects(kind, namespace, selector), f"no {kind} {selector} in {namespace}", seconds)

    @contextlib.contextmanager
    def port_forward(self, target: str, namespace: str, port: int) -> Iterator[int]:
        """A local port of 127.0.0.1 that reaches a port of a pod or Service (`pod/NAME`, `service/NAME`) meanwhile."""
        process = subprocess.Popen(
            self.command("-n", namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"port-forward to {target}: {line.strip()}"
            yield int(found[1])
        finally:
            process.terminate()
            process.communicate(timeout=10)  # which closes the pipe, too


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is Ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
