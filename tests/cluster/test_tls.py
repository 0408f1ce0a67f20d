"""The three TLS ways and the Gateway API on a real cluster: each is put in place, visited, and taken away again."""

from __future__ import annotations

import base64
import http.client
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.front import API, IMAGES, PORTAL, Front, Line
from tests.cluster.kubectl import Kubectl, ready, until
from tests.cluster.pods import RESTRICTED_CONTAINER, RESTRICTED_POD
from tests.cluster.system import PROJECT, System
from tests.kustomize import edges

WAYS = {
    "tls-openssl": ("tls-openssl",),
    "tls-cert-manager": ("tls-cert-manager",),
    "tls-ingress-annotation": ("tls-ingress-annotation",),
    "gateway-api": ("tls-cert-manager", "gateway-api"),
}
GRAFANA, ALERTMANAGER = "grafana.local", "alertmanager.local"
HOSTS = {
    PORTAL: "webportal-tls",
    API: "webportal-tls",
    IMAGES: "images-tls",
    GRAFANA: "monitoring-tls",
    ALERTMANAGER: "monitoring-tls",
}
PAGES = {
    PORTAL: "/sign-in",
    API: "/api/v1/schema",
    IMAGES: "/uploads/probe.gif",
    GRAFANA: "/healthz",
    ALERTMANAGER: "/-/healthy",
}
EDGE_KINDS = ("Ingress", "Gateway", "HTTPRoute", "ReferenceGrant", "Issuer", "Certificate")
# Where the hosts of the monitoring lead: Service, its port.
MONITORING_SERVICES = {"prometheus-stack-grafana": 80, "alertmanager-operated": 9093}
STAND_IN = "seawall.test/stand-in"  # a label of what is here in the place of an absent prometheus-stack
ANSWER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""

Object = dict[str, Any]


@dataclass
class Way:
    """A way that is in place now: where it answers, and the authority to trust for each host."""

    https: tuple[str, int]
    http: tuple[str, int]
    authorities: dict[str, str]

    def certificate(self, host: str, trust: ssl.SSLContext) -> dict[str, Any]:
        """What the server shows for a host, once it has been verified. Raises ssl.SSLError."""
        line = Line(self.https, host, trust)
        try:
            line.connect()
            return line.sock.getpeercert()
        finally:
            line.close()

    def trust(self, host: str) -> ssl.SSLContext:
        """Trusts the authority of this host and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authorities[host])
        return context

    def get(self, host: str, path: str) -> tuple[int, str]:
        """Status and Location of one answer over HTTPS."""
        return _answer(Line(self.https, host, self.trust(host)), host, path)

    def get_plain(self, host: str, path: str, **headers: str) -> tuple[int, str]:
        """Status and Location of one answer over plain HTTP."""
        return _answer(http.client.HTTPConnection(*self.http, timeout=20), host, path, **headers)


def _answer(connection: http.client.HTTPConnection, host: str, path: str, **headers: str) -> tuple[int, str]:
    try:
        sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", "")
    finally:
        connection.close()


@pytest.fixture(scope="module")
def system(declared: System) -> System:
    """The system, with every workload Ready."""
    declared.bring_up()
    return declared


@pytest.fixture(scope="module")
def front(system: System) -> Front:
    """The front door, which answers by the overlay's own way before any other is tried."""
    return Front.of_environment(system.kubectl)


@pytest.fixture(scope="module")
def secrets(system: System) -> dict[str, str]:
    """The namespace of each Secret that has a certificate."""
    monitoring = edges.places_of(system.overlay)["MONITORING_NAMESPACE"]
    return {"webportal-tls": "frontend-service", "images-tls": "app-services", "monitoring-tls": monitoring}


