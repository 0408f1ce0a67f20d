"""The NetworkPolicies of every overlay come to exactly what kustomize/edges.toml declares, for all pairs and ports."""

from __future__ import annotations

import copy
import itertools
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kustomize import combinations, edges, trees
from tests.kustomize.conftest import TREES
from tests.kustomize.edges import Edge
from tests.kustomize.network_policy import Endpoint, Network, selects
from tests.kustomize.objects import Objects, label

Object = dict[str, Any]
GUARDED = (
    *trees.OVERLAYS,
    *(combinations.title(one) for one in combinations.covering() if "network-policies" in one),
)


@dataclass(frozen=True)
class Overlay:
    """An overlay: what it renders to, what is declared for it, and everybody who takes part."""

    objects: list[Object]
    matrix: edges.Matrix
    places: dict[str, str]
    workloads: list[Endpoint]
    outsiders: list[Endpoint]

    @property
    def everybody(self) -> list[Endpoint]:
        known = [*self.workloads, *self.outsiders]
        return [*known, *edges.lookalikes(known)]

    def to_strangers(self) -> set[edges.Edge]:
        """What is declared towards `stranger` holds for every pod that is not ours, whatever its labels say."""
        foreign = [one.name for one in edges.lookalikes([*self.workloads, *self.outsiders]) if not ours(one)]
        to = {edge for edge in self.matrix.edges if edge[1] == "stranger"}
        return {(source, name, protocol, port) for source, _, protocol, port in to for name in foreign}


@pytest.fixture
def overlay_of(folder_of: Callable[[str], Path], built: Callable[[str], Objects]) -> Callable[[str], Overlay]:
    """A tree by its name, with what is declared for it."""

    def read(name: str) -> Overlay:
        folder, objects = folder_of(name), built(name).all
        matrix = edges.declared(folder.parents[1] / "edges.toml", edges.components_of(folder))
        places = edges.places_of(folder)
        return Overlay(objects, matrix, places, edges.workloads(objects), edges.outsiders(matrix, places))

    return read


def network(objects: list[Object], *, blocks_match_pods: bool = True) -> Network:
    namespaces = {o["metadata"]["name"]: o["metadata"].get("labels", {}) for o in objects if o["kind"] == "Namespace"}
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    return Network(policies, namespaces, blocks_match_pods=blocks_match_pods)


def ours(one: Endpoint) -> bool:
    return one.namespace in edges.NAMESPACES


def differences(overlay: Overlay, objects: list[Object] | None = None) -> list[str]:
    """Where the policies and the declaration part, a sentence for each pair and port.

    A side that is wider than what is declared is a difference although the other side refuses the connection. (Only an
    address range may be: it cannot leave out the addresses of pods.)
    """
    objects = overlay.objects if objects is None else objects
    rules, by_selectors = network(objects), network(objects, blocks_match_pods=False)
    declared = overlay.matrix.edges | overlay.to_strangers()
    everybody = overlay.everybody
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    ports = edges.ports_that_stand_for_all(edges.ports_to_try(everybody, declared), policies)
    found = []
    for source, destination in itertools.product(everybody, repeat=2):
        if not (ours(source) or ours(destination)):
            continue
        for protocol, port in ports:
            way = f"{source.name} -> {destination.name}: {port}/{protocol.lower()}"
            leaves = rules.leaves(source, destination, port, protocol)
            enters = rules.enters(source, destination, port, protocol)
            if (source.name, destination.name, protocol, port) in declared:
                sides = [] if leaves else [f"egress of {source.name}"]
                sides += [] if enters else [f"ingress of {destination.name}"]
                if sides:
                    found.append(f"{way} is declared and refused by {' and '.join(sides)}")
            elif leaves and enters:
                found.append(f"{way} is allowed and not declared")
            elif ours(source) and leaves and by_selectors.leaves(source, destination, port, protocol):
                found.append(f"{way} is not declared, and only ingress of {destination.name} refuses it")
            elif ours(destination) and enters and by_selectors.enters(source, destination, port, protocol):
                found.append(f"{way} is not declared, and only egress of {source.name} refuses it")
    return found


