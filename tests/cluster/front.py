"""The front door: the Ingress, reached at an address of this machine, with the certificates of the cluster."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import ssl
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cluster.kubectl import PART_OF, Kubectl, until

PORTAL, API, IMAGES = "webportal.local", "api.local", "images.local"
GIVE_UP = 20.0  # seconds

Address = tuple[str, int]


class Line(http.client.HTTPSConnection):
    """A connection to one of the hosts through the Ingress; its certificate must be valid for that host."""

    def __init__(self, address: Address, host: str, trust: ssl.SSLContext) -> None:
        super().__init__(host, timeout=GIVE_UP, context=trust)
        self._address = address
        self._trust = trust

    def connect(self) -> None:
        plain = socket.create_connection(self._address, timeout=GIVE_UP)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)


@dataclass(frozen=True)
class Front:
    """Where the Ingress answers, and whom to trust there."""

    https: Address
    http: Address
    trust: ssl.SSLContext

    @classmethod
    def of_environment(cls, kubectl: Kubectl) -> Front:
        """The addresses SEAWALL_HTTPS and SEAWALL_HTTP; trusts the authorities of the Ingresses' certificates."""
        front = cls(*cls.addresses(), _trust(kubectl))
        until(lambda: front.answers(PORTAL, "/sign-in"), f"https://{PORTAL} at SEAWALL_HTTPS", 60)
        return front

    @staticmethod
    def addresses() -> tuple[Address, Address]:
        """What SEAWALL_HTTPS and SEAWALL_HTTP say; ends the session if they say nothing that can be used."""
        return _address("SEAWALL_HTTPS"), _address("SEAWALL_HTTP")

    def line(self, host: str) -> Line:
        """A new connection, not made yet."""
        return Line(self.https, host, self.trust)

    def get(self, host: str, path: str) -> tuple[int, bytes]:
        """Status and body of one answer over HTTPS."""
        line = self.line(host)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def answers(self, host: str, path: str) -> bool:
        """Whether a page is there, over HTTPS with a certificate that holds."""
        try:
            return self.get(host, path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def public_key_digest(self, host: str) -> str:
        """The base64 SHA-256 of the public key that a host shows in its verified certificate."""
        line = self.line(host)
        try:
            line.connect()
            shown = line.sock.getpeercert(binary_form=True)
        finally:
            line.close()
        key = x509.load_der_x509_certificate(shown).public_key()
        document = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(document).digest()).decode()


def _address(variable: str) -> Address:
    value = os.environ.get(variable, "")
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit():
        pytest.exit(
            f"{variable} is {value!r}, and must be HOST:PORT where this machine reaches the Ingress controller's "
            f"{'HTTPS' if variable.endswith('S') else 'HTTP'} port, such as 127.0.0.1:8443",
            2,
        )
    return host, int(port)


def _trust(kubectl: Kubectl) -> ssl.SSLContext:
    """Trusts what issued the certificates of the Ingresses, and nobody else."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for ingress in kubectl.objects("ingresses", selector=PART_OF):
        namespace = ingress["metadata"]["namespace"]
        for entry in ingress["spec"].get("tls", []):
            secret = until(
                lambda name=entry["secretName"], where=namespace: kubectl.get("secret", name, where),
                f"the certificate {entry['secretName']} in {namespace} has been issued",
            )
            issuer = secret["data"].get("ca.crt") or secret["data"]["tls.crt"]
            trust.load_verify_locations(cadata=base64.b64decode(issuer).decode())
    return trust
