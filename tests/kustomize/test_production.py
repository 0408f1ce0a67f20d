"""Overlay `production`: what a person edits reaches every place, and nothing without a password is public."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kustomize import combinations, trees
from tests.kustomize.objects import Object, Objects, label
from tests.kustomize.rules import RULES, inspect

OVERLAY = Path("overlays") / "production"
COMPONENTS = "../../components/"
MONITORING = ("monitoring", "tls-cert-manager/monitoring")
GATEWAY = ("gateway-api", "gateway-api/monitoring")
# Variants of the overlay: the components that it loses, and those that it gains behind the TLS components.
VARIANTS = {
    "as it is": ((), ()),
    "without monitoring": (MONITORING, ()),
    "with gateway-api": ((), GATEWAY),
    "with gateway-api and without monitoring": (MONITORING, GATEWAY[:1]),
}
PLACEHOLDERS = re.compile(r"\w\.local\b|example\.com|^(ingress|gateway)-class$|^\w+-namespace$|^registry/|^us-east-1$")

Render = Callable[[str], tuple[Objects, dict[str, str]]]


def edited(file: Path) -> dict[str, str]:
    """Gives every variable of a file a value of its own, as whoever takes the overlay does; returns them."""
    names = [line.partition("=")[0] for line in file.read_text().splitlines() if not line.startswith("#")]
    values = {name: f"{name.lower().replace('_', '-')}.operator.test" for name in names}
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return values


@pytest.fixture(scope="module")
def render(kustomize: Path) -> Render:
    """A variant of `production` that somebody has edited, with the values that were given to it."""
    done: dict[str, tuple[Objects, dict[str, str]]] = {}

    def variant(name: str) -> tuple[Objects, dict[str, str]]:
        if name not in done:
            lost, gained = VARIANTS[name]
            folder = kustomize / "overlays" / "edited"
            shutil.copytree(kustomize / OVERLAY, folder)
            try:
                file = folder / "kustomization.yaml"
                document = yaml.safe_load(file.read_text())
                kept = [each for each in document["components"] if each.removeprefix(COMPONENTS) not in lost]
                behind_tls = kept.index(f"{COMPONENTS}registry-credentials")
                kept[behind_tls:behind_tls] = [f"{COMPONENTS}{each}" for each in gained]
                document["components"] = kept
                file.write_text(yaml.safe_dump(document))
                values = edited(folder / "production.env")
                values |= edited(folder / "places.env")
                if gained:
                    with (folder / "places.env").open("a") as more:
                        more.writelines(f"{key}={value}\n" for key, value in combinations.PLACES["gateway-api"].items())
                done[name] = Objects(name, trees.build(folder)), values
            finally:
                shutil.rmtree(folder)
        return done[name]

    return variant


def strings(value: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def hosts(thing: Object) -> list[str]:
    """The hosts that an Ingress, Certificate, HTTPRoute or Gateway names."""
    spec = thing["spec"]
    found = [rule["host"] for rule in spec.get("rules", ()) if "host" in rule]
    found += [host for entry in spec.get("tls", ()) for host in entry["hosts"]]
    found += [listener["hostname"] for listener in spec.get("listeners", ()) if "hostname" in listener]
    return [*found, *spec.get("hostnames", ()), *spec.get("dnsNames", ())]


@pytest.mark.parametrize("name", VARIANTS)
def test_no_host_or_placeholder_of_ours_is_left(render: Render, name: str) -> None:
    objects, _ = render(name)
    nginx = {"files-nginx", "files-metrics"}  # programs and their configuration, not places
    left = [
        f"{label(thing)}: {text}"
        for thing in objects.all
        if not any(thing["metadata"]["name"].startswith(each) for each in nginx)
        for text in strings(thing)
        if PLACEHOLDERS.search(text)
    ]
    assert left == []


@pytest.mark.parametrize("name", VARIANTS)
def test_every_value_that_is_edited_reaches_an_object(render: Render, name: str) -> None:
    objects, values = render(name)
    text = "\n".join(text for thing in objects.all for text in strings(thing))
    absent = {"GRAFANA_HOST"} if "without monitoring" in name else set()
    assert {key for key, value in values.items() if value not in text} == absent


@pytest.mark.parametrize("name", VARIANTS)
def test_every_host_is_served_and_certified_alike(render: Render, name: str) -> None:
    objects, values = render(name)
    wanted = {value for key, value in values.items() if key.endswith("_HOST")}
    wanted -= {values["GRAFANA_HOST"]} if "without monitoring" in name else set()
    serving = ("HTTPRoute", "Gateway") if "gateway-api" in name else ("Ingress",)
    assert not objects.of("Ingress") or serving == ("Ingress",)
    for kind in (*serving, "Certificate"):
        assert {host for thing in objects.of(kind) for host in hosts(thing)} == wanted, kind


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_public_leads_to_alertmanager(render: Render, name: str) -> None:
    objects, _ = render(name)
    edge = objects.of("Ingress", "HTTPRoute", "Gateway", "Certificate")
    assert len(edge) >= 4
    assert [label(thing) for thing in edge if any("alertmanager" in text for text in strings(thing))] == []


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "as it is"])
def test_a_variant_keeps_the_rule(render: Render, name: str, rule: str) -> None:
    assert inspect(rule, render(name)[0]).faults == []