def report(found: list[str]) -> str:
    return "\n".join([f"{len(found)} differences from kustomize/edges.toml:", *found[:40]])


@pytest.mark.parametrize("name", GUARDED)
def test_policies_allow_what_is_declared_and_nothing_else(overlay_of: Callable[[str], Overlay], name: str) -> None:
    found = differences(overlay_of(name))
    assert not found, report(found)


@pytest.mark.parametrize("name", [name for name in TREES if name not in GUARDED])
def test_without_the_component_of_policies_there_is_none(built: Callable[[str], Objects], name: str) -> None:
    assert [label(one) for one in built(name).of("NetworkPolicy")] == []


@pytest.mark.parametrize("name", trees.OVERLAYS)
def test_an_overlay_without_its_components_of_policies_has_none(kustomize: Path, name: str) -> None:
    folder = kustomize / "overlays" / f"{name}-without-policies"
    shutil.copytree(kustomize / "overlays" / name, folder)
    try:
        file = folder / "kustomization.yaml"
        document = yaml.safe_load(file.read_text())
        document["components"] = [each for each in document["components"] if Path(each).name != "network-policies"]
        file.write_text(yaml.safe_dump(document))
        assert [label(one) for one in trees.build(folder) if one["kind"] == "NetworkPolicy"] == []
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", GUARDED)
def test_every_name_in_a_declared_edge_is_a_workload_or_stands_outside(
    overlay_of: Callable[[str], Overlay], folder_of: Callable[[str], Path], name: str
) -> None:
    overlay = overlay_of(name)
    named = {party for source, destination, _, _ in overlay.matrix.edges for party in (source, destination)}
    known = {party.name for party in (*overlay.workloads, *overlay.outsiders)}
    # A component may name one that is not there: «images, console, jobs -> internet».
    absent = {"console"} - edges.components_of(folder_of(name))
    assert named - known - absent == set()


@pytest.mark.parametrize("name", ["ci", "production"])
def test_no_two_participants_have_the_same_name(overlay_of: Callable[[str], Overlay], name: str) -> None:
    names = [one.name for one in overlay_of(name).everybody]
    assert sorted(names) == sorted(set(names))


def selecting_nobody(objects: list[Object], known: list[Endpoint]) -> list[str]:
    """The policies that select none of these participants."""
    return [
        label(one)
        for one in objects
        if one["kind"] == "NetworkPolicy"
        and not any(
            party.namespace == one["metadata"]["namespace"] and selects(one["spec"]["podSelector"], party.labels)
            for party in known
        )
    ]


@pytest.mark.parametrize("name", GUARDED)
def test_every_policy_selects_somebody_who_is_known(overlay_of: Callable[[str], Overlay], name: str) -> None:
    # The policies of the console are there without it, too.
    console = [one for one in overlay_of("ci").workloads if one.name == "console"]
    assert len(console) == 1
    assert selecting_nobody(overlay_of(name).objects, [*overlay_of(name).workloads, *console]) == []


def test_a_policy_for_labels_that_nobody_has_is_named(overlay_of: Callable[[str], Overlay]) -> None:
    overlay = overlay_of("production")
    objects = copy.deepcopy(overlay.objects)
    policy(objects, "acme-from-ingress")["spec"]["podSelector"]["matchLabels"] = {"acme.cert-manager.io/solver": "true"}
    found = selecting_nobody(objects, overlay.workloads)
    assert len(found) == 1
    assert found[0].endswith("/acme-from-ingress")


def test_every_section_of_the_matrix_belongs_to_a_component(kustomize: Path) -> None:
    sections = tomllib.loads((kustomize / "edges.toml").read_text())["component"]
    places = [kustomize / "components", kustomize / "overlays"]
    assert [name for name in sections if not any((place / name).is_dir() for place in places)] == []