@pytest.fixture(scope="module")
def monitoring(system: System, secrets: dict[str, str]) -> Iterator[str]:
    """The namespace of the monitoring, with the Services that its hosts lead to: the real ones where they are."""
    kubectl, namespace = system.kubectl, secrets["monitoring-tls"]
    present = {one["metadata"]["name"] for one in kubectl.json("get", "namespaces")["items"]}
    if namespace not in present:
        made = {"name": namespace, "labels": {STAND_IN: "made"}}
        system.apply_objects([{"apiVersion": "v1", "kind": "Namespace", "metadata": made}])
    (files,) = [one for one in system.rendered() if one["kind"] == "Deployment" and one["metadata"]["name"] == "files"]
    (image,) = [one["image"] for one in files["spec"]["template"]["spec"]["initContainers"] if one["name"] == "metrics"]
    absent = [name for name in MONITORING_SERVICES if kubectl.get("service", name, namespace) is None]
    try:
        system.apply_objects(one for name in absent for one in _stand_in(name, namespace, image))
        for name in absent:
            until(
                lambda name=name: ready(kubectl.get("pod", f"stand-in-{name}", namespace) or {}), f"{name} is stood for"
            )
        yield namespace
    finally:
        kubectl.run("-n", namespace, "delete", "pod,service", "-l", STAND_IN, "--ignore-not-found")
        kubectl.run("delete", "namespace", "-l", STAND_IN, "--ignore-not-found", "--timeout=120s")


def _stand_in(service: str, namespace: str, image: str) -> list[Object]:
    """A Service, and a pod that answers 200 to everything behind it."""
    metadata = {"namespace": namespace, "labels": {STAND_IN: service}}
    container = {
        "name": "answer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-I", "-c", ANSWER],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": RESTRICTED_CONTAINER,
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": RESTRICTED_POD,
        "containers": [container],
    }
    port = {"port": MONITORING_SERVICES[service], "targetPort": 8080}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"name": f"stand-in-{service}"}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata | {"name": service},
            "spec": {"selector": {STAND_IN: service}, "ports": [port]},
        },
    ]


@pytest.fixture(scope="module")
def edge(system: System, front: Front, secrets: dict[str, str]) -> Iterator[list[Object]]:
    """What the overlay itself declares at its edge, which is put back in the end."""
    objects = [one for one in system.rendered() if one["kind"] in EDGE_KINDS or one.get("type") == "kubernetes.io/tls"]
    try:
        yield objects
    finally:
        _remove(system.kubectl, objects, secrets)
        system.apply_objects(objects)
        for ingress in objects:
            for entry in ingress["spec"].get("tls", []) if ingress["kind"] == "Ingress" else []:
                name, namespace = entry["secretName"], ingress["metadata"]["namespace"]
                until(lambda n=name, ns=namespace: system.kubectl.get("secret", n, ns), f"Secret {name} is back")
        Front.of_environment(system.kubectl)  # waits until the portal answers with it


