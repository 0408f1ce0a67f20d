"""What `deploy` looks at before it changes anything: each lack is told with what to do, and all of them at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ops.cluster.kubectl import Kubectl
from ops.cluster.manifests import Manifests, OverlayError, SecretNeed, render, secrets_needed
from ops.cluster.preflight import checks, connect, dry_run
from ops.errors import OperatorError
from tests.ops.cluster_edge import NOT_FOUND, VERSIONS, FakeKubectl, items, named

NAMESPACE = "app-services"


def thing(kind: str, name: str, spec: dict[str, Any] | None = None, *, version: str = "v1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **({"spec": spec} if spec else {})}


def deployment(name: str, **pod: Any) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [], **pod}}}
    return thing("Deployment", name, spec, version="apps/v1")


def overlay(*objects: dict[str, Any], path: Path = Path("overlay")) -> Manifests:
    return Manifests(path, list(objects))


FIT: dict[str, Any] = {
    "get namespaces": items(named(NAMESPACE)),
    "get secret auth": named("auth", data={"SECRET_KEY": "eA=="}),
    "get --raw /api/v1": {"resources": [{"kind": kind} for kind in ("PersistentVolumeClaim", "Secret", "Namespace")]},
    "get --raw /apis/apps/v1": {"resources": [{"kind": "Deployment"}]},
    "get --raw /apis/networking.k8s.io/v1": {"resources": [{"kind": "Ingress"}]},
    "get --raw /apis/autoscaling/v2": {"resources": [{"kind": "HorizontalPodAutoscaler"}]},
    "get --raw /apis/metrics.k8s.io/v1beta1/nodes": {"items": []},
    "get ingressclasses": items(named("traefik")),
    "get storageclasses": items(
        {"metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    ),
    "get persistentvolumes": items(),
    "get persistentvolumeclaim ": (1, "", NOT_FOUND),
}
"""A cluster that has everything."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path)
    fake.answer(FIT)
    monkeypatch.setenv("PATH", str(tmp_path))
    return fake


def faults(manifests: Manifests) -> list[str]:
    return [fault for check in checks(Kubectl("there"), manifests) for fault in check.faults]


