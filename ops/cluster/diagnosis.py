"""Why something on the cluster does not become ready, in a sentence that says what to do.

It reads objects as the API server shows them, and their events; nothing here talks to a cluster but the callable that
fetches the last lines of a container's log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.cluster.kubectl import Object
from ops.cluster.manifests import CNPG, image_entry, name_of, namespace_of

Log = Callable[[str, str, str], str]
"""Namespace, pod, container → the last lines of its log, of the run before if there was one; empty if there is none."""

_LOG_LINES = 8
_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ErrImageNotFound"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

KINDS = ("deployments.apps", "statefulsets.apps", "replicasets.apps", "pods", "persistentvolumeclaims")
KINDS_OF_OPERATORS = {
    "Certificate": ("certificates.cert-manager.io", "certificaterequests.cert-manager.io"),
    "Cluster": (f"clusters.{CNPG}",),
}
"""What a snapshot needs of each namespace: always, and where the overlay has objects of that kind."""


@dataclass(frozen=True)
class Trouble:
    """Something that stands in the way. `patience` is for how many seconds it may do so before waiting longer is
    pointless; None when it may well pass by itself."""

    subject: str
    sentence: str
    patience: float | None

    @property
    def key(self) -> str:
        """The same for the same trouble, seen again later, of another pod, or after another attempt."""
        return re.sub(r"\d+", "", f"{self.subject} {self.sentence.splitlines()[0]}")


class Snapshot:
    """Objects and events of one moment."""

    def __init__(self, objects: Iterable[Object], events: Iterable[Object] = ()) -> None:
        self.objects = list(objects)
        self._events: dict[str, list[Object]] = {}
        for event in sorted(events, key=_time_of):
            self._events.setdefault(event["involvedObject"].get("uid", ""), []).append(event)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, None if there is none."""
        return next((each for each in self.of_kind(kind, namespace) if each["metadata"]["name"] == name), None)

    def of_kind(self, kind: str, namespace: str) -> list[Object]:
        """All objects of a kind in a namespace."""
        return [each for each in self.objects if each["kind"] == kind and namespace_of(each) == namespace]

    def owned(self, owner: Object, kind: str) -> list[Object]:
        """The objects that this one has made."""
        uid = owner["metadata"]["uid"]
        return [
            each
            for each in self.of_kind(kind, namespace_of(owner))
            if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences") or [])
        ]

    def events(self, each: Object, *reasons: str) -> list[Object]:
        """The events about an object, oldest first; of these reasons only, if any are given."""
        events = self._events.get(each["metadata"]["uid"], [])
        return [event for event in events if not reasons or event["reason"] in reasons]


