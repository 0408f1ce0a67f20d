"""Build the virtual environment from a hashed lock, before anything is installed: standard library only.

Run by make: `python3 ops/bootstrap.py FOLDER EXTRA`. What was installed is noted in the folder as the hash of the lock,
so that a run with nothing to do takes no time. An environment for developers is never cut down to the smaller `local`.
Exit status 0 when the environment is as the lock says, 1 (with one line that says why) when it cannot be.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
CONTAINS = {"local": ("local", "dev"), "dev": ("dev",)}
"""The environments that will do for each one asked for."""


def main(folder: Path, extra: str) -> None:
    """Make the environment in `folder` hold what requirements/<extra>.txt says."""
    interpreter = folder / "bin" / "python"
    if not _works(interpreter):
        shutil.rmtree(folder, ignore_errors=True)
    for possible in CONTAINS[extra]:
        if _noted(folder, possible) == _lock_hash(possible):
            return
    wanted = "dev" if _noted(folder, "dev") else extra
    pip = _pip(folder, interpreter)
    lock = REQUIREMENTS / f"{wanted}.txt"
    print(
        f"Installing requirements/{wanted}.txt into {folder.name} (it takes about a minute the first time) …",
        flush=True,
    )
    begun = time.monotonic()
    _stamp(folder, wanted).unlink(missing_ok=True)
    code = subprocess.run(
        [
            *pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "-r",
            str(lock),
        ],
        check=False,
    ).returncode
    if code:
        sys.exit(f"pip could not install {lock.name} (see above): is the network, or PIP_INDEX_URL, as it should be?")
    _stamp(folder, wanted).write_text(_lock_hash(wanted))
    print(f"Installed in {time.monotonic() - begun:.0f} s.", flush=True)


def _pip(folder: Path, interpreter: Path) -> list[str]:
    """The command that installs into `folder`, which is made if it is not there.

    Debian's python3 lacks ensurepip, so the environment is made without pip and served by the pip outside.
    """
    if importlib.util.find_spec("pip") is not None:
        if not interpreter.exists():
            _create(folder, "--without-pip")
        return [sys.executable, "-m", "pip", "--python", str(interpreter)]
    if importlib.util.find_spec("ensurepip") is not None:
        if not (folder / "bin" / "pip").exists():
            _create(folder)
        return [str(interpreter), "-m", "pip"]
    sys.exit(
        f"{sys.executable} has no pip: install the package python3-pip (Debian, Ubuntu, Fedora; py3-pip on Alpine)."
    )


def _create(folder: Path, *options: str) -> None:
    if subprocess.run([sys.executable, "-m", "venv", *options, str(folder)], check=False).returncode:
        sys.exit(f"{sys.executable} cannot make {folder} (see above): on Debian and Ubuntu, install python3-venv.")


def _works(interpreter: Path) -> bool:
    """Whether the environment's Python is new enough and runs: it is a link to one that may be gone by now."""
    try:
        version = "import sys; sys.exit(sys.version_info < (3, 11))"
        return subprocess.run([str(interpreter), "-c", version], check=False).returncode == 0
    except OSError:
        return False


def _stamp(folder: Path, extra: str) -> Path:
    return folder / f".installed-{extra}"


def _noted(folder: Path, extra: str) -> str | None:
    try:
        return _stamp(folder, extra).read_text()
    except OSError:
        return None


def _lock_hash(extra: str) -> str:
    return hashlib.sha256((REQUIREMENTS / f"{extra}.txt").read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except KeyboardInterrupt:
        sys.exit(130)
