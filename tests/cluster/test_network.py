"""Who reaches whom on a real cluster, observed pod by pod and port by port, is what kustomize/edges.toml declares.

A probe is a pod with the labels of a workload that listens on every port of the matrix and says its own name there; it
is never Ready, so that no Service sends anybody to it. Connected means: the name came. What is at addresses outside the
cluster (the internet) is computed only, by tests/kustomize/test_edges.py; the API server is asked.

While the probes are there, the autoscalers and disruption budgets of the workloads count them: no test may look at
those meanwhile.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.pods import RESTRICTED_CONTAINER, RESTRICTED_POD
from tests.kustomize import edges
from tests.kustomize.network_policy import Endpoint

PROJECT = Path(__file__).resolve().parents[2]
OVERLAY = PROJECT / "kustomize" / "overlays" / os.environ.get("SEAWALL_OVERLAY", "ci")
MARK = "seawall/network-probe"  # a label of everything that this test makes
FOREIGN = "network-probe"  # a namespace of its own, in which the stranger lives
START_SECONDS = 120.0
AGREE_SECONDS = 120.0  # for the network plug-in to know of new pods and policies

# What a probe does: on every port it answers with its name, by TCP at once, by UDP when it is asked.
LISTEN = """
import asyncio, json, os, signal, sys
name = os.environ["PROBE"].encode()
async def greet(reader, writer):
    writer.write(name)
    writer.close()
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.transport.sendto(name, address)
async def main():
    loop = asyncio.get_running_loop()
    for protocol, port in json.loads(os.environ["PORTS"]):
        if protocol == "TCP":
            await asyncio.start_server(greet, "0.0.0.0", port)
        else:
            await loop.create_datagram_endpoint(Echo, ("0.0.0.0", port))
    open("/tmp/listening", "w").close()
    await asyncio.Event().wait()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
asyncio.run(main())
"""

# What is run in a probe: it tries [how, address, port, patience] of standard input, all at once, and prints for each
# the name that came, "connected" where only that is asked, or what happened instead, after "!".
CONNECT = """
import asyncio, json, sys
def query():
    name = b"".join(bytes([len(one)]) + one for one in b"kubernetes.default.svc.cluster.local".split(b"."))
    return bytes.fromhex("5ea501000001000000000000") + name + bytes.fromhex("0000010001")
class Ask(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer
    def datagram_received(self, data, address):
        self.answer.done() or self.answer.set_result(data)
    def error_received(self, error):
        self.answer.done() or self.answer.set_exception(error)
async def by_udp(address, port, text):
    answer = asyncio.get_running_loop().create_future()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Ask(answer), remote_addr=(address, port))
    try:
        transport.sendto(text)
        return await answer
    finally:
        transport.close()
async def attempt(how, address, port):
    if how == "UDP":
        return (await by_udp(address, port, b"who?")).decode()
    if how == "DNS/UDP":
        return "resolved" if (await by_udp(address, port, query()))[:2] == query()[:2] else "!no answer to the question"
    reader, writer = await asyncio.open_connection(address, port)
    try:
        if how == "connect":
            return "connected"
        if how == "DNS/TCP":
            writer.write(len(query()).to_bytes(2, "big") + query())
            return "resolved" if (await reader.readexactly(4))[2:] == query()[:2] else "!no answer to the question"
        return (await reader.read(200)).decode()
    finally:
        writer.close()
limit = asyncio.Semaphore(250)  # more at once are too late for their patience
async def one(how, address, port, patience):
    async with limit:
        try:
            return await asyncio.wait_for(attempt(how, address, port), patience)
        except (OSError, EOFError, TimeoutError, asyncio.TimeoutError) as error:
            return "!" + (str(error) or type(error).__name__)
async def main():
    print(json.dumps(await asyncio.gather(*(one(*target) for target in json.load(sys.stdin)))))
