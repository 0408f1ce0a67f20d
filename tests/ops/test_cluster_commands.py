"""`manage.py deploy` as a person calls it, with a kubectl that gives the answers of this test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.cluster.deployment import Deployment
from ops.cluster.kubectl import Kubectl, KubectlError, Output
from ops.progress import PlainProgress
from tests.ops.cluster_edge import NOT_FOUND, VERSIONS, FakeKubectl, items, named, recorded
from tests.ops.running import manage, until

PROJECT = Path(__file__).parents[2]
NAMESPACE = "try-deploy"
HEALTHY = recorded("healthy")
DRY = "apply --dry-run=server"
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    next(each for each in HEALTHY["objects"] if each["kind"] == "Deployment"),
]
GOOD: dict[str, Any] = {
    "config get-contexts": "there\nother\n",
    "version": VERSIONS,
    "kustomize": yaml.safe_dump_all(OBJECTS),
    "get namespaces": items(named(NAMESPACE)),
    "get --raw /api/v1": {"resources": [{"kind": "Namespace"}]},
    "get --raw /apis/apps/v1": {"resources": [{"kind": "Deployment"}]},
    "get storageclasses": items(),
    "get persistentvolumes": items(),
    "apply --dry-run=server": f"namespace/{NAMESPACE}\ndeployment.apps/healthy\n",
    "apply -f -": f"namespace/{NAMESPACE} unchanged\ndeployment.apps/healthy created\n",
    "get deployments.apps": items(*HEALTHY["objects"]),
    "get events": items(*HEALTHY["events"]),
}


@pytest.fixture
def fake(tmp_path: Path) -> FakeKubectl:
    (tmp_path / "kustomization.yaml").touch()
    fake = FakeKubectl(tmp_path)
    fake.answer(GOOD)
    return fake


def deploy(fake: FakeKubectl, *words: str, context: str = "there") -> subprocess.CompletedProcess[str]:
    done = manage("deploy", str(fake.folder), "--context", context, *words, environment=fake.environment)
    assert "Traceback" not in done.stderr
    return done


def changes(fake: FakeKubectl) -> list[str]:
    """The calls that change something."""
    return [call.partition("s ")[2] for call in fake.calls if " apply " in call and "--dry-run" not in call]


def test_a_good_overlay_is_applied_and_waited_for(fake: FakeKubectl) -> None:
    done = deploy(fake)

    assert (done.returncode, done.stderr) == (0, "")
    steps = [line.partition(" s  ")[2] for line in done.stdout.splitlines()]
    assert steps[-3:-1] == ["apply: 1 created, 1 unchanged", "Deployment/healthy: 2 ready"]
    assert done.stdout.splitlines()[-1] == f"Everything of {fake.folder} is ready."
    assert changes(fake) == ["apply -f -"]


def test_check_changes_nothing(fake: FakeKubectl) -> None:
    done = deploy(fake, "--check")

    assert done.returncode == 0
    assert done.stdout.endswith("It can be deployed. Nothing was changed on the cluster.\n")
    assert changes(fake) == []


def test_an_object_of_a_wrong_shape_is_refused_by_the_server(fake: FakeKubectl) -> None:
    shapeless = {**OBJECTS[1], "spec": {"template": {"spec": {"containers": [{"env": {"LOG_LEVEL": "debug"}}]}}}}
    refusal = "Error from server (BadRequest): cannot unmarshal object into containers.env of type []v1.EnvVar\n"
    fake.answer(GOOD, {"kustomize": yaml.safe_dump_all([OBJECTS[0], shapeless]), DRY: (1, "", refusal)})

    done = deploy(fake)

    assert done.returncode == 1
    assert f"  - The server refuses Deployment/healthy: {refusal}" in done.stderr
    assert done.stderr.endswith("Nothing was changed on the cluster.\n")
    assert changes(fake) == []


def test_values_of_an_example_are_told_in_one_list_before_anything_is_changed(fake: FakeKubectl) -> None:
    hosts = {"rules": [{"host": "a.example.com"}, {"host": "b.example.com"}, {"host": "portal.eu"}]}
    metadata = {"name": "portal", "namespace": NAMESPACE}
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": hosts}
    (fake.folder / "own.env").write_text("# A_HOST=a.example.com\nA_HOST=a.example.com\n")
    fake.answer(
        GOOD,
        {
            "kustomize": yaml.safe_dump_all([*OBJECTS, ingress]),
            "get ingressclasses": items(named("traefik", spec={})),
            "get --raw /apis/networking.k8s.io/v1": {"resources": [{"kind": "Ingress"}]},
        },
    )

    done = deploy(fake)

    assert done.returncode == 1
    assert (
        "  - Values of an example are left in the overlay; edit them to your own:\n"
        f"      {fake.folder}/own.env: A_HOST=a.example.com\n"
        "      Ingress/portal: b.example.com, which no .env file of the overlay has\n"
    ) in done.stderr
    assert changes(fake) == []


def test_what_cannot_be_deployed_changes_nothing(fake: FakeKubectl) -> None:
    fake.answer(GOOD, {"get --raw /apis/apps/v1": (1, "", NOT_FOUND)})

    done = deploy(fake)

    assert done.returncode == 1
    assert "  - The cluster does not know Deployment (apps/v1): install what brings it." in done.stderr
    assert done.stderr.endswith("Nothing was changed on the cluster.\n")
    assert changes(fake) == []


def test_after_namespaces_were_made_a_refusal_says_that_only_they_were(fake: FakeKubectl) -> None:
    warning = 'Warning: would violate PodSecurity "restricted:latest": runAsNonRoot != true\n'
    taken = f"namespace/{NAMESPACE}\ndeployment.apps/healthy\n"
    without, with_it = json.dumps(items(named("default"))), json.dumps(items(named(NAMESPACE)))
    fake.answer(
        GOOD,
        {
            # Asked by the checks, by the dry run, before the namespaces are made, and by the second dry run.
            "get namespaces": [(without, ""), (without, ""), (without, ""), (with_it, "")],
            "apply --dry-run=server": [(taken, ""), (taken, warning)],
        },
    )

    done = deploy(fake)

    assert done.returncode == 1
    assert "  - Pod Security of try-deploy would refuse the pods of Deployment/healthy" in done.stderr
    assert done.stderr.endswith(f"Only the namespaces {NAMESPACE} were made; nothing else was changed.\n")
    assert changes(fake) == ["apply -f -"]


def test_an_apply_that_ends_in_the_middle_says_how_much_was_applied(fake: FakeKubectl) -> None:
    fake.answer(GOOD, {"apply -f -": (1, f"namespace/{NAMESPACE} created\n", "Error: connection reset\n")})

    done = deploy(fake)

    assert done.returncode == 1
    assert "Only 1 of 2 objects were applied (1 created): Error: connection reset" in done.stderr
    assert "run the same command again" in done.stderr


def test_what_does_not_become_ready_ends_with_1_and_its_cause(fake: FakeKubectl) -> None:
    crashing = recorded("crash-loop")
    deployment = next(each for each in crashing["objects"] if each["kind"] == "Deployment")
    fake.answer(
        GOOD,
        {
            "kustomize": yaml.safe_dump_all([OBJECTS[0], deployment]),
            "apply --dry-run=server": f"namespace/{NAMESPACE}\ndeployment.apps/crash-loop\n",
            "get deployments.apps": items(*crashing["objects"]),
            "get events": items(*crashing["events"]),
            "logs -n try-deploy crash-loop": next(iter(crashing["logs"].values())),
        },
    )

    done = deploy(fake, "--timeout", "1")

    assert done.returncode == 1
    assert "SECRET_KEY: it is not set, and it has no default" in done.stderr


def test_a_wrong_context_ends_with_2_and_names_those_there_are(fake: FakeKubectl) -> None:
    done = deploy(fake, context="nowhere")

    assert done.returncode == 2
    assert "There is no context 'nowhere'" in done.stderr
    assert "(those there are: there, other)" in done.stderr


def test_a_server_that_is_away_ends_with_1(fake: FakeKubectl) -> None:
    away = "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"
    fake.answer(GOOD, {"version": (1, "", away)})

    done = deploy(fake)

    assert done.returncode == 1
    assert done.stderr == (
        f"CommandError: The cluster of context there does not answer: {away.strip()} Start it, or correct the address "
        "or the credentials of that context.\nNothing was changed on the cluster.\n"
    )


def test_a_server_that_goes_after_namespaces_were_made_leaves_no_doubt_of_what_was_changed(fake: FakeKubectl) -> None:
    away = "The connection to the server was refused\n"
    without = json.dumps(items(named("default")))
    fake.answer(
        GOOD,
        {
            "get namespaces": [(without, "")],
            "apply --dry-run=server": f"namespace/{NAMESPACE}\ndeployment.apps/healthy\n",
            "apply -f -": (1, "", away),
        },
    )

    done = deploy(fake)

    assert done.returncode == 1
    assert done.stderr == (
        f"CommandError: {away}At most the namespaces {NAMESPACE} were made; nothing else was changed.\n"
    )


def test_an_apply_without_an_answer_says_that_something_may_have_changed(
    fake: FakeKubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: Kubectl, *words: str, **options: Any) -> Output:
        if words[:2] == ("apply", "-f"):
            raise KubectlError("no answer within 200 s (kubectl apply -f)")
        return run(self, *words, **options)

    run = Kubectl.run
    monkeypatch.setattr(Kubectl, "run", silent)
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    deployment = Deployment(Kubectl("there"), fake.folder, PlainProgress())

    with pytest.raises(KubectlError) as raised:
        deployment.run(5)

    assert deployment.account(raised.value) == (
        "no answer within 200 s (kubectl apply -f)\n"
        "Some objects may have been applied already; run the same command again to have all of them."
    )


def test_nobody_has_to_read_what_it_says(fake: FakeKubectl) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(PROJECT / "manage.py"), "deploy", str(fake.folder), "--context", "there"]
    done = subprocess.run(
        command, env=fake.environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, "")
    assert changes(fake) == ["apply -f -"]


def test_without_kubectl_it_ends_with_1(fake: FakeKubectl) -> None:
    (fake.folder / "kubectl").unlink()

    done = deploy(fake)

    assert (done.returncode, "There is no kubectl in PATH" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("deploy",), "the following arguments are required: --context"),
        (("deploy", "--context", "there", "--timeout", "soon"), "'soon' is not a number"),
        (("deploy", "--context", "there", "--timeout", "0"), "0 is not between 1 and 86400"),
        (("deploy", "/nowhere", "--context", "there"), "/nowhere is no overlay"),
        (("deploy", "x" * 300, "--context", "there"), "x is no overlay"),
        (("deploy", "--context", "nowhere"), "There is no context 'nowhere'"),
    ],
)
def test_a_wrong_call_ends_with_2(fake: FakeKubectl, words: tuple[str, ...], says: str) -> None:
    done = manage(*words, environment=fake.environment)

    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.endswith("\nNothing was changed on the cluster.\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_says_what_was_done(fake: FakeKubectl, number: signal.Signals) -> None:
    fake.answer(GOOD, {"get deployments.apps": items()})
    command = [sys.executable, str(PROJECT / "manage.py"), "deploy", str(fake.folder), "--context", "there"]
    with subprocess.Popen(
        command, env=fake.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: any(" get events" in call for call in fake.calls), "the wait")
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.startswith("CommandError: Interrupted. Everything was applied")
    assert "Traceback" not in errors