@pytest.mark.parametrize("name", GUARDED)
def test_the_places_of_an_overlay_reach_policies_and_ingresses_and_their_configmap_stays_behind(
    overlay_of: Callable[[str], Overlay], name: str
) -> None:
    overlay = overlay_of(name)
    selected = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for one in overlay.objects
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"].get("ingress") or ()
        for peer in rule.get("from") or ()
        if "namespaceSelector" in peer
    }
    assert {overlay.places["INGRESS_NAMESPACE"], overlay.places["MONITORING_NAMESPACE"]} <= selected
    assert not [one for one in selected if one.endswith("-namespace")], "a placeholder is left"
    classes = {one["spec"].get("ingressClassName") for one in overlay.objects if one["kind"] == "Ingress"}
    assert classes <= {overlay.places["INGRESS_CLASS"]}
    names = [one["metadata"]["name"] for one in overlay.objects if one["kind"] == "ConfigMap"]
    assert not [one for one in names if one.startswith("places")]


# What goes wrong with policies by hand, each done to the real ones: the comparison must tell.


def policy(objects: list[Object], name: str) -> Object:
    return next(o for o in objects if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == name)


def or_instead_of_and(objects: list[Object]) -> None:
    peer = policy(objects, "auth")["spec"]["ingress"][0]["from"][0]
    peers = policy(objects, "auth")["spec"]["ingress"][0]["from"]
    peers[:1] = [{"namespaceSelector": peer["namespaceSelector"]}, {"podSelector": peer["podSelector"]}]


def or_instead_of_and_for_names(objects: list[Object]) -> None:
    rule = policy(objects, "gateway")["spec"]["egress"][-1]
    rule["to"] = [{key: value} for key, value in rule["to"][0].items()]


def no_egress_side(objects: list[Object]) -> None:
    spec = policy(objects, "gateway")["spec"]
    spec["egress"] = [rule for rule in spec["egress"] if rule["ports"][0]["port"] != 8001]


def no_ingress_side(objects: list[Object]) -> None:
    policy(objects, "images")["spec"]["ingress"] = []


def names_by_udp_only(objects: list[Object]) -> None:
    del policy(objects, "auth")["spec"]["egress"][-1]["ports"][1]


def prometheus_forgotten(objects: list[Object]) -> None:
    objects.remove(policy(objects, "files-from-monitoring"))


def prometheus_at_every_port(objects: list[Object]) -> None:
    del policy(objects, "files-from-monitoring")["spec"]["ingress"][0]["ports"]


def everybody_may_come(objects: list[Object]) -> None:
    policy(objects, "postgres")["spec"]["ingress"][0]["from"] = []


def the_whole_namespace_may_come(objects: list[Object]) -> None:
    policy(objects, "postgres")["spec"]["ingress"][0]["from"] = [{"podSelector": {}}]


def a_wide_range_of_ports(objects: list[Object]) -> None:
    policy(objects, "auth")["spec"]["ingress"][0]["ports"][0]["endPort"] = 9001


def no_default_deny(objects: list[Object]) -> None:
    for one in [o for o in objects if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "default-deny"]:
        objects.remove(one)


def egress_not_among_the_types(objects: list[Object]) -> None:
    for name in ("default-deny", "files"):
        for one in [o for o in objects if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == name]:
            del one["spec"]["policyTypes"]


