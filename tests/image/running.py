"""A role as its image has it: the code and the packages of that target, and nothing else that this machine has."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.config.test_locks import locked
from tests.config.test_roles import COMMON, ENVIRONMENTS
from tests.image import dockerfile

_START = """
import runpy, sys
code, packages, kind, name, *arguments = sys.argv[1:]
sys.path[:0] = [code, packages]
sys.argv = [name, *arguments]
run = {"file": runpy.run_path, "module": runpy.run_module}[kind]
run(name, run_name="__main__")
"""


@dataclass(frozen=True)
class Role:
    """The folder that stands for /seawall of the image, and the one that stands for its environment's packages."""

    name: str
    code: Path
    packages: Path

    def run(self, kind: str, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a `file` or a `module` by a Python that knows the standard library and these two folders alone."""
        words = (sys.executable, "-I", "-S", "-c", _START, str(self.code), str(self.packages), kind, name, *arguments)
        given = COMMON | ENVIRONMENTS[self.name] | {"DJANGO_SETTINGS_MODULE": f"config.settings.{self.name}"}
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **given, **variables}
        return subprocess.run(
            words, cwd=self.code, env=environment, capture_output=True, text=True, check=False, timeout=120
        )


def role(name: str, folder: Path) -> Role:
    """Make the role of a target in an empty folder."""
    code, packages = folder / "code", folder / "packages"
    for place, source in dockerfile.read().code(name).items():
        (code / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, code / place)
    packages.mkdir()
    for package, entry in locked(name).items():
        if entry.marker is None or entry.marker.evaluate():
            link(package, packages)
    return Role(name, code, packages)


def link(package: str, folder: Path) -> None:
    """Let the folder have an installed package: its modules and its metadata."""
    distribution = importlib.metadata.distribution(package)
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
