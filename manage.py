#!/usr/bin/env python
"""Django's command line for every role, and for the operator.

Without --settings and DJANGO_SETTINGS_MODULE, the operator's commands (those of `ops/`) run under config.settings.ops
and all others under config.settings.console. The environment that `up` made for a role is read from the state folder
(`.seawall/`, or SEAWALL_STATE); what is set already stays.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


def settings_module(words: list[str]) -> str:
    """The settings under which the command line `words` (without the program) is meant to run."""
    for index, word in enumerate(words):
        if word == "--settings" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--settings="):
            return word.partition("=")[2]
    chosen = os.environ.get("DJANGO_SETTINGS_MODULE")
    if chosen:
        return chosen
    command = words[1] if words[:1] == ["help"] and len(words) > 1 else words[0] if words else "help"
    is_operators = (PROJECT / "ops" / "management" / "commands" / f"{command}.py").is_file()
    no_state = command in {"help", "--help", "-h", "version", "--version"} and (PROJECT / "ops").is_dir()
    return "config.settings.ops" if is_operators or no_state else "config.settings.console"


def load_environment(module: str) -> None:
    """Add what `up` has written for the role of this settings module, if it has."""
    if module == "config.settings.ops":
        return
    state = Path(os.environ.get("SEAWALL_STATE") or PROJECT / ".seawall")
    try:
        values = json.loads((state / "env" / f"{module.rpartition('.')[2]}.json").read_text())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        sys.exit(f"The environment that `up` has written cannot be read: {error}")
    for name, value in values.items():
        if f"{name}_FILE" not in os.environ:
            os.environ.setdefault(name, value)


def main() -> None:
    """Run one command."""
    module = settings_module(sys.argv[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", module)
    load_environment(module)
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed for this Python: run `make up` once, then use .venv/bin/python manage.py")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
