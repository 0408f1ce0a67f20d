"""A kubectl that is none: a program that gives recorded answers, and what was recorded on a real cluster."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"

PROGRAM = """#!{python} -IS
import json, sys
words = [word for word in sys.argv[3:] if not word.startswith("--request-timeout")]
line = " ".join(words)
with open({calls!r}, "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
before = open({calls!r}).read().splitlines()[:-1]
for start, status, output, errors in json.load(open({answers!r})):
    if line.startswith(start):
        if isinstance(output, list):
            output, errors = output[min(sum(start in call for call in before), len(output) - 1)]
        print(output, end="")
        print(errors, end="", file=sys.stderr)
        sys.exit(status)
sys.exit(f"the test has no answer for: {{line}}")
"""

NOT_FOUND = "Error from server (NotFound): the server could not find the requested resource\n"


def recorded(name: str) -> dict[str, Any]:
    """The objects, events and logs of one trouble, as the API server of a real cluster showed them."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


@dataclass
class FakeKubectl:
    """The program `kubectl` in a folder of its own. The first answer whose start fits the call is given."""

    folder: Path

    def answer(self, answers: dict[str, Any], but: dict[str, Any] | None = None) -> None:
        """Start of the call (without context and timeout) → what it prints, or (status, output, errors). What is in
        `but` goes before what is in `answers`. A list has
        (output, errors) for each time that it is asked; the last one stays."""
        rows = []
        for start, answer in [*(but or {}).items(), *answers.items()]:
            status, output, errors = answer if isinstance(answer, tuple) else (0, answer, "")
            is_text = isinstance(output, str | list)
            rows.append([start, status, output if is_text else json.dumps(output), errors])
        (self.folder / "answers.json").write_text(json.dumps(rows))
        program = self.folder / "kubectl"
        paths = {name: str(self.folder / f"{name}.json") for name in ("answers", "calls")}
        program.write_text(PROGRAM.format(python=sys.executable, **paths))
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """Every call, as it was made."""
        path = self.folder / "calls.json"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """In which it is the only kubectl."""
        return {"PATH": str(self.folder), "LANG": os.environ.get("LANG", "C.UTF-8")}


def items(*objects: dict[str, Any]) -> dict[str, Any]:
    """A list as `get -o json` shows it."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def named(name: str, **more: Any) -> dict[str, Any]:
    """An object of which only the name counts."""
    return {"metadata": {"name": name}, **more}


VERSIONS = {
    "clientVersion": {"major": "1", "minor": "34"},
    "serverVersion": {"major": "1", "minor": "34"},
}
