"""Which ports are free, and who holds those that are not."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ops.layout import HOST, Ports, Role

_LISTEN = "0A"


@dataclass(frozen=True)
class TakenPort:
    """A port that a role wants and somebody else holds. `pid` and `command` are None when /proc does not tell."""

    port: int
    role: str
    pid: int | None
    command: str | None

    def __str__(self) -> str:
        holder = f"process {self.pid} ({self.command})" if self.pid else "a process of another user"
        return f"port {self.port}, wanted by {self.role}, is held by {holder}"


def wanted_ports(ports: Ports, roles: Iterable[Role]) -> dict[int, str]:
    """Every port that `roles` will listen on, with the name of the role."""
    wanted: dict[int, str] = {}
    for role in roles:
        wanted[ports.application(role)] = role.name
        management = ports.management(role)
        if management is not None:
            wanted[management] = f"{role.name} (management)"
    return wanted


def taken_ports(wanted: dict[int, str]) -> list[TakenPort]:
    """Those of `wanted` that cannot be listened on, with their holders."""
    taken = [port for port in sorted(wanted) if not is_free(port)]
    if not taken:
        return []
    holders = _listeners()
    found = []
    for port in taken:
        pid = holders.get(port)
        found.append(TakenPort(port, wanted[port], pid, _command(pid) if pid else None))
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _listeners() -> dict[int, int]:
    """Port to pid of every listening TCP socket whose owner /proc shows to us (proc_net_tcp(5))."""
    inodes: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                inodes[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    holders: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                port = inodes.get(os.readlink(descriptor))
            except OSError:
                continue
            if port is not None:
                # Of a server and its forked workers, which share the socket, the lowest pid is the server.
                holders[port] = min(int(process.name), holders.get(port, int(process.name)))
    return holders


def _command(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    command = b" ".join(words).decode(errors="replace").strip()
    return command if len(command) <= 100 else f"{command[:97]}..."
