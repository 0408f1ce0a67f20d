"""What must hold before anything of an overlay is put on a cluster. Nothing here changes anything.

Each check says what it has seen, or its faults: what is wrong and what to do. All of them are made, so that a person
hears everything at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ops.cluster.kubectl import REQUEST_SECONDS, Kubectl, KubectlError, Object, Output
from ops.cluster.manifests import (
    BASIC_AUTH,
    CERT_MANAGER,
    CNPG,
    DOCKER_CONFIG,
    GATEWAY_API,
    Manifests,
    SecretNeed,
    name_of,
    namespace_of,
    pod_specs,
    secrets_needed,
)
from ops.cluster.placeholders import left_in
from ops.cluster.shapes import mapping, mappings, text
from ops.errors import OperatorError

OLDEST_KUBERNETES = (1, 34)
"""The oldest minor that the system has run on: what kustomize/capacity.toml says was measured there."""
NEWEST_KUBERNETES = (1, 37)
"""The newest minor for whose schemas the objects are validated (tests/kustomize/test_schemas.py)."""

STAND_IN_NAMESPACE = "kube-public"
"""Where objects of namespaces that do not exist yet are shown to the server, which then keeps none of them."""

_PROVIDERS = {
    CERT_MANAGER: "cert-manager: https://cert-manager.io/docs/installation/",
    GATEWAY_API: "the Gateway API and a controller for it: https://gateway-api.sigs.k8s.io/guides/",
    CNPG: "CloudNativePG: https://cloudnative-pg.io/documentation/current/installation_upgrade/",
    "barmancloud.cnpg.io": "the Barman Cloud plugin: https://cloudnative-pg.io/plugin-barman-cloud/docs/installation/",
    "monitoring.coreos.com": "the prometheus-operator, or leave out the component monitoring",
}
_POD_SECURITY = "would violate PodSecurity"
_AWAY = re.compile(r"(?i)connect|timeout|timed out|deadline exceeded|\bEOF\b|dial tcp|API group list")
"""In what kubectl says when it has not reached the server."""
_WEBHOOK_PAUSE = 3.0  # seconds
WEBHOOK_SECONDS = 120.0
"""How long a webhook that has just been installed may take to answer."""


class NoContext(OperatorError):
    """The person's configuration has no context of this name."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `note` says what was seen, `faults` what must be put right."""

    name: str
    note: str
    faults: tuple[str, ...] = ()


def connect(kubectl: Kubectl) -> Check:
    """That kubectl is new enough, the context exists and its server answers in a version that this is made for.

    Raises NoContext, or OperatorError when the server cannot be asked: without it there is nothing to check.
    """
    contexts = kubectl.text("config", "get-contexts", "-o", "name").split()
    if kubectl.context not in contexts:
        known = f"those there are: {', '.join(contexts)}" if contexts else "there is none; is KUBECONFIG right?"
        raise NoContext(f"There is no context {kubectl.context!r} in your configuration of kubectl ({known}).")
    try:
        versions = kubectl.json("version", "-o", "json")
        if not mapping(versions, "serverVersion"):
            raise KubectlError("no version of the server is known.")
    except KubectlError as error:
        raise OperatorError(
            f"The cluster of context {kubectl.context} does not answer: {_last_line(str(error))} Start it, or correct "
            "the address or the credentials of that context."
        ) from error
    client, server = _minor(mapping(versions, "clientVersion")), _minor(mapping(versions, "serverVersion"))
    faults = []
    if client and client < (OLDEST_KUBERNETES[0], OLDEST_KUBERNETES[1] - 1):
        faults.append(
            f"kubectl {_dotted(client)} is too old: install {_dotted(server or OLDEST_KUBERNETES)} or one minor beside "
            "it (https://kubernetes.io/docs/tasks/tools/)."
        )
    if server and server < OLDEST_KUBERNETES:
        faults.append(
            f"Kubernetes {_dotted(server)} is too old: {_dotted(OLDEST_KUBERNETES)} is the oldest that the system has "
            "been seen to run on; upgrade the cluster."
        )
    newer = server and server > NEWEST_KUBERNETES
    note = (
        f"{_dotted(server) if server else 'of an unknown version'} by context {kubectl.context}"
        f"{f', newer than the {_dotted(NEWEST_KUBERNETES)} that the objects are validated for' if newer else ''}; "
        f"kubectl {_dotted(client) if client else 'of an unknown version'}"
    )
    return Check("Kubernetes", note, tuple(faults))


