"""The declared network matrix (kustomize/edges.toml), and who takes part in it in the manifests of an overlay."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kustomize.network_policy import Endpoint

Object = Mapping[str, Any]
NAMESPACES = ("frontend-service", "app-services")
NAME = "app.kubernetes.io/name"
# Ports at which nobody listens and which no line may open: a policy that leaves its ports out is found by them where
# not all can be tried.
CANARIES = (("TCP", 1), ("TCP", 22), ("TCP", 80), ("TCP", 8080), ("UDP", 8001), ("UDP", 5432))
PROTOCOLS = ("TCP", "UDP", "SCTP")
ALWAYS = (("TCP", 53), ("UDP", 53), ("TCP", 443), ("TCP", 6443))
PORTS_OF_POSTGRES_INSTANCES = {("postgresql", "TCP"): 5432, ("metrics", "TCP"): 9187, ("status", "TCP"): 8000}
# What the operator writes into the pod template of its Jobs, its names and the Cluster's aside.
LABELS_OF_POSTGRES_JOBS = {
    "cnpg.io/instanceName": "postgres-2",
    "cnpg.io/jobRole": "join",
    "app.kubernetes.io/name": "postgresql",
    "app.kubernetes.io/version": "18",
    "app.kubernetes.io/component": "database",
    "app.kubernetes.io/managed-by": "cloudnative-pg",
}
# What cert-manager writes on the pod that answers one challenge, beside numbers of the challenge.
LABELS_OF_ACME_SOLVERS = {"acme.cert-manager.io/http01-solver": "true"}

Port = tuple[str, int]  # protocol, number
Edge = tuple[str, str, str, int]  # source, destination, protocol, port number


class BadMatrix(ValueError):
    """A line of edges.toml that cannot be read, with what is wrong about it."""


@dataclass(frozen=True)
class Matrix:
    """What edges.toml says for some components: edges between names, and who stands outside our namespaces."""

    edges: frozenset[Edge]
    outside: Mapping[str, Object]


def _port(text: str, line: str) -> Port:
    number, _, protocol = text.strip().partition("/")
    protocol = (protocol or "tcp").upper()
    if not number.isdigit() or not 0 < int(number) < 65536 or protocol not in {"TCP", "UDP"}:
        raise BadMatrix(f"«{line}»: «{text.strip()}» is no port; write 8000 or 53/udp")
    return protocol, int(number)


def _names(text: str, groups: Mapping[str, Sequence[str]], line: str) -> Iterator[str]:
    for name in (part.strip() for part in text.split(",")):
        if not name:
            raise BadMatrix(f"«{line}»: a name is missing; write «SOURCE, … -> DESTINATION, … : PORT, …»")
        yield from groups.get(name, (name,))


def edges_of(line: str, groups: Mapping[str, Sequence[str]]) -> Iterator[Edge]:
    """The edges of one line of edges.toml.

    Raises:
        BadMatrix: it is not of the form that the head of the file describes.
    """
    way, colon, ports = line.rpartition(":")
    source, arrow, destination = way.partition("->")
    if not (colon and arrow):
        raise BadMatrix(f"«{line}»: write «SOURCE, … -> DESTINATION, … : PORT, …»")
    for one in _names(source, groups, line):
        for other in _names(destination, groups, line):
            for port in ports.split(","):
                yield (one, other, *_port(port, line))


def declared(file: Path, components: Iterable[str]) -> Matrix:
    """What edges.toml declares for `[base]` and those of the components that have a section."""
    document = tomllib.loads(file.read_text())
    sections = document.get("component", {})
    lines = [*document["base"]["edges"]]
    for component in sorted(set(components) & set(sections)):
        lines += sections[component]["edges"]
    groups = document.get("groups", {})
    return Matrix(frozenset(edge for line in lines for edge in edges_of(line, groups)), document["outside"])


def components_of(overlay: Path) -> set[str]:
    """The names of all components that an overlay includes, itself or through another overlay.

    A part of one is called `s3/network-policies`, one of an overlay by its path there: `production/network-policies`.
    """
    found: set[str] = set()
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    for entry in kustomization.get("components") or ():
        folder = (overlay / entry).resolve()
        _, _, name = folder.as_posix().replace("/overlays/", "/components/").rpartition("/components/")
        found |= {name} | components_of(folder)
    for entry in kustomization.get("resources") or ():
        folder = (overlay / entry).resolve()
        if folder.is_dir():
            found |= components_of(folder)
    return found


def places_of(overlay: Path) -> dict[str, str]:
    """The places that an overlay names in its places.env."""
    lines = (overlay / "places.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _pod_template(document: Object) -> Object | None:
    spec = document.get("spec") or {}
    match document["kind"]:
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            return dict(spec["template"])
        case "CronJob":
            return dict(spec["jobTemplate"]["spec"]["template"])
    return None


def _answers_http(issuer: Object) -> bool:
    return any("http01" in solver for solver in (issuer["spec"].get("acme") or {}).get("solvers") or ())


def _container_ports(pod: Object) -> Iterator[tuple[str, str, int]]:
    for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
        for port in container.get("ports") or ():
            yield port.get("name", ""), port.get("protocol", "TCP"), int(port["containerPort"])


def workloads(documents: Iterable[Object]) -> list[Endpoint]:
    """A pod of every workload of the manifests, with the labels and ports of its template.

    A Cluster of CloudNativePG is two: its instances get the labels that it hands on and the operator's own, the pods of
    the Jobs that make an instance (`postgres-job`: bootstrap, join, recovery) the operator's alone. An Issuer that
    answers an authority over HTTP (HTTP-01) is one in its namespace (`acme-solver in NAMESPACE`), if that is ours.
    """
    found: list[Endpoint] = []
    for document in documents:
        ports: dict[tuple[str, str], int]
        if document["kind"] == "Cluster" and document["apiVersion"].startswith("postgresql.cnpg.io/"):
            name = document["metadata"]["name"]
            labels = {
                **((document["spec"].get("inheritedMetadata") or {}).get("labels") or {}),
                "cnpg.io/cluster": name,
                "cnpg.io/podRole": "instance",
            }
            ports = dict(PORTS_OF_POSTGRES_INSTANCES)
            of_job = LABELS_OF_POSTGRES_JOBS | {"cnpg.io/cluster": name, "app.kubernetes.io/instance": name}
            address = f"10.244.0.{len(found) + 10}"
            found.append(Endpoint(f"{name}-job", address, document["metadata"]["namespace"], of_job))
        elif (
            document["kind"] == "Issuer" and document["metadata"]["namespace"] in NAMESPACES and _answers_http(document)
        ):
            name = f"acme-solver in {document['metadata']['namespace']}"
            labels, ports = LABELS_OF_ACME_SOLVERS, {("http", "TCP"): 8089}
        elif template := _pod_template(document):
            labels = dict(template["metadata"]["labels"])
            name = labels.get(NAME, document["metadata"]["name"])
            ports = {(port, protocol): number for port, protocol, number in _container_ports(template["spec"])}
        else:
            continue
        address = f"10.244.0.{len(found) + 10}"
        found.append(Endpoint(name, address, document["metadata"]["namespace"], labels, ports))
    return found


def outsiders(matrix: Matrix, places: Mapping[str, str]) -> list[Endpoint]:
    """Who stands outside, as [outside] of edges.toml says."""
    found = []
    for number, (name, what) in enumerate(matrix.outside.items(), 10):
        if "address" in what:
            found.append(Endpoint(name, what["address"]))
        else:
            namespace = places[what["namespace"]] if what["namespace"].isupper() else what["namespace"]
            found.append(Endpoint(name, f"10.244.1.{number}", namespace, what.get("labels", {})))
    return found


def lookalikes(participants: Sequence[Endpoint]) -> list[Endpoint]:
    """Pods that nothing is declared for and that a careless policy takes for others.

    One without labels in each of our namespaces and beside kube-dns; and everybody's labels in a foreign namespace and
    in that one of ours where nobody has them.
    """
    found = [
        Endpoint(f"unlabelled pod in {namespace}", f"10.244.2.{number}", namespace)
        for number, namespace in enumerate((*NAMESPACES, "kube-system"), 10)
    ]
    for original in participants:
        if original.namespace is None or not original.labels:
            continue
        at_home = {one.namespace for one in participants if one.labels == original.labels}
        for namespace in {"default", *NAMESPACES} - at_home:
            address = f"10.244.3.{len(found) + 10}"
            name = f"pod in {namespace} labelled as {original.name}"
            found.append(Endpoint(name, address, namespace, original.labels, original.ports))
    return found


def ports_to_try(participants: Iterable[Endpoint], edges: Iterable[Edge]) -> list[Port]:
    """Every port that a container or a line declares, and the canaries."""
    of_containers = {(protocol, number) for one in participants for (_, protocol), number in one.ports.items()}
    of_edges = {(protocol, number) for _, _, protocol, number in edges}
    return sorted(of_containers | of_edges | set(CANARIES) | set(ALWAYS))


def ports_that_stand_for_all(ports: Iterable[Port], policies: Iterable[Object]) -> list[Port]:
    """These ports, where each range of the policies begins and ends, and whatever comes next after each of them.

    From one such port up to the next one every policy says the same of each: that goes for all ports of each protocol.
    """
    bounds = {*ports, *((protocol, 0) for protocol in PROTOCOLS)}
    for policy in policies:
        for rule in (*(policy["spec"].get("ingress") or ()), *(policy["spec"].get("egress") or ())):
            for port in rule.get("ports") or ():
                if isinstance(first := port.get("port"), int):
                    protocol = port.get("protocol", "TCP")
                    bounds |= {(protocol, first), (protocol, port.get("endPort", first))}
    after = {(protocol, number + 1) for protocol, number in bounds}
    return sorted((protocol, number) for protocol, number in bounds | after if 0 < number < 65536)