asyncio.run(main())
"""

Object = dict[str, Any]
Observed = dict[tuple[str, str, str, int], str]  # source, destination, protocol, port → what came, or "!" and why not


@dataclass(frozen=True)
class Probe:
    """A running probe pod: as whom it stands, and where."""

    party: Endpoint
    pod: str
    address: str

    @property
    def name(self) -> str:
        return self.party.name

    @property
    def namespace(self) -> str:
        return str(self.party.namespace)


class Field:
    """All probes, and what they see of each other and of what is really there.

    Attributes:
        probes: the probe pods.
        real: what is there anyway and is asked besides: (name, how, address, port).
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.matrix = edges.declared(PROJECT / "kustomize" / "edges.toml", edges.components_of(OVERLAY))
        objects = [
            one
            for namespace in edges.NAMESPACES
            for one in kubectl.json("-n", namespace, "get", "deployments,statefulsets,cronjobs")["items"]
        ]
        workloads = edges.workloads(objects)
        assert workloads, f"nothing of the overlay {OVERLAY.name} is on the cluster: apply it first"
        self.image = next(
            container["image"]
            for one in objects
            if one["kind"] == "Deployment" and one["metadata"]["name"] == "files"
            for container in one["spec"]["template"]["spec"]["initContainers"]
            if container["name"] == "metrics"
        )
        self.parties = [*workloads, *self._others(workloads)]
        self.ports = edges.ports_to_try(self.parties, self.matrix.edges)
        self.probes: list[Probe] = []
        self.real: list[tuple[str, str, str, int]] = []

    def _others(self, workloads: list[Endpoint]) -> list[Endpoint]:
        """Who stands outside in a namespace, and those whom a careless policy takes for somebody else."""
        outside = [
            one
            for one in edges.outsiders(self.matrix, edges.places_of(OVERLAY))
            if one.namespace is not None and one.name != "stranger"
        ]
        gateway = next(one for one in workloads if one.name == "gateway")
        return [
            *outside,
            Endpoint("stranger", "", FOREIGN),
            Endpoint("stranger labelled as gateway", "", FOREIGN, gateway.labels),
            Endpoint("pod in app-services labelled as gateway", "", "app-services", gateway.labels),
            *(Endpoint(f"unlabelled pod in {one}", "", one) for one in (*edges.NAMESPACES, "kube-system")),
        ]

    def _pod(self, number: int, party: Endpoint) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"network-probe-{number}-x",  # a number at the end would make it a StatefulSet's
                "namespace": party.namespace,
                "labels": {**party.labels, MARK: str(number)},
            },
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "securityContext": RESTRICTED_POD
                | {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
                "containers": [
                    {
                        "name": "probe",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python", "-I", "-S", "-c", LISTEN],
                        "env": [
                            {"name": "PROBE", "value": party.name},
                            {"name": "PORTS", "value": json.dumps(self.ports)},
                        ],
                        "startupProbe": {
                            "exec": {"command": ["test", "-e", "/tmp/listening"]},
                            "periodSeconds": 1,
                            "failureThreshold": 60,
                        },
                        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 60},
                        "resources": {
                            "requests": {"cpu": "1m", "memory": "16Mi"},
                            "limits": {"memory": "96Mi"},
                        },
                        "securityContext": RESTRICTED_CONTAINER,
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        }

    def _apply(self, *objects: Object) -> None:
        self.kubectl.run("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def _pods(self) -> dict[str, Object]:
        return {
            one["metadata"]["labels"][MARK]: one for one in self.kubectl.json("get", "pods", "-A", "-l", MARK)["items"]
        }

    def start(self) -> None:
        """Makes the probes and waits until each of them listens."""
        self.stop()
        present = {one["metadata"]["name"] for one in self.kubectl.json("get", "namespaces")["items"]}
        namespaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {MARK: "made"}}}
            for name in {str(party.namespace) for party in self.parties} - present  # FOREIGN, and what is not installed
        ]
        self._apply(*namespaces, *(self._pod(number, party) for number, party in enumerate(self.parties)))
        deadline = time.monotonic() + START_SECONDS
        while True:
            pods = self._pods()
            waiting = [
                party.name for number, party in enumerate(self.parties) if not _listens(pods.get(str(number), {}))
            ]
            if not waiting:
                break
            assert time.monotonic() < deadline, f"after {START_SECONDS:g} s these probes do not listen: {waiting}"
            time.sleep(1)
        self.probes = [
            Probe(party, pods[str(number)]["metadata"]["name"], pods[str(number)]["status"]["podIP"])
            for number, party in enumerate(self.parties)
        ]
        self.real = [*self._resolvers(), *self._api_servers()]

    def _resolvers(self) -> Iterator[tuple[str, str, str, int]]:
        for pod in self.kubectl.json("-n", "kube-system", "get", "pods", "-l", f"k8s-app=kube-dns,!{MARK}")["items"]:
            for protocol in ("UDP", "TCP"):
                yield "kube-dns", f"DNS/{protocol}", pod["status"]["podIP"], 53

    def _api_servers(self) -> Iterator[tuple[str, str, str, int]]:
        selector = "kubernetes.io/service-name=kubernetes"
        for part in self.kubectl.json("-n", "default", "get", "endpointslices", "-l", selector)["items"]:
            for endpoint in part["endpoints"]:
                for port in part["ports"]:
                    yield "api-server", "connect", endpoint["addresses"][0], port["port"]

    def stop(self, *, wait: bool = True) -> None:
        """Takes everything away that this test makes; its namespaces may take longer unless somebody waits."""
        namespaces = sorted({str(one.namespace) for one in self.parties} - {FOREIGN})
        self.close_again()
        with ThreadPoolExecutor(len(namespaces)) as threads:
            remove = ("delete", "pods", "-l", MARK, "--ignore-not-found")
            list(threads.map(lambda namespace: self.kubectl.run("-n", namespace, *remove), namespaces))
        self.kubectl.run("delete", "namespace", "-l", MARK, "--ignore-not-found", f"--wait={json.dumps(wait)}")

    def open_everything(self) -> None:
        """Lets everything reach the probes, and them everything."""
        for namespace in edges.NAMESPACES:
            self._apply(
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": "network-probe-open", "namespace": namespace, "labels": {MARK: "open"}},
                    "spec": {
                        "podSelector": {"matchExpressions": [{"key": MARK, "operator": "Exists"}]},
                        "policyTypes": ["Ingress", "Egress"],
                        "ingress": [{}],
                        "egress": [{}],
                    },
                }
            )

    def close_again(self) -> None:
        """Undoes `open_everything`."""
        for namespace in edges.NAMESPACES:
            self.kubectl.run("-n", namespace, "delete", "networkpolicy", "-l", MARK, "--ignore-not-found")

    def _targets(self, source: Probe) -> list[tuple[tuple[str, str, int], tuple[str, str, int, float]]]:
        """What a probe tries: ((destination, protocol, port), (how, address, port, seconds))."""
        others = [
            ((other.name, protocol, port), (protocol, other.address, port, 2.0))
            for other in self.probes
            # Neither side ours: no policy of ours says anything. To itself a pod is always open.
            if other is not source and {source.namespace, other.namespace} & set(edges.NAMESPACES)
            for protocol, port in self.ports
        ]
        real = [
            ((name, "UDP" if how == "DNS/UDP" else "TCP", port), (how, address, port, 3.0))
            for name, how, address, port in self.real
            if source.name != name
        ]
        # What is really there comes last, and so decides about its own pairs.
        return others + real

    def _look(self, source: Probe) -> Observed:
        targets = self._targets(source)
        answer = self.kubectl.run(
            *("-n", source.namespace, "exec", "-i", source.pod, "--", "python", "-I", "-S", "-c", CONNECT),
            input=json.dumps([how for _, how in targets]),
        )
        seen: Observed = {}
        for ((name, protocol, port), _), came in zip(targets, json.loads(answer.stdout), strict=True):
            expected = {"connected", "resolved", name}
            assert came.startswith("!") or came in expected, f"{source.name} asked {name}, and {came} answered"
            earlier = seen.get((source.name, name, protocol, port))
            # Several at one name (both the probe and the resolver): one of them refused, the pair is refused.
            if earlier is None or not earlier.startswith("!"):
                seen[source.name, name, protocol, port] = came
        return seen

    def observe(self) -> Observed:
        """One look from every probe at every other one and every port."""
        with ThreadPoolExecutor(4) as threads:
            return {key: came for seen in threads.map(self._look, self.probes) for key, came in seen.items()}

    def declared(self, key: tuple[str, str, str, int]) -> bool:
        """Whether a pair and port that was looked at is to be connected."""
        source = next(one for one in self.probes if one.name == key[0])
        if key[1] in {name for name, *_ in self.real} and source.namespace not in edges.NAMESPACES:
            return True  # neither is ours: only to see that it can be reached
        return key in self.matrix.edges

    def differences(self, observed: Mapping[tuple[str, str, str, int], str]) -> list[str]:
        """Where what was observed and what is declared part, a sentence for each pair and port."""
        return [
            f"{key[0]} -> {key[1]}: {key[3]}/{key[2].lower()} is declared, and: {came[1:]}"
            if self.declared(key)
            else f"{key[0]} -> {key[1]}: {key[3]}/{key[2].lower()} is connected and not declared"
            for key, came in observed.items()
            if self.declared(key) == came.startswith("!")
        ]


