"""What an operator can get wrong: the system that runs goes on, and the command says what is wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.front import PORTAL, Front
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.system import NAMESPACES, PROJECT, System

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def deploy(kubectl: Kubectl, overlay: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`manage.py deploy`, as an operator calls it."""
    return subprocess.run(
        [sys.executable, "manage.py", "deploy", str(overlay), "--context", kubectl.context, *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture
def overlay(system: System, tmp_path: Path) -> Path:
    """A copy of the overlay, to be changed."""
    shutil.copytree(PROJECT / "kustomize", tmp_path / "kustomize")
    shutil.copytree(PROJECT / "config" / "files", tmp_path / "config" / "files")
    return tmp_path / "kustomize" / "overlays" / system.overlay.name


@pytest.fixture
def put_back(system: System) -> object:
    """Applies the unchanged overlay at the end."""
    yield None
    system.bring_up()


def test_an_image_tag_that_does_not_exist_is_named(
    kubectl: Kubectl, system: System, front: Front, overlay: Path, put_back: object
) -> None:
    path = overlay / "kustomization.yaml"
    document = yaml.safe_load(path.read_text())
    (entry,) = [one for one in document["images"] if one["name"] == "seawall-gateway"]
    entry["newTag"] = "is-not-there"
    path.write_text(yaml.safe_dump(document))

    said = deploy(kubectl, overlay, "--timeout", "60")

    text = said.stdout + said.stderr
    assert said.returncode == 1, text
    assert "is-not-there" in text
    assert "Traceback" not in text
    assert len(system.ready_pods("gateway")) >= 2
    assert front.answers(PORTAL, "/sign-in")


def test_a_secret_that_is_missing_is_named_before_anything_is_changed(
    kubectl: Kubectl, system: System, overlay: Path
) -> None:
    patch = {"spec": {"template": {"spec": {"volumes": [{"name": "secrets", "secret": {"secretName": "absent"}}]}}}}
    (gateway,) = [
        one for one in system.rendered() if one["kind"] == "Deployment" and one["metadata"]["name"] == "gateway"
    ]
    (volume,) = [one["name"] for one in gateway["spec"]["template"]["spec"]["volumes"] if "secret" in one]
    patch["spec"]["template"]["spec"]["volumes"][0]["name"] = volume
    path = overlay / "kustomization.yaml"
    document = yaml.safe_load(path.read_text())
    target = {"kind": "Deployment", "name": "gateway"}
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway"}}
    document.setdefault("patches", []).append({"target": target, "patch": yaml.safe_dump(named | patch)})
    path.write_text(yaml.safe_dump(document))
    before = kubectl.json("-n", NAMESPACES["gateway"], "get", "deployment", "gateway")["metadata"]["generation"]

    said = deploy(kubectl, overlay, "--timeout", "60")

    text = said.stdout + said.stderr
    assert said.returncode == 1, text
    assert "There is no Secret absent in frontend-service" in text, text
    assert text.rstrip().endswith("Nothing was changed on the cluster.")
    assert "Traceback" not in text
    after = kubectl.json("-n", NAMESPACES["gateway"], "get", "deployment", "gateway")["metadata"]["generation"]
    assert after == before


def test_a_secret_that_is_missing_is_told_by_an_event_and_the_old_pods_serve(
    kubectl: Kubectl, system: System, front: Front, put_back: object
) -> None:
    objects = [one for one in system.rendered() if one["kind"] == "Deployment" and one["metadata"]["name"] == "gateway"]
    volumes = objects[0]["spec"]["template"]["spec"]["volumes"]
    (volume,) = [one for one in volumes if "secret" in one]
    volume["secret"]["secretName"] = "gateway-is-not-there"
    old = {pod["metadata"]["uid"] for pod in system.ready_pods("gateway")}

    system.apply_objects(objects)
    waiting = until(lambda: [pod for pod in pods_that_wait(kubectl) if pod], "a pod of gateway waits", 60)
    until(
        lambda: any(
            event["reason"] == "FailedMount" and "gateway-is-not-there" in event["message"]
            for event in kubectl.objects("events", NAMESPACES["gateway"])
            if event["involvedObject"]["name"] in waiting
        ),
        "an event names the Secret",
        120,
    )

    assert old <= {pod["metadata"]["uid"] for pod in system.ready_pods("gateway")}
    assert front.answers(PORTAL, "/sign-in")


def test_without_a_default_storage_class_the_command_says_so_before_it_changes_anything(
    kubectl: Kubectl, declared: System
) -> None:
    classes = default_classes(kubectl)
    declared.remove()
    try:
        for name in classes:
            kubectl.run("annotate", "--overwrite", "storageclass", name, f"{DEFAULT_CLASS}=false")

        said = deploy(kubectl, declared.overlay, "--timeout", "30")
        there = [one["metadata"]["name"] for one in kubectl.json("get", "namespaces")["items"]]
        text = said.stdout + said.stderr
        assert said.returncode == 1, text
        assert re.search("default StorageClass", text, re.IGNORECASE), text
        assert "Traceback" not in text
        assert not set(there) & set(declared.namespaces), "something was applied"
        declared.apply()  # what happens to whoever does not ask the command
        until(lambda: "PersistentVolumeClaim" in declared.explain(), "pods say that their claims wait")
        phases = {one["status"].get("phase") for one in kubectl.objects("pvc", "app-services")}
    finally:
        for name in classes:
            kubectl.run("annotate", "--overwrite", "storageclass", name, f"{DEFAULT_CLASS}=true")
    declared.wait_ready()

    assert phases == {"Pending"}


def test_claims_that_nobody_makes_a_volume_for_are_named(kubectl: Kubectl, declared: System) -> None:
    defaults = default_classes(kubectl)
    nobody = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "seawall-test-nobody", "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": "seawall.test/nobody",
    }
    declared.remove()
    try:
        for name in defaults:
            kubectl.run("annotate", "--overwrite", "storageclass", name, f"{DEFAULT_CLASS}=false")
        declared.apply_objects([nobody])

        said = deploy(kubectl, declared.overlay, "--timeout", "45")
    finally:
        declared.mark()  # the command has made the namespaces
        kubectl.run("delete", "storageclass", "seawall-test-nobody", "--ignore-not-found")
        for name in defaults:
            kubectl.run("annotate", "--overwrite", "storageclass", name, f"{DEFAULT_CLASS}=true")
        declared.remove()  # a claim keeps the class that it was made with

    text = said.stdout + said.stderr
    assert said.returncode == 1, text
    assert "seawall-test-nobody" in text, text
    assert {"PersistentVolumeClaim/images", "PersistentVolumeClaim/data-postgres-0"} <= set(
        re.findall(r"[\w/-]+", text)
    )
    assert "Traceback" not in text


def default_classes(kubectl: Kubectl) -> list[str]:
    """Names of the StorageClasses that claims without one get."""
    classes = [
        one["metadata"]["name"]
        for one in kubectl.json("get", "storageclasses")["items"]
        if one["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    assert classes, "this cluster has no default StorageClass to begin with"
    return classes


def pods_that_wait(kubectl: Kubectl) -> list[str]:
    """Names of pods of gateway that cannot start."""
    return [
        str(pod["metadata"]["name"])
        for pod in kubectl.pods(NAMESPACES["gateway"], "gateway")
        if pod["status"]["phase"] == "Pending"
    ]