def checks(kubectl: Kubectl, manifests: Manifests) -> Iterator[Check]:
    """Everything that the objects need to be there, one after the other. Raises KubectlError when the server goes."""
    yield _values(manifests)
    existing = {each["metadata"]["name"]: each for each in kubectl.items("namespaces")}
    yield _namespaces(manifests, existing)
    yield _secrets(kubectl, manifests, existing)
    yield _kinds(kubectl, manifests)
    yield _classes(kubectl, manifests)
    yield _storage(kubectl, manifests)
    yield _metrics(kubectl, manifests)


def missing_namespaces(kubectl: Kubectl, manifests: Manifests) -> list[str]:
    """The namespaces of the objects that do not exist yet. Raises KubectlError."""
    existing = {each["metadata"]["name"] for each in kubectl.items("namespaces")}
    return [name for name in manifests.namespaces if name not in existing]


def dry_run(kubectl: Kubectl, manifests: Manifests, *, deadline: float, say: Callable[[str], None]) -> Check:
    """Show every object to the server, which admits or refuses it as it would in earnest, and keeps none.

    Objects of namespaces that do not exist yet are shown in another one: everything is seen there but what depends on
    the namespace itself, which are Pod Security and quotas. A webhook that does not answer yet is asked again for two
    minutes. Nothing is asked after `deadline` (time.monotonic). Raises OperatorError when the server goes.
    """
    missing = missing_namespaces(kubectl, manifests)
    objects = [_in_namespace(each, missing) for each in manifests.objects]
    webhook_deadline = min(deadline, time.monotonic() + WEBHOOK_SECONDS)
    told = False
    while True:
        output = _shown(kubectl, manifests, objects, deadline)
        webhook = re.search(r'failed calling webhook "([^"]+)"', output.errors)
        if webhook is None or time.monotonic() + _WEBHOOK_PAUSE > webhook_deadline:
            break
        if not told:
            say(f"The webhook {webhook[1]} does not answer yet: asking again.")
            told = True
        time.sleep(_WEBHOOK_PAUSE)
    faults = []
    if webhook is not None:
        faults.append(
            f"The webhook {webhook[1]} does not answer, so the server takes no object that it has to see: look at the "
            "pods of cert-manager or whoever it belongs to (`kubectl get pods -A`)."
        )
    elif output.status != 0 or any(_POD_SECURITY in warning for warning in output.warnings):
        faults = _one_by_one(kubectl, manifests, objects, deadline, taken=output.text.split()) or [output.errors]
    note = f"the server takes all {len(objects)} objects"
    if missing:
        note += (
            f" (those of {' and '.join(missing)}, not there yet, were shown to it in {STAND_IN_NAMESPACE}: Pod "
            "Security and quotas can only be asked for once the namespaces are there)"
        )
    return Check("dry run", note, tuple(faults))


def _shown(kubectl: Kubectl, manifests: Manifests, objects: list[Object], deadline: float) -> Output:
    """What comes of showing objects to the server. Raises OperatorError when it does not answer.

    kubectl also refuses objects by itself, and does not say so: whether the server is still there, the server knows.
    """
    words = ("apply", "--dry-run=server", "-f", "-", "-o", "name")
    try:
        for is_last in (False, True):
            seconds = min(REQUEST_SECONDS, max(1.0, deadline - time.monotonic()))
            output = kubectl.run(*words, stdin=manifests.as_list(objects), seconds=seconds)
            if output.is_answer:
                break
            kubectl.text("get", "--raw", "/version", seconds=seconds)
            if is_last or not _AWAY.search(output.errors):
                break  # it is there, and it was there
    except KubectlError as error:
        raise OperatorError(
            f"The cluster of context {kubectl.context} does not answer any more: {_last_line(str(error))} Run the same "
            "command again when it does."
        ) from error
    return output


