"""A program: what a role reads of its environment, and what it says against it.

Takes a JSON list of cases from standard input, `{"role": …, "serves": bool, "environment": {…}}`, and prints a list of
`{"reads": [NAME…], "fault": str | null}` in the same order. Each case is a process of its own that imports the role's
settings, and gunicorn's configuration if it serves, as the pod would.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from config.env import Environment, EnvironmentFault
from internal import logs, multiprocess

PROJECT = Path(__file__).resolve().parents[2]


def read(case: dict[str, Any]) -> dict[str, Any]:
    """What the settings of one role make of one environment."""
    os.environ.clear()
    os.environ.update(case["environment"], DJANGO_SETTINGS_MODULE=f"config.settings.{case['role']}")
    names: set[str] = set()
    asked = Environment._get_value

    def recorded(self: Environment, name: str, default: Any) -> Any:
        names.add(name)
        return asked(self, name, default)

    Environment._get_value = recorded  # type: ignore[method-assign]
    logs.configure = multiprocess.start = lambda *_: None  # type: ignore[assignment]
    fault = None
    try:
        importlib.import_module(f"config.settings.{case['role']}")
        if case["serves"]:
            runpy.run_path(str(PROJECT / "config" / "gunicorn.conf.py"))
    except (EnvironmentFault, SystemExit) as error:
        fault = str(error)
    return {"reads": sorted(names), "fault": fault}


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(pool.map(read, json.load(sys.stdin), chunksize=1)))