def _listens(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status", {})
    return bool(status.get("podIP")) and any(one.get("started") for one in status.get("containerStatuses", ()))


@pytest.fixture(scope="module")
def field(kubectl: Kubectl) -> Iterator[Field]:
    field = Field(kubectl)
    try:
        field.start()
        yield field
    finally:
        field.stop(wait=False)


def test_no_service_sends_anybody_to_pods_that_are_not_ready(kubectl: Kubectl) -> None:
    for namespace in edges.NAMESPACES:
        services = kubectl.json("-n", namespace, "get", "services")["items"]
        careless = [one["metadata"]["name"] for one in services if one["spec"].get("publishNotReadyAddresses")]
        assert careless == []


def _observed(field: Field, settled: Callable[[Observed], bool]) -> Observed:
    """Looks until it is settled, or the network has had its time to know of new pods and policies."""
    deadline = time.monotonic() + AGREE_SECONDS
    while True:
        observed = field.observe()
        if settled(observed) or time.monotonic() > deadline:
            return observed


@pytest.mark.timeout(300)
def test_probes_that_a_policy_opens_reach_each_other_at_every_port(field: Field) -> None:
    """The canary: what the next test sees refused is refused by policies, and a leak would be seen and named."""
    field.open_everything()
    try:
        observed = _observed(field, lambda seen: not any(came.startswith("!") for came in seen.values()))
    finally:
        field.close_again()
    assert {key: came for key, came in observed.items() if came.startswith("!")} == {}
    leaks = field.differences(observed)
    assert "stranger -> postgres: 5432/tcp is connected and not declared" in leaks
    assert len(leaks) == len(observed) - sum(map(field.declared, observed))


@pytest.mark.timeout(300)
def test_the_observed_network_is_the_declared_one(field: Field) -> None:
    observed = _observed(field, lambda seen: not field.differences(seen))
    found = field.differences(observed)
    assert not found, "\n".join([f"{len(found)} differences from kustomize/edges.toml:", *found[:40]])
    refused = {(protocol, port) for (_, _, protocol, port), came in observed.items() if came.startswith("!")}
    assert refused >= set(field.ports)
    not_here = {"internet", "lan", "instance-metadata"}  # addresses that no test may ask
    looked_at = {edge for edge in field.matrix.edges if not not_here & {*edge[:2]} and edge[0] != edge[1]}
    assert looked_at <= set(observed), "an edge is declared and nobody looked at it"