def the_internet_by_an_address_range(objects: list[Object]) -> None:
    policy(objects, "images")["spec"]["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})


def more(objects: list[Object], name: str, direction: str, **rule: Any) -> None:
    spec = policy(objects, name)["spec"]
    spec.setdefault(direction, []).append(rule)


def anybody_may_come_at_a_port_of_nobody(objects: list[Object]) -> None:
    more(objects, "auth", "ingress", ports=[{"port": 8443}])


def anybody_may_come_by_udp(objects: list[Object]) -> None:
    more(objects, "auth", "ingress", ports=[{"protocol": "UDP", "port": 9999}])


def leaving_at_a_range_between_the_ports(objects: list[Object]) -> None:
    more(objects, "auth", "egress", ports=[{"port": 1024, "endPort": 4999}])


def leaving_at_the_last_ports(objects: list[Object]) -> None:
    ports = [{"port": 25}, {"port": 3306}, {"port": 10000, "endPort": 65535}]
    more(objects, "gateway", "egress", to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}], ports=ports)


def a_range_from_one_declared_port_to_another(objects: list[Object]) -> None:
    policy(objects, "gateway")["spec"]["egress"] += [
        {"to": rule["to"], "ports": [{"port": 8000, "endPort": 8001}]}
        for rule in policy(objects, "gateway")["spec"]["egress"]
        if rule["ports"][0]["port"] == 8001
    ]


def leaving_by_sctp(objects: list[Object]) -> None:
    more(objects, "gateway", "egress", ports=[{"protocol": "SCTP"}])


def all_of_ipv6(objects: list[Object]) -> None:
    more(objects, "images", "egress", to=[{"ipBlock": {"cidr": "::/0"}}])


def the_public_part_of_ipv6(objects: list[Object]) -> None:
    more(objects, "images", "egress", to=[{"ipBlock": {"cidr": "2000::/3"}}], ports=[{"port": 443}])


def the_private_part_of_ipv6(objects: list[Object]) -> None:
    more(objects, "images", "egress", to=[{"ipBlock": {"cidr": "fc00::/7"}}], ports=[{"port": 443}])


def from_all_of_ipv6(objects: list[Object]) -> None:
    peer = {"ipBlock": {"cidr": "::/0"}}
    policy(objects, "postgres")["spec"]["ingress"][0]["from"].append(peer)


def a_label_misspelt(objects: list[Object]) -> None:
    policy(objects, "postgres-exporter")["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] = "exporter"


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (or_instead_of_and, "unlabelled pod in frontend-service -> auth: 8001/tcp"),
        (or_instead_of_and_for_names, "gateway -> unlabelled pod in kube-system: 53/tcp is allowed"),
        (no_egress_side, "gateway -> auth: 8001/tcp is declared and refused by egress of gateway"),
        (no_ingress_side, "gateway -> images: 8002/tcp is declared and refused by ingress of images"),
        (names_by_udp_only, "auth -> kube-dns: 53/tcp is declared and refused by egress of auth"),
        (prometheus_forgotten, "monitoring -> files: 9003/tcp is declared and refused by ingress of files"),
        (prometheus_at_every_port, "monitoring -> files: 8003/tcp is allowed and not declared"),
        (everybody_may_come, "stranger -> postgres: 5432/tcp is allowed and not declared"),
        (the_whole_namespace_may_come, "files -> postgres: 5432/tcp is not declared, and only egress of files refuses"),
        (a_wide_range_of_ports, "gateway -> auth: 9001/tcp is not declared, and only egress of gateway refuses it"),
        (no_default_deny, "stranger -> unlabelled pod in app-services: 22/tcp is allowed and not declared"),
        (egress_not_among_the_types, "files -> internet: 443/tcp is allowed and not declared"),
        (the_internet_by_an_address_range, "images -> instance-metadata: 80/tcp is allowed and not declared"),
        (anybody_may_come_at_a_port_of_nobody, "gateway -> auth: 8443/tcp is not declared, and only egress of gateway"),
        (anybody_may_come_by_udp, "stranger -> auth: 9999/udp is allowed and not declared"),
        (leaving_at_a_range_between_the_ports, "auth -> internet: 1024/tcp is allowed and not declared"),
        (leaving_at_the_last_ports, "gateway -> internet: 25/tcp is allowed and not declared"),
        (leaving_at_the_last_ports, "gateway -> carrier-nat: 65535/tcp is allowed and not declared"),
        (a_range_from_one_declared_port_to_another, "gateway -> auth: 8000/tcp is not declared, and only ingress of"),
        (leaving_by_sctp, "gateway -> internet: 1/sctp is allowed and not declared"),
        (all_of_ipv6, "images -> internet6: 443/tcp is allowed and not declared"),
        (the_public_part_of_ipv6, "images -> internet6: 443/tcp is allowed and not declared"),
        (the_private_part_of_ipv6, "images -> lan6: 443/tcp is allowed and not declared"),
        (from_all_of_ipv6, "internet6 -> postgres: 5432/tcp is allowed and not declared"),
        (a_label_misspelt, "postgres-exporter -> postgres: 5432/tcp is declared and refused by egress of"),
    ],
)
def test_a_mistake_in_the_policies_is_named_with_pair_and_port(
    overlay_of: Callable[[str], Overlay], mistake: Callable[[list[Object]], None], expected: str
) -> None:
    overlay = overlay_of("ci")
    objects = copy.deepcopy(overlay.objects)
    mistake(objects)
    found = differences(overlay, objects)
    assert [one for one in found if one.startswith(expected)], report(found)