def secret_reader(name: str = "auth", key: str = "SECRET_KEY") -> dict[str, Any]:
    reference = {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
    return deployment("auth", containers=[{"name": "auth", "env": [reference]}])


INGRESS = thing("Ingress", "webportal", {"ingressClassName": "traefik"}, version="networking.k8s.io/v1")
SCALER = thing("HorizontalPodAutoscaler", "files", {}, version="autoscaling/v2")
CLAIM = thing("PersistentVolumeClaim", "images", {"accessModes": ["ReadWriteMany"]})


def test_a_cluster_with_everything_is_fit(fake: FakeKubectl) -> None:
    assert faults(overlay(secret_reader(), INGRESS, SCALER, CLAIM)) == []
    assert [call for call in fake.calls if not call.startswith("--context there ")] == []


@pytest.mark.parametrize(
    ("change", "manifest", "says"),
    [
        ({"get secret auth": (1, "", NOT_FOUND)}, secret_reader(), "There is no Secret auth in app-services, which Deployment/auth reads: kubectl --context there -n app-services create secret generic auth --from-file=SECRET_KEY"),  # noqa: E501
        ({}, secret_reader(key="SERVICE_KEYS"), "The Secret auth in app-services lacks SERVICE_KEYS, which Deployment/auth reads"),  # noqa: E501
        ({"get namespaces": items()}, thing("Secret", "x"), "There is no namespace app-services for Secret/x"),
        ({"get namespaces": items(named(NAMESPACE, status={"phase": "Terminating"}))}, thing("Secret", "x"), "The namespace app-services is being deleted: wait"),  # noqa: E501
        ({"get --raw /apis/cert-manager.io/v1": (1, "", NOT_FOUND)}, thing("Certificate", "tls", {"secretName": "tls"}, version="cert-manager.io/v1"), "The cluster does not know Certificate (cert-manager.io/v1): install cert-manager"),  # noqa: E501
        ({"get ingressclasses": items(named("nginx"))}, INGRESS, "There is no IngressClass traefik for Ingress/webportal (there are: nginx)"),  # noqa: E501
        ({"get ingressclasses": items()}, INGRESS, "there is none: install an ingress controller"),
        ({"get storageclasses": items(named("slow"))}, CLAIM, "There is no default StorageClass for PersistentVolumeClaim/images in app-services. There are: slow."),  # noqa: E501
        ({}, {**CLAIM, "spec": {"storageClassName": "fast"}}, "There is no StorageClass fast for PersistentVolumeClaim/images"),  # noqa: E501
        ({}, {**CLAIM, "spec": {"storageClassName": ""}}, "waits for a volume that is made by hand, and there is none"),
        ({"get --raw /apis/metrics.k8s.io/v1beta1/nodes": (1, "", NOT_FOUND)}, SCALER, "The metrics API does not"),
    ],
)  # fmt: skip
def test_a_lack_is_told_with_what_to_do(
    fake: FakeKubectl, change: dict[str, Any], manifest: dict[str, Any], says: str
) -> None:
    fake.answer(FIT, change)

    told = faults(overlay(manifest))

    assert len(told) == 1
    assert says in told[0]


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (thing("ServiceAccount", "auth") | {"imagePullSecrets": [{"name": "lacking"}]}, "create secret docker-registry lacking --docker-server="),  # noqa: E501
        (deployment("auth", imagePullSecrets=[{"name": "lacking"}]), "create secret docker-registry lacking --docker-server="),  # noqa: E501
        (thing("Ingress", "portal", {"ingressClassName": "traefik", "tls": [{"secretName": "lacking"}]}, version="networking.k8s.io/v1"), "create secret tls lacking --cert=tls.crt --key=tls.key"),  # noqa: E501
        (thing("Cluster", "postgres", {"managed": {"roles": [{"passwordSecret": {"name": "lacking"}}]}}, version="postgresql.cnpg.io/v1"), "create secret generic lacking --type=kubernetes.io/basic-auth --from-file=password --from-file=username"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_secret_that_is_lacking_is_to_be_made_in_the_type_that_its_reader_takes(
    fake: FakeKubectl, reader: dict[str, Any], says: str
) -> None:
    fake.answer(
        FIT,
        {
            "get secret lacking": (1, "", NOT_FOUND),
            "get --raw /api/v1": {"resources": [{"kind": "ServiceAccount"}]},
            "get --raw /apis/postgresql.cnpg.io/v1": {"resources": [{"kind": "Cluster"}]},
        },
    )

    told = faults(overlay(reader))

    assert len(told) == 1
    assert says in told[0]


@pytest.mark.parametrize("kind", ["Certificate", "CronJob", "Deployment", "Gateway", "Ingress", "StatefulSet"])
def test_an_object_without_what_it_must_have_is_left_to_the_server(kind: str) -> None:
    assert secrets_needed(overlay(thing(kind, "empty"), thing(kind, "nearly", {"replicas": 2}))) == []


def test_all_lacks_are_told_at_once(fake: FakeKubectl) -> None:
    fake.answer(FIT, {"get secret auth": (1, "", NOT_FOUND), "get ingressclasses": items()})

    assert len(faults(overlay(secret_reader(), INGRESS))) == 2


def test_a_claim_that_is_bound_needs_no_class_any_more(fake: FakeKubectl) -> None:
    bound = named("images", status={"phase": "Bound"})
    fake.answer(FIT, {"get storageclasses": items(), "get persistentvolumeclaim images": bound})

    assert faults(overlay(CLAIM)) == []


@pytest.mark.parametrize(
    ("versions", "says"),
    [
        ({"serverVersion": {"major": "1", "minor": "30+"}}, "Kubernetes 1.30 is too old: 1.34 to 1.37 are supported"),
        ({"clientVersion": {"major": "1", "minor": "27"}}, "kubectl 1.27 is too old: install 1.34 or one minor beside"),
    ],
)
def test_versions_that_are_too_old_are_told(fake: FakeKubectl, versions: dict[str, Any], says: str) -> None:
    fake.answer({"config get-contexts": "there\n", "version": VERSIONS | versions})

    assert [says in fault for fault in connect(Kubectl("there")).faults] == [True]


def test_a_newer_server_is_taken_and_told(fake: FakeKubectl) -> None:
    fake.answer(
        {"config get-contexts": "there\n", "version": VERSIONS | {"serverVersion": {"major": "1", "minor": "40"}}}
    )

    check = connect(Kubectl("there"))

    assert (check.faults, "newer than the 1.37 this was tried with" in check.note) == ((), True)


def test_secrets_are_needed_with_the_keys_that_files_and_variables_name() -> None:
    config = {**thing("ConfigMap", "auth-x1"), "data": {"DATABASE_URL_FILE": "/run/secrets/seawall/DATABASE_URL"}}
    container = {
        "name": "auth",
        "envFrom": [{"configMapRef": {"name": "auth-x1"}}],
        "env": [{"name": "PIN_FILE", "value": "/run/secrets/own/PIN"}, {"name": "TZ_FILE", "value": "/etc/tz"}],
        "volumeMounts": [
            {"name": "secrets", "mountPath": "/run/secrets/seawall"},
            {"name": "own", "mountPath": "/run/secrets/own/"},
        ],
    }
    volumes = [
        {"name": "secrets", "secret": {"secretName": "auth-keys"}},
        {"name": "own", "secret": {"secretName": "own"}},
        {"name": "some", "secret": {"secretName": "some", "items": [{"key": "A", "path": "a"}]}},
        {"name": "maybe", "secret": {"secretName": "maybe", "optional": True}},
    ]
    pull = [{"name": "registry"}]
    manifests = overlay(config, deployment("auth", containers=[container], volumes=volumes, imagePullSecrets=pull))

    assert secrets_needed(manifests) == [
        SecretNeed(NAMESPACE, name, frozenset(keys), ("Deployment/auth",))
        for name, keys in (
            ("auth-keys", {"DATABASE_URL"}),
            ("own", {"PIN"}),
            ("registry", {".dockerconfigjson"}),
            ("some", {"A"}),
        )
    ]


def test_secrets_that_the_overlay_or_an_operator_makes_need_not_be_there() -> None:
    reader = deployment("web", volumes=[{"name": "tls", "secret": {"secretName": "tls"}}])
    certificate = thing("Certificate", "web", {"secretName": "tls"}, version="cert-manager.io/v1")
    ingress = thing("Ingress", "web", {"tls": [{"secretName": "tls"}]}, version="networking.k8s.io/v1")

    assert secrets_needed(overlay(reader, ingress, certificate)) == []
    assert secrets_needed(overlay(reader, ingress, thing("Secret", "tls"))) == []
    assert [(each.name, each.consumers) for each in secrets_needed(overlay(reader, ingress))] == [
        ("tls", ("Deployment/web", "Ingress/web"))
    ]


def test_secrets_of_a_database_cluster_are_needed() -> None:
    spec = {
        "bootstrap": {"initdb": {"secret": {"name": "owner"}}},
        "managed": {"roles": [{"name": "images", "passwordSecret": {"name": "images-role"}}]},
        "backup": {"barmanObjectStore": {"s3Credentials": {"accessKeyId": {"name": "store", "key": "ID"}}}},
    }
    cluster = thing("Cluster", "postgres", spec, version="postgresql.cnpg.io/v1")

    assert [(each.name, sorted(each.keys)) for each in secrets_needed(overlay(cluster))] == [
        ("images-role", ["password", "username"]),
        ("owner", ["password", "username"]),
        ("store", ["ID"]),
    ]


DRY = "apply --dry-run=server"


def test_objects_of_namespaces_that_do_not_exist_are_shown_in_another_one(fake: FakeKubectl) -> None:
    fake.answer({"get namespaces": items(), DRY: "secret/x\n"})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "x")), deadline=0, say=print)

    assert check.faults == ()
    assert "those of app-services, not there yet, were shown to it in kube-public" in check.note


