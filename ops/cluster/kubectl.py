"""kubectl as a subprocess: the one way in which these commands talk to a cluster.

The context is named in every call, so that nothing depends on, or changes, which one the person has chosen.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from ops.cluster.shapes import mapping, mappings, text
from ops.errors import OperatorError

Object = dict[str, Any]
"""A Kubernetes object, or a list of them, as JSON says it."""

REQUEST_SECONDS = 20.0

_LOG_HEADER = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^ ]+\.go:\d+\] ")
"""With which lines begin that kubectl writes for its own developers."""


class KubectlError(OperatorError):
    """kubectl has failed. The message is what it said, without warnings."""

    @property
    def is_not_found(self) -> bool:
        """The object, or the whole kind of it, is not there; the server itself has answered."""
        return "(NotFound)" in str(self) or "the server doesn't have a resource type" in str(self)


@dataclass(frozen=True)
class Output:
    """What a call has written: `warnings` are the server's and kubectl's own, taken out of `errors`."""

    status: int
    text: str
    errors: str
    warnings: tuple[str, ...]

    @property
    def is_answer(self) -> bool:
        """Whether the server has spoken, be it to refuse. If not, it is away, or kubectl has not asked it."""
        return self.status == 0 or "Error from server" in self.errors


class Kubectl:
    """One context of the person's configuration."""

    def __init__(self, context: str) -> None:
        """Raises OperatorError where there is no kubectl."""
        program = shutil.which("kubectl")
        if program is None:
            raise OperatorError(
                "There is no kubectl in PATH: install it (https://kubernetes.io/docs/tasks/tools/) in the version of "
                "the cluster, or one minor beside it."
            )
        self.context = context
        self._program = program

    def run(self, *words: str, stdin: str | None = None, seconds: float = REQUEST_SECONDS) -> Output:
        """One call, whatever comes of it. `seconds` limits each request to the server, and the whole call to ten times
        that. Raises KubectlError when the process cannot be run to its end."""
        command = [self._program, "--context", self.context, f"--request-timeout={seconds:.0f}s", *words]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds * 10,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"no answer within {error.timeout:.0f} s (kubectl {' '.join(words[:2])})") from None
        except OSError as error:
            raise KubectlError(f"{self._program} cannot be run: {error}") from error
        lines = done.stderr.splitlines()
        warnings = [line for line in lines if line.startswith("Warning:")]
        log = [line for line in lines if _LOG_HEADER.match(line)]
        errors = [line for line in lines if line not in warnings and line not in log]
        if not any(line.strip() for line in errors):  # what it has only logged is better than nothing
            errors = [_LOG_HEADER.sub("", line) for line in log[-1:]]
        return Output(
            status=done.returncode,
            text=done.stdout,
            errors="\n".join(errors).strip(),
            warnings=tuple(line.removeprefix("Warning:").strip() for line in warnings),
        )

    def text(self, *words: str, stdin: str | None = None, seconds: float = REQUEST_SECONDS) -> str:
        """Standard output of a call that must succeed. Raises KubectlError."""
        output = self.run(*words, stdin=stdin, seconds=seconds)
        if output.status != 0:
            raise KubectlError(output.errors or f"kubectl {' '.join(words[:2])} ended with status {output.status}")
        return output.text

    def json(self, *words: str) -> Object:
        """The same for calls that answer in JSON by themselves (`get --raw`, `version`). Raises KubectlError."""
        return self._parsed(self.text(*words))

    def get(self, *words: str) -> Object:
        """`kubectl get … -o json`. Raises KubectlError; see `is_not_found`."""
        return self._parsed(self.text("get", *words, "-o", "json"))

    def items(self, *words: str) -> list[Object]:
        """The objects of such a list, each of which has a name. Raises KubectlError."""
        found = self.get(*words).get("items")
        if not isinstance(found, list):
            raise KubectlError(
                f"the server has answered to `kubectl get {' '.join(words)}` with something that is no list: does "
                f"context {self.context} lead to the API server of a cluster?"
            )
        return [each for each in mappings(found) if text(mapping(each, "metadata").get("name"))]

    def find(self, *words: str) -> Object | None:
        """The same; None when it is not there."""
        try:
            return self.get(*words)
        except KubectlError as error:
            if error.is_not_found:
                return None
            raise

    @staticmethod
    def _parsed(text: str) -> Object:
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise KubectlError(f"kubectl has not answered in JSON: {text[:100]!r}")
        return parsed