@pytest.fixture(scope="module", params=WAYS)
def way(
    request: pytest.FixtureRequest,
    system: System,
    front: Front,
    secrets: dict[str, str],
    monitoring: str,
    edge: list[Object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    """One way in place of the overlay's own, on its Ingresses and nothing else."""
    if request.param == "gateway-api" and "GATEWAY_CLASS" not in (system.overlay / "places.env").read_text():
        pytest.skip(f"the overlay {system.overlay.name} names no GATEWAY_CLASS in places.env")
    tree = tmp_path_factory.mktemp(request.param) / "kustomize"
    shutil.copytree(PROJECT / "kustomize", tree, ignore=shutil.ignore_patterns("secrets", "certificates"))
    if request.param == "tls-openssl":
        subprocess.run([tree / "components" / "tls-openssl" / "make-certificates"], check=True, capture_output=True)
    objects = _render(system, tree, WAYS[request.param])
    kubectl = system.kubectl
    _remove(kubectl, edge, secrets)
    try:
        system.apply_objects(objects)
        authorities = {host: _authority(kubectl, secret, secrets[secret]) for host, secret in HOSTS.items()}
        if request.param == "tls-openssl":
            made = (tree / "components" / "tls-openssl" / "certificates" / "ca.crt").read_text()
            assert set(authorities.values()) == {made}
        here = Way(front.https, front.http, authorities)
        for host in HOSTS:
            until(
                lambda host=host: _is_in_place(here, host), f"{request.param}: {host} answers with its certificate", 90
            )
        yield here
    finally:
        _remove(kubectl, objects, secrets)


def _render(system: System, tree: Path, components: tuple[str, ...]) -> list[Object]:
    """The edge of all five hosts with these components, each with its part for the hosts of the monitoring."""
    overlay = tree / "overlays" / "edge"
    overlay.mkdir(parents=True)
    parts = [
        part for name in components for part in (name, f"{name}/monitoring") if (tree / "components" / part).is_dir()
    ]
    shutil.copy(system.overlay / "places.env", overlay)
    generator = {
        "name": "places",
        "namespace": "app-services",
        "envs": ["places.env"],
        "options": {"disableNameSuffixHash": True},
    }
    kustomization = {
        "resources": ["../../base/ingress"],
        "components": [f"../../components/{name}" for name in ("monitoring", *parts, "places")],
        "configMapGenerator": [generator],
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "seawall"}}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return [one for one in yaml.safe_load_all(system.kubectl.run("kustomize", str(overlay)).stdout) if one]


def _remove(kubectl: Kubectl, objects: list[Object], secrets: dict[str, str]) -> None:
    """Takes away these objects and the certificates' Secrets; what has issued those must be gone before."""
    kubectl.run("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", input=yaml.safe_dump_all(objects))
    for name, namespace in secrets.items():
        until(
            lambda n=name, ns=namespace: kubectl.get("certificates.cert-manager.io", n, ns) is None,
            f"Certificate {name} is gone",
        )
        kubectl.run("-n", namespace, "delete", "secret", name, "--ignore-not-found")


def _authority(kubectl: Kubectl, secret: str, namespace: str) -> str:
    found = until(lambda: kubectl.get("secret", secret, namespace), f"Secret {secret} has been made")
    assert found["type"] == "kubernetes.io/tls"
    return base64.b64decode(found["data"]["ca.crt"]).decode()


def _is_in_place(here: Way, host: str) -> bool:
    try:
        return here.get(host, PAGES[host])[0] == 200
    except (OSError, http.client.HTTPException):
        return False


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_that_trusts_the_authority_gets_a_certificate_for_the_host_and_its_page(way: Way, host: str) -> None:
    names = {name for kind, name in way.certificate(host, way.trust(host))["subjectAltName"] if kind == "DNS"}

    assert names == {other for other, secret in HOSTS.items() if secret == HOSTS[host]}
    assert way.get(host, PAGES[host]) == (200, "")


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_that_trusts_others_refuses_the_certificate(way: Way, host: str, tmp_path: Path) -> None:
    (tmp_path / "monitoring").mkdir()
    script = PROJECT / "kustomize" / "components" / "tls-openssl" / "make-certificates"
    subprocess.run([shutil.copy(script, tmp_path)], check=True, capture_output=True)
    strangers = ssl.create_default_context(cafile=str(tmp_path / "certificates" / "ca.crt"))

    with pytest.raises(ssl.SSLCertVerificationError):
        way.certificate(host, strangers)


@pytest.mark.parametrize(
    ("host", "path"), [(PORTAL, "/sign-in?next=%2Fimages"), (PORTAL, "/"), (IMAGES, PAGES[IMAGES])]
)
def test_plain_http_leads_to_https(way: Way, host: str, path: str) -> None:
    status, location = way.get_plain(host, path)

    assert status in (301, 308)
    assert location == f"https://{host}{path}"


def test_whoever_claims_to_have_come_over_https_is_not_believed(way: Way) -> None:
    for host in (PORTAL, IMAGES):
        assert way.get_plain(host, PAGES[host], X_Forwarded_Proto="https")[0] in (301, 308)


# An Ingress has no redirect of its own, and what is behind these two hosts is not ours.
@pytest.mark.parametrize("way", ["gateway-api"], indirect=True)
@pytest.mark.parametrize("host", [GRAFANA, ALERTMANAGER])
def test_a_gateway_leads_the_hosts_of_the_monitoring_to_https(way: Way, host: str) -> None:
    assert way.get_plain(host, PAGES[host]) == (301, f"https://{host}{PAGES[host]}")


@pytest.mark.parametrize("host", [PORTAL, API])
def test_the_api_refuses_plain_http_and_sends_nobody_on(way: Way, host: str) -> None:
    assert way.get_plain(host, "/api/v1/schema") == (403, "")
