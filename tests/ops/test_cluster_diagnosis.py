"""What `deploy` says about each trouble, of objects that were recorded while a real cluster was in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from ops.cluster.diagnosis import Item, Snapshot, Trouble, progress, still_serving, troubles
from ops.cluster.manifests import image_entry
from tests.ops.cluster_edge import RECORDED, recorded

NAMESPACE = "try-deploy"
KINDS = {"by-hand": "PersistentVolumeClaim", "no-issuer": "Certificate", "refused-set": "StatefulSet"}

# Trouble → what the person must read, and whether waiting on is pointless after a while.
EXPECTED = {
    "wrong-image": (["cannot pull the image localhost:5000/seawall-auth:9.9.9 (connection refused)", "`minikube image load localhost:5000/seawall-auth:9.9.9`"], True),  # noqa: E501
    "never-pull": (["the image localhost/seawall-images:nope is not on node1 and may not be pulled"], True),
    "invalid-image": (["localhost/Seawall:0.1.0 is no name of an image: correct newName and newTag"], True),
    "missing-secret": (['cannot be made: secret "nowhere" not found.', "`manage.py secrets OVERLAY`"], True),
    "missing-key": (["couldn't find key SECRET_KEY in Secret try-deploy/half.", "`manage.py secrets OVERLAY`"], True),
    "missing-secret-volume": (['(volume secrets: secret "nowhere" not found)', "`manage.py secrets OVERLAY`"], True),
    "missing-key-volume": (["references non-existent secret key: SECRET_KEY", "`manage.py secrets OVERLAY`"], True),
    "unschedulable": (["asks for cpu 5, memory 16Mi for unschedulable", "0/2 nodes are available: 2 Insufficient cpu)"], False),  # noqa: E501
    "crash-loop": (["ends with status 1 (5 restarts)", "\n        SECRET_KEY: it is not set, and it has no default"], False),  # noqa: E501
    "out-of-memory": (["used more memory than its limit of 64Mi"], False),
    "failing-migration": (["the migration ends with status 1", "Another migration holds the lock"], False),
    "refused": (["refuses its pods", '"restricted:latest": allowPrivilegeEscalation != false', "do not lower"], True),
    "refused-set": (["refuses its pods", '"restricted:latest": allowPrivilegeEscalation != false'], True),
    "over-quota": (["exceeded quota: none, requested: pods=1, used: pods=18", "raise the quota"], True),
    "not-ready": (["runs and is not ready: Readiness probe failed: database is away."], False),
    "by-hand": (["a PersistentVolume of at least 1Mi, ReadWriteOnce that is made by hand"], True),
    "no-issuer": (['Referenced "Issuer" not found: issuer.cert-manager.io "nowhere" not found.'], False),
}  # fmt: skip


def snapshot(document: dict[str, Any]) -> Snapshot:
    return Snapshot(document["objects"], document["events"])


def diagnosed(document: dict[str, Any], item: Item, overlay: Path) -> list[Trouble]:
    def log(namespace: str, pod: str, container: str) -> str:
        return str(document["logs"].get(f"{pod}/{container}", ""))

    return troubles(item, snapshot(document), overlay=overlay, log=log)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [../base]\n\nimages:\n  - name: postgres\n  - name: seawall-auth\n"
        "    newName: localhost:5000/seawall-auth\n    newTag: 9.9.9\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", list(EXPECTED))
def test_a_trouble_is_told_with_its_cause_and_what_to_do(name: str, overlay: Path) -> None:
    item = Item(KINDS.get(name, "Deployment"), NAMESPACE, name)
    parts, is_hopeless = EXPECTED[name]

    told = diagnosed(recorded(name), item, overlay)

    assert len(told) == 1
    assert [part for part in parts if part not in told[0].sentence] == []
    assert (told[0].patience is not None) is is_hopeless
    assert progress(item, snapshot(recorded(name)))[0] is False


def test_every_recorded_state_is_looked_at() -> None:
    others = {"healthy", "bound", "no-class", "stuck-rollout"}

    assert {path.stem for path in RECORDED.glob("*.json")} == set(EXPECTED) | others


def test_what_is_ready_has_no_trouble_even_if_its_start_had(overlay: Path) -> None:
    for name, kind, note in (
        ("healthy", "Deployment", "2 ready"),
        ("bound", "PersistentVolumeClaim", "bound"),
    ):
        item = Item(kind, NAMESPACE, name)

        assert progress(item, snapshot(recorded(name))) == (True, note)
        assert diagnosed(recorded(name), item, overlay) == []


def test_a_class_that_is_not_there_is_told_once_and_the_pod_points_to_the_claim(overlay: Path) -> None:
    document = recorded("no-class")

    claim = diagnosed(document, Item("PersistentVolumeClaim", NAMESPACE, "no-class"), overlay)
    pod = diagnosed(document, Item("Deployment", NAMESPACE, "waits-for-volume"), overlay)

    assert [each.sentence.partition(":")[0] for each in claim] == ["there is no StorageClass nope"]
    assert "see the PersistentVolumeClaim" in pod[0].sentence
    assert pod[0].patience is None


def test_a_stuck_rollout_tells_the_cause_and_that_old_pods_serve(overlay: Path) -> None:
    document = recorded("stuck-rollout")
    item = Item("Deployment", NAMESPACE, "stuck-rollout")

    told = [each.sentence for each in diagnosed(document, item, overlay)]

    assert [sentence.split(" the image ")[0] for sentence in told[:1]] == ["node1 cannot pull"]
    assert "it has made no progress for 12 s, and Kubernetes has stopped waiting for it" in told[1]
    assert still_serving(item, snapshot(document)) == 2
    assert progress(item, snapshot(document)) == (False, "0 of 2 ready")


def test_what_was_said_before_the_last_apply_does_not_count(overlay: Path) -> None:
    document = recorded("stuck-rollout")
    deployment = next(each for each in document["objects"] if each["kind"] == "Deployment")
    deployment["metadata"]["generation"] += 1
    item = Item("Deployment", NAMESPACE, "stuck-rollout")

    assert diagnosed(document, item, overlay) == []
    assert progress(item, snapshot(document))[0] is False


def test_a_deployment_is_ready_only_when_its_old_pods_are_gone() -> None:
    document = recorded("healthy")
    deployment = next(each for each in document["objects"] if each["kind"] == "Deployment")
    deployment["status"]["replicas"] = 3

    assert progress(Item("Deployment", NAMESPACE, "healthy"), snapshot(document)) == (False, "2 of 2 ready")


def test_a_secret_of_the_name_of_an_image_is_not_where_the_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "secretGenerator:\n  - name: postgres\n    envs: [secrets/postgres.env]\n"
        "images:\n  - name: postgres\n    newName: docker.io/library/postgres\n"
    )

    assert image_entry(tmp_path, "docker.io/library/postgres:18.4") == f"{tmp_path / 'kustomization.yaml'}:5"


def test_an_entry_without_a_name_is_found_by_its_new_one(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("images:\n- newName: seawall-auth\n- 5\n- x\n")

    assert image_entry(tmp_path, "seawall-auth:1") == f"{tmp_path / 'kustomization.yaml'}:2"


@pytest.mark.parametrize("text", ["images: 5", "images: [", "[" * 5000, f"resources: [{'x' * 300}, 5, {{}}]", "5"])
def test_what_cannot_be_read_names_no_image(tmp_path: Path, text: str) -> None:
    (tmp_path / "kustomization.yaml").write_text(text)

    assert image_entry(tmp_path, "seawall-auth:1") is None


def test_the_line_of_the_overlay_that_names_the_image_is_given(overlay: Path) -> None:
    told = diagnosed(recorded("wrong-image"), Item("Deployment", NAMESPACE, "wrong-image"), overlay)

    assert f"`images:` at {overlay / 'kustomization.yaml'}:5." in told[0].sentence


def test_the_line_is_found_in_what_the_overlay_is_built_on(overlay: Path) -> None:
    above = overlay / "above"
    above.mkdir()
    (above / "kustomization.yaml").write_text("resources: [..]\n")

    told = diagnosed(recorded("wrong-image"), Item("Deployment", NAMESPACE, "wrong-image"), above)

    assert f"`images:` at {overlay / 'kustomization.yaml'}:5." in told[0].sentence


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ('failed to pull: unexpected status: 401 Unauthorized', "does not let node1 have the image"),
        ('failed to resolve reference "x": x: not found', "the registry has no image"),
    ],
)  # fmt: skip
def test_what_a_registry_says_decides_what_is_told(overlay: Path, message: str, says: str) -> None:
    document = copy.deepcopy(recorded("wrong-image"))
    pod = next(each for each in document["objects"] if each["kind"] == "Pod")
    pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = message

    told = diagnosed(document, Item("Deployment", NAMESPACE, "wrong-image"), overlay)

    assert says in told[0].sentence


def test_a_claim_that_waits_for_its_first_pod_is_as_ready_as_it_can_be() -> None:
    document = recorded("by-hand")
    document["events"][0]["reason"] = "WaitForFirstConsumer"

    item = Item("PersistentVolumeClaim", NAMESPACE, "by-hand")
    assert progress(item, snapshot(document)) == (True, "made when the first pod uses it")


def test_the_same_trouble_of_another_pod_or_attempt_is_the_same() -> None:
    first = Trouble("auth", "it ends with status 1 (2 restarts); the last it said:\n a", None)
    second = Trouble("auth", "it ends with status 1 (3 restarts); the last it said:\n b", None)

    assert first.key == second.key
    assert first.key != Trouble("images", first.sentence, None).key