def _in_namespace(each: Object, missing: list[str]) -> Object:
    if namespace_of(each) not in missing:
        return each
    return {**each, "metadata": {**each["metadata"], "namespace": STAND_IN_NAMESPACE}}


def _one_by_one(
    kubectl: Kubectl, manifests: Manifests, objects: list[Object], deadline: float, *, taken: list[str]
) -> list[str]:
    """What the server has against each object: asked together, it does not always name the one that it speaks of."""
    makers = {id(each) for each, _ in pod_specs(objects)}
    unclear = [each for each in objects if id(each) in makers or not _is_taken(each, objects, taken)]
    faults = []
    for number, each in enumerate(unclear):
        if time.monotonic() > deadline:
            faults.append(
                f"The time was over before the server had been asked about {len(unclear) - number} more objects: "
                "give it more (--timeout)."
            )
            break
        output = _shown(kubectl, manifests, [each], deadline)
        if output.status != 0:
            why = " ".join(output.errors.replace('error when creating "STDIN": ', "").split())
            faults.append(f"The server refuses {name_of(each)}: {why}")
        faults += [
            f"Pod Security of {namespace_of(each)} would refuse the pods of {name_of(each)} ({warning}): correct their "
            "securityContext."
            for warning in output.warnings
            if _POD_SECURITY in warning
        ]
    return faults


def _is_taken(each: Object, objects: list[Object], taken: list[str]) -> bool:
    """Whether kubectl has named as many objects of this kind and name as there are."""
    kind, name = each["kind"].lower(), each["metadata"]["name"]
    expected: int = sum(other["metadata"]["name"] == name and other["kind"] == each["kind"] for other in objects)
    line = re.compile(rf"{re.escape(kind)}(\..+)?/{re.escape(name)}")
    return sum(line.fullmatch(one) is not None for one in taken) >= expected


def _values(manifests: Manifests) -> Check:
    """That no value is an example's any more."""
    placeholders = left_in(manifests)
    faults = []
    if placeholders:
        lines = "".join(f"\n      {line}" for line in placeholders)
        faults.append(f"Values of an example are left in the overlay; edit them to your own:{lines}")
    return Check("values", "none is an example's", tuple(faults))


def _namespaces(manifests: Manifests, existing: dict[str, Object]) -> Check:
    rendered = {each["metadata"]["name"] for each in manifests.of_kind("Namespace")}
    faults = []
    for name in manifests.namespaces:
        if name not in existing and name not in rendered:
            what = next(name_of(each) for each in manifests.objects if namespace_of(each) == name)
            faults.append(f"There is no namespace {name} for {what}: install what brings it, or create it.")
        elif mapping(existing.get(name), "status").get("phase") == "Terminating":
            faults.append(f"The namespace {name} is being deleted: wait until it is gone.")
    new = [name for name in manifests.namespaces if name not in existing]
    note = f"{', '.join(new)} will be made" if new else f"{', '.join(manifests.namespaces)} are there"
    return Check("namespaces", note, tuple(faults))


def _secrets(kubectl: Kubectl, manifests: Manifests, existing: dict[str, Object]) -> Check:
    needs = secrets_needed(manifests)
    faults = []
    for need in needs:
        stored = kubectl.find("secret", need.name, "-n", need.namespace) if need.namespace in existing else None
        missing = sorted(need.keys - set(mapping(stored, "data")))
        who = ", ".join(need.consumers)
        if stored is None:
            create = f"kubectl --context {kubectl.context} -n {need.namespace} create secret {_as_made(need)}"
            first = "" if need.namespace in existing else f" (the namespace {need.namespace} first)"
            faults.append(f"There is no Secret {need.name} in {need.namespace}, which {who} reads: {create}{first}")
        elif missing:
            faults.append(
                f"The Secret {need.name} in {need.namespace} lacks {', '.join(missing)}, which {who} reads: add it "
                f"(`kubectl --context {kubectl.context} -n {need.namespace} edit secret {need.name}`, base64)."
            )
    made = len(manifests.of_kind("Secret"))
    return Check("secrets", f"{made} made by the overlay, {len(needs)} there already", tuple(faults))