def test_the_object_that_is_refused_is_named(fake: FakeKubectl) -> None:
    refusal = 'Error from server (BadRequest): error when creating "STDIN": quantities must match\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (1, "deployment.apps/good\n", refusal)})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "bad")), deadline=0, say=print)

    assert check.faults == (
        "The server refuses Secret/bad: Error from server (BadRequest): quantities must match",
    )  # fmt: skip


def test_what_pod_security_would_refuse_is_a_fault(fake: FakeKubectl) -> None:
    warning = 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (0, "deployment.apps/auth\n", warning)})

    check = dry_run(Kubectl("there"), overlay(deployment("auth")), deadline=0, say=print)

    assert [fault.partition(" (")[0] for fault in check.faults] == [
        "Pod Security of app-services would refuse the pods of Deployment/auth"
    ]


def test_a_webhook_that_does_not_answer_is_asked_again_until_the_deadline(
    fake: FakeKubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.cluster.preflight._WEBHOOK_PAUSE", 0.05)
    refusal = 'Error from server (InternalError): failed calling webhook "webhook.cert-manager.io": refused\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (1, "", refusal)})
    said: list[str] = []

    check = dry_run(
        Kubectl("there"), overlay(thing("Secret", "x")), deadline=time.monotonic() + 1, say=said.append
    )  # fmt: skip

    assert said == ["The webhook webhook.cert-manager.io does not answer yet: asking again."]
    assert "The webhook webhook.cert-manager.io does not answer" in check.faults[0]
    assert len([call for call in fake.calls if DRY in call]) > 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((1, "", "error: env source files: [secrets/auth.env]: lstat secrets: no such file or directory\n"), "has no secrets yet: run `manage.py secrets "),  # noqa: E501
        ((1, "", "error: invalid Kustomization: json: unknown field \"nope\"\n"), 'cannot be rendered: error: invalid Kustomization: json: unknown field "nope"'),  # noqa: E501
        ("", "renders to nothing"),
        ("a: [", "does not render to Kubernetes objects"),
        ("kind: Secret", "does not render to Kubernetes objects"),
    ],
)  # fmt: skip
def test_an_overlay_that_cannot_be_rendered_says_why(fake: FakeKubectl, answer: Any, says: str) -> None:
    (fake.folder / "kustomization.yaml").touch()
    fake.answer({"kustomize": answer})

    with pytest.raises(OverlayError) as caught:
        render(Kubectl("there"), fake.folder)
    assert says in str(caught.value)


def test_without_kubectl_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(OperatorError, match="There is no kubectl in PATH: install it"):
        Kubectl("there")


def test_lists_are_given_to_kubectl_whole() -> None:
    manifests = overlay(thing("Secret", "a"), thing("Secret", "b"))

    assert [each["metadata"]["name"] for each in json.loads(manifests.as_list())["items"]] == ["a", "b"]