def ours_labels_for_the_operators(objects: list[Object]) -> None:
    labels = {"app.kubernetes.io/name": "postgres", "app.kubernetes.io/component": "database"}
    policy(objects, "postgres-instances-and-jobs")["spec"]["podSelector"]["matchLabels"] = labels


def the_jobs_not_admitted(objects: list[Object]) -> None:
    peer = policy(objects, "postgres-instances")["spec"]["ingress"][0]["from"][0]
    peer["podSelector"]["matchLabels"]["cnpg.io/podRole"] = "instance"


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (ours_labels_for_the_operators, "postgres-job -> api-server: 443/tcp is declared and refused by egress of"),
        (ours_labels_for_the_operators, "postgres-job -> postgres: 5432/tcp is declared and refused by egress of"),
        (the_jobs_not_admitted, "postgres-job -> postgres: 8000/tcp is declared and refused by ingress of postgres"),
    ],
)
def test_a_job_of_the_operator_that_our_labels_do_not_reach_is_named(
    overlay_of: Callable[[str], Overlay], mistake: Callable[[list[Object]], None], expected: str
) -> None:
    overlay = overlay_of("production")
    objects = copy.deepcopy(overlay.objects)
    mistake(objects)
    found = differences(overlay, objects)
    assert [one for one in found if one.startswith(expected)], report(found)


def test_an_exception_of_an_address_range_that_was_forgotten_is_named(overlay_of: Callable[[str], Overlay]) -> None:
    overlay = overlay_of("production")
    objects = copy.deepcopy(overlay.objects)
    block = policy(objects, "images-to-object-store")["spec"]["egress"][0]["to"][0]["ipBlock"]
    block["except"].remove("100.64.0.0/10")
    assert differences(overlay, objects) == ["images -> carrier-nat: 443/tcp is allowed and not declared"]


def test_ports_stand_for_all_of_each_protocol() -> None:
    rules = [{"ports": [{"port": 8000, "endPort": 8010}, {"port": "web"}, {"protocol": "UDP"}]}, {}]
    last = [{"ports": [{"port": 65535, "protocol": "UDP"}]}]
    policies: list[Object] = [{"spec": {"ingress": rules}}, {"spec": {"egress": last}}]
    tcp = {("TCP", number) for number in (1, 53, 54, 8000, 8001, 8010, 8011)}
    others = {("UDP", 1), ("UDP", 65535), ("SCTP", 1)}
    assert set(edges.ports_that_stand_for_all([("TCP", 53)], policies)) == tcp | others


# The evaluator by itself.