def _as_made(need: SecretNeed) -> str:
    """The end of the command that makes it. A Secret of another type than its reader expects is as good as none."""
    if DOCKER_CONFIG in need.keys:
        return (
            f"docker-registry {need.name} --docker-server=REGISTRY --docker-username=NAME "
            '--docker-password="$(cat FILE)"'
        )
    if need.keys == {"tls.crt", "tls.key"}:
        return f"tls {need.name} --cert=tls.crt --key=tls.key"
    files = "".join(f" --from-file={key}" for key in sorted(need.keys))
    kind = " --type=kubernetes.io/basic-auth" if need.keys == set(BASIC_AUTH) else ""
    return f"generic {need.name}{kind}{files}"


def _kinds(kubectl: Kubectl, manifests: Manifests) -> Check:
    """That the server knows every kind, in that version."""
    wanted: dict[str, set[str]] = {}
    for each in manifests.objects:
        wanted.setdefault(each["apiVersion"], set()).add(each["kind"])
    faults = []
    for version, kinds in sorted(wanted.items()):
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            served = {text(each.get("kind")) for each in mappings(kubectl.json("get", "--raw", path).get("resources"))}
        except KubectlError as error:
            if not error.is_not_found:
                raise
            served = set()
        if lacking := sorted(kinds - served):
            provider = _PROVIDERS.get(version.partition("/")[0], "what brings it")
            faults.append(f"The cluster does not know {', '.join(lacking)} ({version}): install {provider}.")
    return Check("kinds", f"the server knows all {sum(map(len, wanted.values()))}", tuple(faults))


def _classes(kubectl: Kubectl, manifests: Manifests) -> Check:
    """That somebody feels responsible for each Ingress and Gateway."""
    seen: list[str] = []
    faults: list[str] = []
    ingresses = manifests.of_kind("Ingress")
    if ingresses:
        there = kubectl.items("ingressclasses")
        names = [each["metadata"]["name"] for each in there]
        for each in ingresses:
            wanted = mapping(each, "spec").get("ingressClassName")
            if wanted is None and not any(_is_default(item, "ingressclass") for item in there):
                faults.append(f"{name_of(each)} names no IngressClass and the cluster has no default one.")
            elif wanted is not None and wanted not in names:
                known = f"there are: {', '.join(names)}" if names else "there is none: install an ingress controller"
                places = manifests.overlay / "places.env"
                where = f"INGRESS_CLASS in {places}" if places.is_file() else "spec.ingressClassName"
                faults.append(
                    f"There is no IngressClass {wanted} for {name_of(each)} ({known}). On minikube: `minikube addons "
                    f"enable ingress`; elsewhere set {where}."
                )
            elif wanted is not None:
                seen.append(wanted)
    gateways = manifests.of_kind("Gateway")
    if gateways:
        classes = mappings((kubectl.find("gatewayclasses.gateway.networking.k8s.io") or {}).get("items"))
        names = [each["metadata"]["name"] for each in classes]
        for each in gateways:
            wanted = text(mapping(each, "spec").get("gatewayClassName"))
            if wanted not in names:
                faults.append(
                    f"There is no GatewayClass {wanted} for {name_of(each)} (there are: {', '.join(names) or 'none'})."
                )
            else:
                seen.append(wanted)
    note = (
        f"class {', '.join(dict.fromkeys(seen)) or 'by default'}" if ingresses or gateways else "nothing asks for one"
    )
    return Check("ingress", note, tuple(dict.fromkeys(faults)))


