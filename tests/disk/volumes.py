"""Small file systems of the tests' own. They are seen by this process and its children only, and go with them.

The process gets a mount namespace of its own (as root, else inside a user namespace in which it may mount): whatever
happens to the tests, the kernel takes the file systems away with the last process that sees them.

Source: mount_namespaces(7), user_namespaces(7), tmpfs(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from tests.running import until

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_REMOUNT, MS_MOVE, MS_REC, MS_PRIVATE = 1, 32, 8192, 16384, 1 << 18
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def become_able_to_mount() -> None:
    """Gives this process, which must have one thread only, mounts of its own.

    Raises:
        OSError: the machine does not let it.
    """
    if os.geteuid() == 0:
        _ask(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        user, group = os.geteuid(), os.getegid()
        _ask(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _ask(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


class Volume:
    """A tmpfs at `place`, an existing folder. `size` in bytes; `files` is how many files and folders it may hold."""

    BALLAST = "ballast"

    def __init__(self, place: Path, *, size: int, files: int = 0) -> None:
        self.place = place
        self._options = f"size={size},nr_inodes={files},mode=0755"
        self._target = os.fsencode(place)

    def attach(self) -> None:
        """Mounts it, empty."""
        _ask(_libc.mount(b"tmpfs", self._target, b"tmpfs", 0, self._options.encode()), "mount")

    def detach(self) -> None:
        """Takes it away with everything in it. Who has a file of it open keeps that."""
        _ask(_libc.umount2(self._target, MNT_DETACH), "umount")

    def read_only(self, on: bool) -> None:
        """Forbids writing, or allows it again; waits for files that are open for writing."""
        flags = MS_REMOUNT | (MS_RDONLY if on else 0)

        def remounted() -> bool:
            return bool(_libc.mount(b"tmpfs", self._target, b"tmpfs", flags, self._options.encode()) == 0)

        until(remounted, "the file system is remounted")

    @contextlib.contextmanager
    def attached(self) -> Iterator[Volume]:
        """The block runs with it."""
        self.attach()
        try:
            yield self
        finally:
            self.detach()

    @contextlib.contextmanager
    def moved(self, elsewhere: Path) -> Iterator[None]:
        """The block runs with the file system at another place, an existing folder; it is as it was afterwards."""
        target = os.fsencode(elsewhere)
        _ask(_libc.mount(self._target, target, None, MS_MOVE, None), "mount")
        try:
            yield
        finally:
            _ask(_libc.mount(target, self._target, None, MS_MOVE, None), "mount")

    def free(self) -> int:
        """Bytes that still fit."""
        status = os.statvfs(self.place)
        return status.f_bavail * status.f_frsize

    @contextlib.contextmanager
    def filled(self, *, leaving: int = 0) -> Iterator[None]:
        """The block runs with no more than `leaving` bytes free."""
        ballast = self.place / self.BALLAST
        page = os.sysconf("SC_PAGE_SIZE")
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(page, self.free() - leaving // page * page))
        try:
            yield
        finally:
            ballast.unlink()


def _ask(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
