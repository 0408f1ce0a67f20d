"""Addresses of a host. The system's resolver has no deadline of its own, so it is asked in a thread."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from typing import Any

FRESH_SECONDS = 5.0  # for which nobody asks again
KEPT_SECONDS = 300.0  # for which the last good addresses are used while the resolver does not answer
REFRESH_WAIT = 0.1  # seconds for new addresses, while there are old ones

Address = tuple[socket.AddressFamily, Any]  # as socket.socket and connect want them


class Names:
    """What one host and port resolve to; an address is not asked about at all."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._changed = threading.Condition()
        self._known: tuple[Address, ...] = ()
        self._known_at = -KEPT_SECONDS
        self._asked_at = 0.0
        self._asking = False
        self._is_address = _is_address(host)
        if self._is_address:
            self._known = _resolved(host, port)

    def addresses(self, seconds: float) -> tuple[Address, ...]:
        """The addresses, after `seconds` at most.

        Raises:
            OSError: they are not known.
        """
        if self._is_address:
            return self._known
        with self._changed:
            now = time.monotonic()
            if now - self._known_at < FRESH_SECONDS:
                return self._known
            if not self._asking:
                self._asking, self._asked_at = True, now
                threading.Thread(target=self._ask, name=f"resolve-{self._host}", daemon=True).start()
            is_usable = now - self._known_at < KEPT_SECONDS
            until = min(now + seconds, self._asked_at + REFRESH_WAIT) if is_usable else now + seconds
            while self._asking and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if time.monotonic() - self._known_at < KEPT_SECONDS:
                return self._known
        raise OSError(f"no address is known for {self._host}")

    def _ask(self) -> None:
        found: tuple[Address, ...] = ()
        try:
            found = _resolved(self._host, self.port)
        except OSError:
            pass  # whoever needs the address says so
        finally:
            with self._changed:
                if found:
                    self._known, self._known_at = found, time.monotonic()
                self._asking = False
                self._changed.notify_all()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(host: str, port: int) -> tuple[Address, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple((family, address) for family, _, _, _, address in found)