@dataclass(frozen=True)
class Item:
    """Something that is waited for."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def progress(item: Item, snapshot: Snapshot) -> tuple[bool, str]:
    """Whether it is ready, and how far it is."""
    found = snapshot.find(item.kind, item.namespace, item.name)
    if found is None:
        return False, "not there yet"
    return _PROGRESS[item.kind](found, snapshot)


def _deployment(found: Object, snapshot: Snapshot) -> tuple[bool, str]:
    wanted, status = found["spec"].get("replicas", 1), found.get("status") or {}
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if _is_seen(found) and updated == available == status.get("replicas", 0) == wanted:
        return True, f"{wanted} ready"
    newest = (_newest(found, snapshot) or {}) if _is_seen(found) else {}
    return False, f"{(newest.get('status') or {}).get('availableReplicas', 0)} of {wanted} ready"


def _stateful_set(found: Object, _: Snapshot) -> tuple[bool, str]:
    wanted, status = found["spec"].get("replicas", 1), found.get("status") or {}
    is_new = status.get("currentRevision") == status.get("updateRevision")
    ready = status.get("readyReplicas", 0)
    return _is_seen(
        found
    ) and is_new and ready == wanted, f"{ready} of {wanted} ready" if ready != wanted else f"{ready} ready"


def _is_seen(found: Object) -> bool:
    """Whether the controller speaks of the object as it is now, and not as it was before it was applied."""
    generation = found["metadata"].get("generation", 1)
    return bool((found.get("status") or {}).get("observedGeneration", 0) >= generation)


def _claim(found: Object, snapshot: Snapshot) -> tuple[bool, str]:
    phase = found["status"].get("phase", "Pending")
    events = snapshot.events(found)
    if phase == "Pending" and events and events[-1]["reason"] == "WaitForFirstConsumer":
        return True, "made when the first pod uses it"
    return phase == "Bound", phase.lower()


def _condition(found: Object, kind: str) -> Object:
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def _with_ready_condition(found: Object, _: Snapshot) -> tuple[bool, str]:
    condition = _condition(found, "Ready")
    done = condition.get("status") == "True"
    return done, "ready" if done else condition.get("message", "not ready yet")


_PROGRESS: dict[str, Callable[[Object, Snapshot], tuple[bool, str]]] = {
    "PersistentVolumeClaim": _claim,
    "StatefulSet": _stateful_set,
    "Deployment": _deployment,
    "Certificate": _with_ready_condition,
    "Cluster": _with_ready_condition,
}


def still_serving(item: Item, snapshot: Snapshot) -> int:
    """How many available pods of the releases before a Deployment has."""
    found = snapshot.find(item.kind, item.namespace, item.name)
    if found is None or item.kind != "Deployment":
        return 0
    newest = _newest(found, snapshot)
    return sum(
        (each.get("status") or {}).get("availableReplicas", 0)
        for each in snapshot.owned(found, "ReplicaSet")
        if each is not newest
    )


def troubles(item: Item, snapshot: Snapshot, *, overlay: Path, log: Log) -> list[Trouble]:
    """What stands in the way of an item that is not ready, each cause once; empty when nothing is seen to."""
    found = snapshot.find(item.kind, item.namespace, item.name)
    if found is None or progress(item, snapshot)[0]:
        return []
    seen: dict[str, Trouble] = {}
    for trouble in _troubles_of(item, found, snapshot, overlay, log):
        seen.setdefault(trouble.key, trouble)
    return list(seen.values())


def _troubles_of(item: Item, found: Object, snapshot: Snapshot, overlay: Path, log: Log) -> Iterator[Trouble]:
    if item.kind == "PersistentVolumeClaim":
        yield from _of_claim(found, snapshot)
    elif item.kind in {"Certificate", "Cluster"}:
        yield from _of_condition(found, snapshot)
    elif _is_seen(found):
        yield from _of_creation(found, snapshot)
        for pod in _pods(found, snapshot):
            yield from _of_pod(item.name, pod, snapshot, overlay, log)
        if (late := _condition(found, "Progressing")).get("reason") == "ProgressDeadlineExceeded":
            yield Trouble(
                item.name,
                f"it has made no progress for {found['spec'].get('progressDeadlineSeconds', 600)} s, and Kubernetes "
                f"has stopped waiting for it: {late['message']}",
                patience=60,
            )


def _newest(deployment: Object, snapshot: Snapshot) -> Object | None:
    """The ReplicaSet of the release that is being rolled out."""
    sets = snapshot.owned(deployment, "ReplicaSet")
    return max(sets, key=_revision, default=None)


def _revision(replica_set: Object) -> int:
    annotations = replica_set["metadata"].get("annotations") or {}
    return int(annotations.get("deployment.kubernetes.io/revision", 0))


def _pods(owner: Object, snapshot: Snapshot) -> list[Object]:
    """The pods of the newest release that are meant to stay."""
    if owner["kind"] == "Deployment":
        newest = _newest(owner, snapshot)
        pods = snapshot.owned(newest, "Pod") if newest else []
    else:
        pods = snapshot.owned(owner, "Pod")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _of_creation(owner: Object, snapshot: Snapshot) -> Iterator[Trouble]:
    """Pods that the server does not even let be made."""
    failure = _condition(owner, "ReplicaFailure")
    message = failure.get("message") if failure.get("status") == "True" else None
    if owner["kind"] == "StatefulSet" and not snapshot.owned(owner, "Pod"):
        events = snapshot.events(owner, "FailedCreate")
        message = events[-1]["message"] if events else None
    if not message:
        return
    name = owner["metadata"]["name"]
    detail = re.sub(r'^.*?pods? "[^"]*" is forbidden: ', "", message)
    if "violates PodSecurity" in message:
        yield Trouble(
            name,
            f"the namespace {namespace_of(owner)} refuses its pods, which are less careful than its Pod Security level "
            f"asks for ({detail.removeprefix('violates PodSecurity ')}): correct the securityContext in a patch of the "
            "overlay; do not lower the level of the namespace.",
            patience=15,
        )
    elif "exceeded quota" in message:
        yield Trouble(
            name,
            f"a quota of the namespace {namespace_of(owner)} leaves no room for its pods ({detail}): raise the quota, "
            "or lower replicas or requests in the overlay.",
            patience=30,
        )
    else:
        yield Trouble(name, f"its pods cannot be made: {message}", patience=60)


def _of_pod(name: str, pod: Object, snapshot: Snapshot, overlay: Path, log: Log) -> Iterator[Trouble]:
    status = pod.get("status") or {}
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        yield from _of_scheduling(name, pod, scheduled.get("message", ""))
        return
    found = False
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        for trouble in _of_container(name, pod, each, overlay, log):
            found = True
            yield trouble
    if found:
        return
    waiting = [
        (each.get("state") or {}).get("waiting", {}).get("reason") for each in status.get("containerStatuses") or []
    ]
    if any(reason in {"ContainerCreating", "PodInitializing"} for reason in waiting):
        yield from _of_start(name, pod, snapshot)
    elif status.get("phase") == "Running" and _condition(pod, "Ready").get("status") != "True":
        events = snapshot.events(pod, "Unhealthy")
        if events:
            yield Trouble(
                name,
                f"its pod runs and is not ready: {_sentence(events[-1]['message'])} Its log says more: "
                f"{_kubectl('logs', pod)}",
                patience=None,
            )


def _of_scheduling(name: str, pod: Object, message: str) -> Iterator[Trouble]:
    if "unbound immediate PersistentVolumeClaims" in message or "persistentvolumeclaim" in message.lower():
        yield Trouble(
            name, f"its pod waits for a volume ({_reason(message)}): see the PersistentVolumeClaim.", patience=None
        )
        return
    requests = _requests(pod)
    if "Insufficient" in message or "Too many pods" in message:
        yield Trouble(
            name,
            f"no node has room for its pod, which asks for {requests} ({_reason(message)}): give the cluster more "
            "CPUs or memory, stop something else, or lower the requests in the overlay.",
            patience=None,
        )
    else:
        yield Trouble(
            name,
            f"no node may take its pod ({_reason(message)}): compare its nodeSelector, affinity and tolerations with "
            "`kubectl describe nodes`.",
            patience=None,
        )


def _of_container(name: str, pod: Object, status: Object, overlay: Path, log: Log) -> Iterator[Trouble]:
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last
    reason = waiting.get("reason", "")
    if reason in _IMAGE_REASONS:
        yield _of_image(name, pod, status, waiting, overlay)
    elif reason in _CONFIG_REASONS:
        yield _of_configuration(name, pod, status["name"], waiting)
    elif reason == "CrashLoopBackOff" or (ended.get("exitCode", 0) != 0 and not status.get("ready")):
        yield _of_crash(name, pod, status, ended, log)


def _of_image(name: str, pod: Object, status: Object, waiting: Object, overlay: Path) -> Trouble:
    image = _specified_image(pod, status["name"])
    message = waiting.get("message", "")
    node = (pod.get("spec") or {}).get("nodeName", "its node")
    entry = image_entry(overlay, image)
    where = f"`images:` at {entry}" if entry else f"`images:` of {overlay / 'kustomization.yaml'}"
    if waiting["reason"] == "InvalidImageName":
        return Trouble(name, f"{image} is no name of an image: correct newName and newTag in {where}.", patience=0)
    lowered = message.lower()
    if waiting["reason"] == "ErrImageNeverPull":
        cause, patience = f"the image {image} is not on {node} and may not be pulled", 30.0
    elif any(word in lowered for word in ("unauthorized", "denied", "forbidden", "authentication required", "401")):
        cause = f"the registry does not let {node} have the image {image} (see the component registry-credentials)"
        patience = 60.0
    elif any(word in lowered for word in ("not found", "manifest unknown")):
        cause, patience = f"the registry has no image {image}", 60.0
    else:
        last = message.rpartition(": ")[2].strip('"') if "failed to" in lowered else ""
        cause = f"{node} cannot pull the image {image}" + (f" ({last})" if last else "")
        patience = 90.0
    return Trouble(
        name,
        f"{cause}: load it (`minikube image load {image}`) or push it, or correct newName and newTag in {where}.",
        patience=patience,
    )


def _of_configuration(name: str, pod: Object, container: str, waiting: Object) -> Trouble:
    message = waiting.get("message", "it does not say why")
    return Trouble(
        name,
        f"its container {container} cannot be made: {_sentence(message)} {_advice(pod, message)}",
        patience=30,
    )


def _advice(pod: Object, message: str) -> str:
    """What to do about a Secret or ConfigMap that is not as a pod expects it."""
    if "configmap" in message.lower():
        return "ConfigMaps are made by the overlay: apply all of it (`manage.py deploy`), and not a part."
    if "secret" in message.lower():
        return (
            "Where the overlay makes its Secrets: `manage.py secrets OVERLAY` adds what is missing, then deploy again; "
            f"elsewhere add it to {namespace_of(pod)} by hand."
        )
    return f"{_kubectl('describe', pod)} says more."


def _of_crash(name: str, pod: Object, status: Object, ended: Object, log: Log) -> Trouble:
    container = status["name"]
    count = status.get("restartCount", 0)
    if ended.get("reason") == "OOMKilled":
        limit = next(
            (
                ((each.get("resources") or {}).get("limits") or {}).get("memory", "none")
                for each in _containers(pod)
                if each["name"] == container
            ),
            "none",
        )
        return Trouble(
            name,
            f"its container {container} was killed because it used more memory than its limit of {limit} "
            f"({count} restarts): raise resources.limits.memory in the overlay.",
            patience=None,
        )
    lines = [line for line in log(namespace_of(pod), pod["metadata"]["name"], container).splitlines() if line.strip()]
    told = "".join(f"\n      {line}" for line in lines[-_LOG_LINES:])
    what = "the migration" if container == "migrate" else f"its container {container}"
    says = f"; the last it said:{told}" if told else f" and said nothing; see {_kubectl('describe', pod)}"
    return Trouble(
        name, f"{what} ends with status {ended.get('exitCode', '?')} ({count} restarts){says}", patience=None
    )


def _of_start(name: str, pod: Object, snapshot: Snapshot) -> Iterator[Trouble]:
    """A pod that has a node, and of which no container was started."""
    for event in reversed(snapshot.events(pod)):
        message = event["message"]
        if event["reason"] in {"FailedMount", "FailedAttachVolume"}:
            short = re.sub(r'^MountVolume\.SetUp failed for volume "([^"]+)"\s*: ', r"volume \1: ", message)
            is_secret = "secret" in short.lower() and ("not found" in short or "non-existent" in short)
            yield Trouble(
                name,
                f"a volume of its pod cannot be mounted ({short}). {_advice(pod, message)}",
                patience=45 if is_secret else None,
            )
            return
        if event["reason"] == "FailedCreatePodSandBox":
            yield Trouble(
                name, f"its pod gets no network on its node: {_sentence(message)} Look at the node.", patience=None
            )
            return


def _of_claim(claim: Object, snapshot: Snapshot) -> Iterator[Trouble]:
    events = snapshot.events(claim, "ProvisioningFailed", "FailedBinding", "ExternalProvisioning")
    if not events:
        return
    name, message = name_of(claim), events[-1]["message"]
    wanted = claim["spec"].get("storageClassName")
    size = claim["spec"]["resources"]["requests"]["storage"]
    modes = ", ".join(claim["spec"]["accessModes"])
    if "storageclass" in message and "not found" in message:
        sentence = (
            f"there is no StorageClass {wanted}: `kubectl get storageclass` shows those there are; name one of them in "
            "the overlay (spec.storageClassName; a claim that exists must be deleted first)."
        )
        yield Trouble(name, sentence, patience=15)
    elif "no storage class is set" in message:
        fitting = f"a PersistentVolume of at least {size}, {modes}"
        sentence = (
            f"it waits for {fitting} that is made by hand, and no such volume is free: make one, or let the claim name "
            "a StorageClass."
            if wanted == ""
            else f"it names no StorageClass and there is no default one: name one in the overlay, or make one the "
            f"default, or make {fitting}."
        )
        yield Trouble(name, sentence, patience=15)
    elif events[-1]["reason"] == "ExternalProvisioning":
        yield Trouble(
            name,
            f"the provisioner of StorageClass {wanted} has not made its volume yet: if that lasts, see whether it runs "
            "(`kubectl get pods -A`).",
            patience=None,
        )
    else:
        yield Trouble(name, f"no volume ({size}, {modes}): {_sentence(message)}", patience=None)


def _of_condition(found: Object, snapshot: Snapshot) -> Iterator[Trouble]:
    message = _condition(found, "Ready").get("message", "")
    requests = snapshot.owned(found, "CertificateRequest")
    if requests:
        newest = max(requests, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
        message = _condition(newest, "Ready").get("message", "") or message
    if message:
        describe = f"`kubectl -n {namespace_of(found)} describe {found['kind'].lower()} {found['metadata']['name']}`"
        operator = "cert-manager" if found["kind"] == "Certificate" else "CloudNativePG"
        yield Trouble(
            name_of(found), f"{_sentence(message)} {describe} and the log of {operator} say more.", patience=None
        )


def _containers(pod: Object) -> list[Object]:
    spec = pod.get("spec") or {}
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _specified_image(pod: Object, container: str) -> str:
    """As the manifest names it: what the status shows may be another name of the same."""
    return str(next(each["image"] for each in _containers(pod) if each["name"] == container))


def _requests(pod: Object) -> str:
    """What each container of a pod asks for."""
    asked = []
    for each in (pod.get("spec") or {}).get("containers") or []:
        requests = (each.get("resources") or {}).get("requests") or {}
        what = ", ".join(f"{name} {amount}" for name, amount in sorted(requests.items())) or "nothing"
        asked.append(f"{what} for {each['name']}")
    return " and ".join(asked)


def _reason(message: str) -> str:
    """The part of the scheduler's message that says why."""
    return message.partition(", preemption:")[0].replace(" no new claims to deallocate", "").rstrip(". ").strip()


def _sentence(message: str) -> str:
    text = " ".join(message.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _kubectl(verb: str, pod: Object) -> str:
    what = f"pod/{pod['metadata']['name']}" if verb == "describe" else pod["metadata"]["name"]
    return f"`kubectl -n {namespace_of(pod)} {verb} {what}`"


def _time_of(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")