def _storage(kubectl: Kubectl, manifests: Manifests) -> Check:
    """That every volume claim has a StorageClass, or a volume that was made by hand."""
    classes = kubectl.items("storageclasses")
    names = [each["metadata"]["name"] for each in (*classes, *manifests.of_kind("StorageClass"))]
    default = next((each["metadata"]["name"] for each in classes if _is_default(each, "storageclass")), None)
    volumes = [*manifests.of_kind("PersistentVolume"), *kubectl.items("persistentvolumes")]
    by_hand = {text(mapping(each, "spec").get("storageClassName")) for each in volumes}  # a class need be no object
    faults = []
    claims = list(volume_claims(manifests))
    for namespace, name, spec in claims:
        wanted = spec.get("storageClassName")
        if wanted == "":
            if "" not in by_hand:
                faults.append(
                    f"PersistentVolumeClaim/{name} in {namespace} waits for a volume that is made by hand, and there "
                    "is none without a class: make a PersistentVolume, or let the claim name a StorageClass."
                )
        elif (wanted is None and default is None) or (wanted is not None and wanted not in (*names, *by_hand)):
            if _is_bound(kubectl, namespace, name):
                continue
            which = f"no StorageClass {wanted}" if wanted else "no default StorageClass"
            there = f"There are: {', '.join(names)}" if names else "There is none"
            faults.append(
                f"There is {which} for PersistentVolumeClaim/{name} in {namespace}. {there}. Name one of the cluster's "
                "in the overlay (spec.storageClassName), or make one the default: `kubectl patch storageclass NAME -p "
                '\'{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}\'`.'
            )
    return Check("storage", f"the default class is {default}; claims: {len(claims)}", tuple(faults))


def volume_claims(manifests: Manifests) -> Iterator[tuple[str, str, Any]]:
    """Namespace, name and specification of each claim, those of StatefulSets included."""
    for each in manifests.of_kind("PersistentVolumeClaim"):
        yield namespace_of(each), each["metadata"]["name"], mapping(each, "spec")
    for each in manifests.of_kind("StatefulSet"):
        spec = mapping(each, "spec")
        replicas = spec.get("replicas")
        for template in mappings(spec.get("volumeClaimTemplates")):
            if name := text(mapping(template, "metadata").get("name")):
                for number in range(replicas if isinstance(replicas, int) else 1):
                    yield namespace_of(each), f"{name}-{each['metadata']['name']}-{number}", mapping(template, "spec")


def _is_bound(kubectl: Kubectl, namespace: str, claim: str) -> bool:
    stored = kubectl.find("persistentvolumeclaim", claim, "-n", namespace)
    return mapping(stored, "status").get("phase") == "Bound"


def _metrics(kubectl: Kubectl, manifests: Manifests) -> Check:
    """That autoscalers have something to look at."""
    count = len(manifests.of_kind("HorizontalPodAutoscaler"))
    if not count:
        return Check("metrics", "no autoscaler asks for them")
    try:
        kubectl.json("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
    except KubectlError as error:
        fault = (
            f"The metrics API does not answer ({_last_line(str(error))}), so the {count} autoscalers could not scale: "
            "install metrics-server (minikube: `minikube addons enable metrics-server`)."
        )
        return Check("metrics", "", (fault,))
    return Check("metrics", f"the metrics API answers to {count} autoscalers")


def _is_default(each: Object, kind: str) -> bool:
    group = "storageclass.kubernetes.io" if kind == "storageclass" else "ingressclass.kubernetes.io"
    return mapping(each, "metadata", "annotations").get(f"{group}/is-default-class") == "true"


def _minor(version: Object) -> tuple[int, int] | None:
    """Major and minor; None when it does not say them, as some builds do not."""
    said = f"v{text(version.get('major'))}.{text(version.get('minor'))}"
    found = re.match(r"v(\d+)\.(\d+)", said) or re.match(r"v(\d+)\.(\d+)", text(version.get("gitVersion")))
    return (int(found[1]), int(found[2])) if found else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _last_line(text: str) -> str:
    """The sentence that counts of what kubectl has said."""
    line = text.strip().splitlines()[-1].strip() if text.strip() else "it says nothing"
    return line if line.endswith((".", "?", "!")) else f"{line}."
