"""What NetworkPolicies allow: the semantics of networking.k8s.io/v1, computed without a cluster.

https://kubernetes.io/docs/concepts/services-networking/network-policies/. The API leaves to the network plug-in whether
an address range (`ipBlock`) matches pods: here it does, unless told otherwise.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Somebody who connects or is connected to.

    Attributes:
        name: how messages call it.
        address: its IP address.
        namespace: None for what is no pod.
        labels: of the pod.
        ports: (name, protocol) → number, for policies that name a port.
    """

    name: str
    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, self.address))


class Unreadable(ValueError):
    """A policy that the API server would refuse."""


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; the empty one matches everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for requirement in selector.get("matchExpressions") or ():
        key, operator, values = requirement["key"], requirement["operator"], requirement.get("values") or ()
        match operator:
            case "In":
                holds = key in labels and labels[key] in values
            case "NotIn":
                holds = labels.get(key) not in values
            case "Exists":
                holds = key in labels
            case "DoesNotExist":
                holds = key not in labels
            case _:
                raise Unreadable(f"operator {operator} of a label selector")
        if not holds:
            return False
    return True


def _in_block(block: Object, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip in ipaddress.ip_network(block["cidr"]) and not any(
        ip in ipaddress.ip_network(hole) for hole in block.get("except") or ()
    )


def _port_matches(rule: Object, destination: Endpoint, port: int, protocol: str) -> bool:
    if rule.get("protocol", "TCP") != protocol:
        return False
    wanted = rule.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return destination.ports.get((wanted, protocol)) == port
    return int(wanted) <= port <= int(rule.get("endPort", wanted))


class Network:
    """The policies of some manifests, ready to be asked.

    Args:
        policies: NetworkPolicy objects, each with a namespace.
        namespaces: name → labels. Every namespace has its name as label `kubernetes.io/metadata.name`, as the API
            server sees to.
        blocks_match_pods: whether address ranges match the addresses of pods.

    Raises:
        Unreadable: a policy that the API server would refuse.
    """

    def __init__(
        self,
        policies: Iterable[Object],
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        *,
        blocks_match_pods: bool = True,
    ) -> None:
        self._namespaces = dict(namespaces or {})
        self._blocks_match_pods = blocks_match_pods
        self._directions: dict[str, list[tuple[Object, Object]]] = {"Ingress": [], "Egress": []}
        self._rules: dict[tuple[str, Endpoint, Endpoint], list[Object]] = {}  # as they were asked for
        for policy in policies:
            spec = policy["spec"]
            types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
            for direction in types:
                self._directions[direction].append((policy["metadata"], spec))
            for key, side in (("ingress", "from"), ("egress", "to")):
                for rule in spec.get(key) or ():
                    for peer in rule.get(side) or ():
                        _check_peer(policy, peer)

    def _namespace_labels(self, namespace: str) -> Mapping[str, str]:
        return {**self._namespaces.get(namespace, {}), "kubernetes.io/metadata.name": namespace}

    def _peer_matches(self, peer: Object, policy_namespace: str, other: Endpoint) -> bool:
        if (block := peer.get("ipBlock")) is not None:
            return (self._blocks_match_pods or other.namespace is None) and _in_block(block, other.address)
        if other.namespace is None:
            return False
        if (of_namespace := peer.get("namespaceSelector")) is not None:
            if not selects(of_namespace, self._namespace_labels(other.namespace)):
                return False
        elif other.namespace != policy_namespace:
            return False
        return selects(peer.get("podSelector") or {}, other.labels)

    def _side_allows(
        self, direction: str, here: Endpoint, other: Endpoint, destination: Endpoint, port: int, protocol: str
    ) -> bool:
        way = (direction, here, other)
        if way not in self._rules:
            self._rules[way] = self._rules_between(*way)
        return any(
            not rule.get("ports")
            or any(_port_matches(allowed, destination, port, protocol) for allowed in rule["ports"])
            for rule in self._rules[way]
        )

    def _rules_between(self, direction: str, here: Endpoint, other: Endpoint) -> list[Object]:
        """The rules of one side that admit the other; where no policy selects this side, one that admits everything."""
        rules_key, peers_key = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        applying = [
            (metadata, spec)
            for metadata, spec in self._directions[direction]
            if metadata["namespace"] == here.namespace and selects(spec.get("podSelector") or {}, here.labels)
        ]
        if not applying:
            return [{}]
        return [
            rule
            for metadata, spec in applying
            for rule in spec.get(rules_key) or ()
            if not rule.get(peers_key)
            or any(self._peer_matches(peer, metadata["namespace"], other) for peer in rule[peers_key])
        ]

    def leaves(self, source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP") -> bool:
        """Whether the policies of the source let the connection out."""
        return self._side_allows("Egress", source, destination, destination, port, protocol)

    def enters(self, source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP") -> bool:
        """Whether the policies of the destination let the connection in."""
        return self._side_allows("Ingress", destination, source, destination, port, protocol)

    def allows(self, source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection comes about: it must leave and enter."""
        return self.leaves(source, destination, port, protocol) and self.enters(source, destination, port, protocol)


def _check_peer(policy: Object, peer: Object) -> None:
    known = {"ipBlock", "namespaceSelector", "podSelector"}
    name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
    given = {key for key, value in peer.items() if value is not None}
    if not given or not known >= given:
        raise Unreadable(f"NetworkPolicy {name}: a peer must have one or two of {', '.join(sorted(known))}")
    if "ipBlock" in given and len(given) > 1:
        raise Unreadable(f"NetworkPolicy {name}: ipBlock must stand alone in its peer")