POD = Endpoint("pod", "10.0.0.1", "ours", {"app": "a"}, {("web", "TCP"): 8000})
OTHER = Endpoint("other", "10.0.0.2", "ours", {"app": "b"})
FOREIGN = Endpoint("foreign", "10.0.0.3", "theirs", {"app": "b"})
OUTSIDE = Endpoint("outside", "203.0.113.9")


def only(spec: Object, namespace: str = "ours") -> Network:
    return Network([{"metadata": {"name": "one", "namespace": namespace}, "spec": {"podSelector": {}, **spec}}])


def entering(spec: Object, port: int = 8000, protocol: str = "TCP") -> list[str]:
    """Who of the three others enters POD under one policy that selects every pod of its namespace."""
    rules = only(spec)
    return [one.name for one in (OTHER, FOREIGN, OUTSIDE) if rules.enters(one, POD, port, protocol)]


THEIRS = {"matchLabels": {"kubernetes.io/metadata.name": "theirs"}}
B = {"matchLabels": {"app": "b"}}
EVERYBODY = ["other", "foreign", "outside"]


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ([], []),
        (None, []),
        ([{}], EVERYBODY),
        ([{"from": []}], EVERYBODY),
        ([{"from": None}], EVERYBODY),
        ([{"from": [{"podSelector": {}}]}], ["other"]),
        ([{"from": [{"namespaceSelector": {}}]}], ["other", "foreign"]),
        ([{"from": [{"namespaceSelector": {}, "podSelector": {}}]}], ["other", "foreign"]),
        ([{"from": [{"podSelector": B}]}], ["other"]),
        ([{"from": [{"namespaceSelector": THEIRS, "podSelector": B}]}], ["foreign"]),
        ([{"from": [{"namespaceSelector": THEIRS, "podSelector": {"matchLabels": {"app": "c"}}}]}], []),
        ([{"from": [{"namespaceSelector": THEIRS}, {"podSelector": B}]}], ["other", "foreign"]),
        ([{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}], ["outside"]),
        ([{"from": [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/30"]}}]}], []),
        ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/31"]}}]}], EVERYBODY),
        ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/30"]}}]}], ["outside"]),
        ([{"from": [{"ipBlock": {"cidr": "::/0"}}]}], []),
        ([{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]}], ["other"]),
        (
            [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]}}]}],
            [],
        ),
        (
            [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b"]}]}}]}],
            ["other"],
        ),
        (
            [{"from": [{"podSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}]}],
            ["other"],
        ),
    ],
)
def test_peers_are_matched_as_the_api_says(ingress: Any, expected: list[str]) -> None:
    assert entering({"policyTypes": ["Ingress"], "ingress": ingress}) == expected


@pytest.mark.parametrize(
    ("ports", "open_ports"),
    [
        ([], {("TCP", 8000), ("TCP", 8001), ("UDP", 8000)}),
        ([{"port": 8000}], {("TCP", 8000)}),
        ([{"protocol": "UDP", "port": 8000}], {("UDP", 8000)}),
        ([{"protocol": "TCP"}], {("TCP", 8000), ("TCP", 8001)}),
        ([{"port": "web"}], {("TCP", 8000)}),
        ([{"port": "web", "protocol": "UDP"}], set()),
        ([{"port": "management"}], set()),
        ([{"port": 7000, "endPort": 8000}], {("TCP", 8000)}),
        ([{"port": 8000, "endPort": 8001}], {("TCP", 8000), ("TCP", 8001)}),
        ([{"port": 8001}, {"port": 8000, "protocol": "UDP"}], {("TCP", 8001), ("UDP", 8000)}),
    ],
)
def test_ports_are_matched_as_the_api_says(ports: Any, open_ports: set[tuple[str, int]]) -> None:
    spec = {"policyTypes": ["Ingress"], "ingress": [{"ports": ports}]}
    tried = {("TCP", 8000), ("TCP", 8001), ("UDP", 8000)}
    assert {(protocol, port) for protocol, port in tried if entering(spec, port, protocol)} == open_ports


def test_a_named_port_of_an_egress_rule_is_looked_up_at_the_destination() -> None:
    rules = only({"policyTypes": ["Egress"], "egress": [{"ports": [{"port": "web"}]}]})
    assert [rules.allows(OTHER, POD, 8000), rules.allows(POD, OTHER, 8000)] == [True, False]


@pytest.mark.parametrize(
    ("spec", "ingress_is_restricted", "egress_is_restricted"),
    [
        ({}, True, False),
        ({"egress": []}, True, False),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}, True, True),
        ({"policyTypes": ["Egress"]}, False, True),
        ({"policyTypes": ["Ingress", "Egress"]}, True, True),
        ({"policyTypes": ["Egress"], "ingress": []}, False, True),
    ],
)
def test_policy_types_left_out_mean_ingress_and_egress_only_with_rules_for_it(
    spec: Object, ingress_is_restricted: bool, egress_is_restricted: bool
) -> None:
    rules = only(spec)
    assert rules.enters(OUTSIDE, POD, 8000) is not ingress_is_restricted
    assert rules.leaves(POD, OUTSIDE, 8000) is not egress_is_restricted


def test_a_connection_needs_the_egress_of_one_and_the_ingress_of_the_other() -> None:
    to_theirs = [{"to": [{"namespaceSelector": THEIRS}]}]
    leaving = {"metadata": {"name": "out", "namespace": "ours"}, "spec": {"podSelector": {}, "egress": to_theirs}}
    closed = {
        "metadata": {"name": "in", "namespace": "theirs"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    assert Network([leaving]).allows(POD, FOREIGN, 80)
    assert not Network([leaving, closed]).allows(POD, FOREIGN, 80)
    assert not Network([leaving]).allows(POD, OTHER, 80)


def test_pods_that_no_policy_selects_are_open_in_both_directions() -> None:
    rules = only({"podSelector": B, "policyTypes": ["Ingress", "Egress"]})
    assert rules.allows(OUTSIDE, POD, 8000)
    assert rules.allows(POD, OUTSIDE, 8000)
    assert rules.allows(FOREIGN, POD, 8000), "the policy of one namespace selects no pod of another"
    assert not rules.enters(POD, OTHER, 8000)


def test_policies_add_up() -> None:
    deny = {"metadata": {"name": "deny", "namespace": "ours"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    allow = copy.deepcopy(deny)
    allow["spec"]["ingress"] = [{"from": [{"podSelector": B}]}]
    for both in ([deny, allow], [allow, deny]):
        assert Network(both).enters(OTHER, POD, 1)
        assert not Network(both).enters(FOREIGN, POD, 1)


@pytest.mark.parametrize(
    ("peer", "message"),
    [
        ({}, "a peer must have one or two of"),
        ({"pods": {}}, "a peer must have one or two of"),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}, "ipBlock must stand alone"),
    ],
)
def test_a_peer_that_the_api_server_refuses_is_no_peer(peer: Object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        only({"ingress": [{"from": [peer]}]})


@pytest.mark.parametrize(
    "line",
    ["auth postgres: 5432", "auth -> postgres", "auth -> postgres: web", "-> b: 1", "a -> b: 53/sctp", "a -> b: 0"],
)
def test_a_line_of_the_matrix_that_cannot_be_read_is_quoted(line: str) -> None:
    with pytest.raises(edges.BadMatrix, match=f"«{line}»"):
        list(edges.edges_of(line, {}))


def test_a_line_of_the_matrix_names_groups_and_several_ports() -> None:
    def read_line() -> Iterator[Edge]:
        return edges.edges_of("a, g -> b: 1, 53/udp", {"g": ["c", "d"]})

    assert set(read_line()) == {(s, "b", *p) for s in "acd" for p in (("TCP", 1), ("UDP", 53))}
