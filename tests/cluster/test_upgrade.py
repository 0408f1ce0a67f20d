"""From the first release to the code of this folder, while people use the system: nothing is lost and nothing fails."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from tests.cluster.freeze import RELEASES, without_hash
from tests.cluster.front import Front
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.load import Load, served
from tests.cluster.system import NAMESPACES, System

FIRST = RELEASES / "0.1.0"
OVERLAY = "ci"  # of which the first release was kept
# Requests a second, at most this share of what the cluster serves: all pods of all roles start at the same time, and
# where the load shares two processors with them, calls soon wait for a turn past their deadline (docs/decisions/0058).
RATE, SHARE = 60.0, 0.25
NAMESPACE = NAMESPACES["postgres"]
SERVING = ("gateway", "auth", "images", "files", "console")


def first_release(secret_names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Its objects, with the images of SEAWALL_FIRST_RELEASE_TAG, and these names for the Secrets they refer to.

    The pods of every Deployment say of which release they are, so that the upgrade replaces them all, even as long as
    nothing else differs.
    """
    text = (FIRST / "manifests.yaml").read_text()
    for plain, name in secret_names.items():
        text = re.sub(rf"^(\s*secretName: ){re.escape(plain)}$", rf"\g<1>{name}", text, flags=re.MULTILINE)
    objects = list(yaml.safe_load_all(text))
    if tag := os.environ.get("SEAWALL_FIRST_RELEASE_TAG"):
        for one in objects:
            template = one.get("spec", {}).get("template", one.get("spec", {}).get("jobTemplate", {}).get("spec", {}))
            pod = template.get("template", template).get("spec", {})
            for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
                name, _, _ = container["image"].rpartition(":")
                if name.startswith("localhost/seawall-"):
                    container["image"] = f"{name}:{tag}"
    for one in objects:
        if one["kind"] == "Deployment":
            one["spec"]["template"]["metadata"].setdefault("annotations", {})["seawall/release"] = FIRST.name
    return objects


def bring_up_first_release(kubectl: Kubectl, system: System) -> None:
    """The first release from nothing, its databases made from the schema that was kept."""
    # The Secrets are those of the overlay: one of another name would be a reason to replace pods, PostgreSQL's too.
    secrets = [one for one in system.rendered() if one["kind"] == "Secret"]
    objects = first_release({without_hash(one["metadata"]["name"]): one["metadata"]["name"] for one in secrets})
    system.apply_objects(one for one in objects if one["kind"] == "Namespace")
    system.mark()
    system.apply_objects(secrets)
    needs = {"StatefulSet", "Service", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim"}
    system.apply_objects(one for one in objects if one["kind"] in needs)
    until(lambda: system.ready_pods("postgres"), lambda: f"PostgreSQL is Ready; {system.explain()}")
    for database in ("auth", "images"):
        psql = ("psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database)
        script = f"SET ROLE {database};\n{(FIRST / f'{database}.sql').read_text()}"
        kubectl.run("-n", NAMESPACE, "exec", "-i", "postgres-0", "-c", "postgres", "--", *psql, input=script)
    system.apply_objects(objects)
    system.wait_ready()


def test_an_upgrade_from_the_first_release_keeps_data_and_fails_no_request(
    kubectl: Kubectl, declared: System, record_testsuite_property: Callable[[str, object], None]
) -> None:
    if declared.overlay.name != OVERLAY:
        pytest.skip(f"the first release was kept as overlay {OVERLAY} rendered it, and this is {declared.overlay.name}")
    declared.remove()
    bring_up_first_release(kubectl, declared)
    old = {role: {pod["metadata"]["uid"] for pod in declared.ready_pods(role)} for role in SERVING}
    front = Front.of_environment(kubectl)
    rate = min(RATE, SHARE * served(front, people=8))
    with Load(front, rate, people=8).running() as load:
        until(lambda: load.answered["upload"] >= 10 or load.failures, "ten uploads under the first release", 120)
        assert load.failures == [], load.summary()

        declared.apply()
        declared.wait_ready()
        new = {role: {pod["metadata"]["uid"] for pod in declared.ready_pods(role)} for role in SERVING}

        seen = load.total
        until(lambda: load.total >= seen + 2000 or load.failures, "two thousand requests after the upgrade", 300)
    tag = os.environ.get("SEAWALL_FIRST_RELEASE_TAG")
    images = f"images {tag}" if tag else "the same images, since SEAWALL_FIRST_RELEASE_TAG names no others"
    record_testsuite_property("figure", f"upgrade from {FIRST.name} ({images}): {load.summary()}")
    print(f"\nupgrade from {FIRST.name} ({images}): {load.summary()}")
    assert {role: uids & old[role] for role, uids in new.items()} == {role: set() for role in SERVING}
    assert load.failures == [], load.failures[:10]
    assert load.lost() == []
