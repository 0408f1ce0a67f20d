"""Which ports are free, and who holds those that are not."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ops.layout import HOST, Ports, Role

_LISTEN = "0A"


@dataclass(frozen=True)
class TakenPort:
    """A port that a role wants and somebody else holds, with what we may know about the holder."""

    port: int
    role: str
    user: str | None
    pid: int | None
    command: str | None

    def __str__(self) -> str:
        if self.pid:
            holder = f"process {self.pid} ({self.command})"
        else:
            holder = f"a process of user {self.user}" if self.user else "an unknown process"
        return f"Port {self.port}, wanted by {self.role}, is held by {holder}."


class _Socket(NamedTuple):
    port: int
    uid: int
    inode: int


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
    sockets = _listening_sockets()
    users = {each.port: _user(each.uid) for each in sockets}
    holders = _holders(sockets)
    found = []
    for port in taken:
        pid = holders.get(port)
        found.append(TakenPort(port, wanted[port], users.get(port), pid, _command(pid) if pid else None))
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


def _listening_sockets() -> list[_Socket]:
    """Every listening TCP socket of this network namespace (proc_net_tcp(5))."""
    sockets = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                port = int(fields[1].rpartition(":")[2], 16)
                sockets.append(_Socket(port, uid=int(fields[7]), inode=int(fields[9])))
    return sockets


def _holders(sockets: list[_Socket]) -> dict[int, int]:
    """Port to pid, as far as /proc shows us the descriptors of the process."""
    ports = {f"socket:[{each.inode}]": each.port for each in sockets}
    holders: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                port = ports.get(os.readlink(descriptor))
            except OSError:
                continue
            if port is not None:
                # Of a server and its forked workers, which share the socket, the lowest pid is the server.
                holders[port] = min(int(process.name), holders.get(port, int(process.name)))
    return holders


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    command = b" ".join(words).decode(errors="replace").strip()
    return command if len(command) <= 100 else f"{command[:97]}..."
