"""Each house rule sees what breaks it, and names the object and the place."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable

import pytest

from tests.kustomize.objects import Object, Objects, plain_name
from tests.kustomize.rules import RULES, inspect

Break = Callable[[Objects], object]


def _deployment(objects: Objects, name: str) -> Object:
    thing = objects.get("Deployment", "frontend-service" if name == "gateway" else "app-services", name)
    assert thing
    return thing


def _spec(objects: Objects, name: str) -> Object:
    spec: Object = _deployment(objects, name)["spec"]["template"]["spec"]
    return spec


def _container(objects: Objects, name: str) -> Object:
    container: Object = _spec(objects, name)["containers"][0]
    return container


def _of(objects: Objects, kind: str, name: str) -> Object:
    return next(thing for thing in objects.of(kind) if thing["metadata"]["name"] == name)


def _additional_service(objects: Objects) -> Object:
    asked = _of(objects, "Cluster", "postgres")["spec"]["managed"]["services"]["additional"]
    template: Object = asked[0]["serviceTemplate"]
    return template


def _settings(objects: Objects, name: str) -> Object:
    settings: Object = next(thing for thing in objects.of("ConfigMap") if plain_name(thing) == name)["data"]
    return settings


def _secret(objects: Objects, name: str) -> Object:
    data: Object = next(thing for thing in objects.of("Secret") if plain_name(thing) == name)["data"]
    return data


def _cron(objects: Objects, name: str) -> Object:
    return _of(objects, "CronJob", name)["spec"]


def _cron_pod(objects: Objects, name: str) -> Object:
    spec: Object = _cron(objects, name)["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def _volume(objects: Objects, name: str, volume: str) -> Object:
    return next(each for each in _spec(objects, name)["volumes"] if each["name"] == volume)


def _without_mount(container: Object, path: str) -> None:
    container["volumeMounts"] = [each for each in container["volumeMounts"] if each["mountPath"] != path]


def _mount(container: Object, path: str) -> Object:
    return next(each for each in container["volumeMounts"] if each["mountPath"] == path)


def _empty_instead_of_claim(objects: Objects, name: str) -> None:
    _volume(objects, name, "images").pop("persistentVolumeClaim")
    _volume(objects, name, "images").update(emptyDir={"sizeLimit": "1Gi"})


def _route(objects: Objects, service: str, port: object, where: str = "frontend-service") -> None:
    backend = {"service": {"name": service, "port": {"number": port}}}
    spec = {"rules": [{"host": "a", "http": {"paths": [{"path": "/", "backend": backend}]}}]}
    _add(objects, "Ingress", where, spec)


def _add(objects: Objects, kind: str, where: str, spec: Object) -> None:
    objects.all.append({"kind": kind, "metadata": {"name": "broken", "namespace": where}, "spec": spec})


# rule, what breaks it, and what the message says.
CASES: list[tuple[str, Break, str]] = [
    (
        "pods_are_restricted",
        lambda o: _spec(o, "auth")["securityContext"].update(runAsUser=0),
        "Deployment app-services/auth: spec.template.spec.containers[auth].securityContext.runAsUser",
    ),
    (
        "pods_are_restricted",
        lambda o: _cron_pod(o, "backup")["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
        "CronJob app-services/backup: spec.jobTemplate.spec.template.spec.containers[backup].securityContext.readOnly",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "images")["initContainers"][0]["securityContext"].update(capabilities={"drop": ["CHOWN"]}),
        "Deployment app-services/images: spec.template.spec.initContainers[migrate].securityContext.capabilities.drop",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "gateway")["securityContext"].pop("seccompProfile"),
        "containers[gateway].securityContext.seccompProfile.type",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "gateway")["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "Deployment frontend-service/gateway: spec.template.spec.volumes[host]: hostPath",
    ),
    (
        "pods_have_no_token_and_no_links",
        lambda o: _spec(o, "auth").pop("automountServiceAccountToken"),
        "Deployment app-services/auth: spec.template.spec.automountServiceAccountToken",
    ),
    (
        "pods_have_no_token_and_no_links",
        lambda o: _cron_pod(o, "backup").update(serviceAccountName="nobody"),
        "CronJob app-services/backup: spec.jobTemplate.spec.template.spec.serviceAccountName: there is no",
    ),
    (
        "pods_have_no_token_and_no_links",
        lambda o: _spec(o, "files").update(enableServiceLinks=True),
        "Deployment app-services/files: spec.template.spec.enableServiceLinks",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "auth").pop("startupProbe"),
        "Deployment app-services/auth: spec.template.spec.containers[auth].startupProbe: it is missing",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "auth")["livenessProbe"]["httpGet"].update(path="/readyz"),
        "containers[auth].livenessProbe: it must be {'httpGet': {'path': '/livez', 'port': 'management'}}",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "gateway")["readinessProbe"]["httpGet"].update(port="http"),
        "containers[gateway].readinessProbe: it must be {'httpGet': {'path': '/readyz', 'port': 'management'}}",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "files")["livenessProbe"].update(periodSeconds=1),
        "containers[nginx].livenessProbe: it kills after 3 s",
    ),
    (
        "containers_have_requests_and_limits",
        lambda o: _spec(o, "auth")["initContainers"][0]["resources"].pop("limits"),
        "Deployment app-services/auth: spec.template.spec.initContainers[migrate].resources.limits.memory",
    ),
    (
        "containers_have_requests_and_limits",
        lambda o: _container(o, "images")["resources"]["requests"].update(memory="8Gi"),
        "containers[images].resources.limits.memory: it is below the request",
    ),
    (
        "temporary_volumes_have_a_limit",
        lambda o: _volume(o, "gateway", "tmp").update(emptyDir={}),
        "Deployment frontend-service/gateway: spec.template.spec.volumes[tmp].emptyDir.sizeLimit",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "auth").update(
            spec={"minAvailable": 2, "selector": _of(o, "PodDisruptionBudget", "auth")["spec"]["selector"]}
        ),
        "PodDisruptionBudget app-services/auth: spec.minAvailable: with 2 replicas it never lets",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "gateway")["spec"].update(selector={"matchLabels": {"a": "b"}}),
        "PodDisruptionBudget frontend-service/gateway: spec.selector: it selects no pod",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "files")["spec"].update(maxUnavailable="100%"),
        "PodDisruptionBudget app-services/files: spec.maxUnavailable: with 2 replicas it may take all",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: o.all.remove(_of(o, "PodDisruptionBudget", "images")),
        "Deployment app-services/images: spec.template: 0 PodDisruptionBudgets",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _deployment(o, "files")["spec"].update(replicas=3),
        "Deployment app-services/files: spec.replicas",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _of(o, "HorizontalPodAutoscaler", "auth")["spec"]["scaleTargetRef"].update(name="author"),
        "HorizontalPodAutoscaler app-services/auth: spec.scaleTargetRef: there is no Deployment author",
    ),
    (
        "connections_are_planned",
        lambda o: _of(o, "HorizontalPodAutoscaler", "auth")["spec"].update(maxReplicas=7),
        "HorizontalPodAutoscaler app-services/auth: spec.maxReplicas: config/connections.toml allows 6",
    ),
    (
        "rollouts_keep_serving_and_end",
        lambda o: _deployment(o, "auth")["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "Deployment app-services/auth: spec.strategy.rollingUpdate.maxUnavailable",
    ),
    (
        "rollouts_keep_serving_and_end",
        lambda o: _spec(o, "gateway").update(terminationGracePeriodSeconds=20),
        "Deployment frontend-service/gateway: spec.template.spec.terminationGracePeriodSeconds: it is 20",
    ),
    (
        "services_meet_their_pods",
        lambda o: _of(o, "Service", "images")["spec"]["ports"][0].update(targetPort="web"),
        "Service app-services/images: spec.ports[http]: no container has a port 'web'",
    ),
    (
        "services_meet_their_pods",
        lambda o: _of(o, "Service", "auth")["spec"]["selector"].update({"app.kubernetes.io/name": "gateway"}),
        "Service app-services/auth: spec.selector: it selects the pods of 0 workloads",
    ),
    (
        "selectors_are_the_pods_own",
        lambda o: _deployment(o, "auth")["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/name": "a"}),
        "Deployment app-services/auth: spec.selector.matchLabels: its own pods lack them",
    ),
    (
        "everything_is_labelled",
        lambda o: _of(o, "Service", "auth")["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
        "Service app-services/auth: metadata.labels[app.kubernetes.io/part-of]",
    ),
    (
        "everything_is_labelled",
        lambda o: _of(o, "Namespace", "app-services")["metadata"]["labels"].pop("app.kubernetes.io/component"),
        "Namespace app-services: metadata.labels[app.kubernetes.io/component]: it is missing",
    ),
    (
        "everything_is_labelled",
        lambda o: _of(o, "Issuer", "seawall")["metadata"]["labels"].pop("app.kubernetes.io/name"),
        "metadata.labels[app.kubernetes.io/name]: it is missing",
    ),
    (
        "namespaces_are_restricted",
        lambda o: _of(o, "Namespace", "app-services")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
        "Namespace app-services: metadata.labels[pod-security.kubernetes.io/enforce]",
    ),
    (
        "routes_lead_to_services",
        lambda o: _route(o, "portal", 80),
        "Ingress frontend-service/broken: spec.rules[a]./: the",
    ),
    ("routes_lead_to_services", lambda o: _route(o, "gateway", 80), "Service frontend-service/gateway has no port 80"),
    (
        "routes_lead_to_services",
        lambda o: _route(o, "gateway", 9000),
        "port 9000 of Service frontend-service/gateway is a management port",
    ),
    (
        "references_exist",
        lambda o: _container(o, "auth")["envFrom"][0]["configMapRef"].update(name="auth"),
        "Deployment app-services/auth: spec.template.spec.containers[auth].envFrom: there is no ConfigMap auth",
    ),
    (
        "references_exist",
        lambda o: _volume(o, "auth", "secrets")["secret"].update(secretName="authentication"),
        "Deployment app-services/auth: spec.template.spec.volumes[secrets]: there is no Secret authentication",
    ),
    (
        "references_exist",
        lambda o: _volume(o, "auth", "secrets")["secret"].update(items=[{"key": "SECRET", "path": "SECRET"}]),
        "volumes[secrets]: Secret auth",
    ),
    (
        "references_exist",
        lambda o: _volume(o, "images", "images")["persistentVolumeClaim"].update(claimName="pictures"),
        "Deployment app-services/images: spec.template.spec.volumes[images]: there is no PersistentVolumeClaim pi",
    ),
    (
        "secrets_are_read_as_files",
        lambda o: _container(o, "auth")["envFrom"].append({"secretRef": {"name": "auth"}}),
        "Deployment app-services/auth: spec.template.spec.containers[auth].envFrom: a Secret must be",
    ),
    (
        "secrets_are_read_as_files",
        lambda o: _volume(o, "auth", "secrets")["secret"].pop("defaultMode"),
        "volumes[secrets].secret.defaultMode: it is 644",
    ),
    ("images_are_pinned", lambda o: _container(o, "auth").update(image="a/auth"), "auth].image: a/auth has no tag"),
    (
        "images_are_pinned",
        lambda o: _container(o, "auth").update(image="a/auth:latest"),
        "latest of a/auth:latest is no",
    ),
    (
        "images_are_pinned",
        lambda o: _container(o, "auth").update(image="a/auth:1"),
        "1 of a/auth:1 is no whole version",
    ),
    (
        "images_are_pinned",
        lambda o: _container(o, "auth").update(image=f"a/auth:latest@sha256:{'0' * 64}"),
        "is what is newest, not one version",
    ),
    ("images_are_pinned", lambda o: _container(o, "auth").update(image="a:5/b/auth"), "a:5/b/auth has no tag"),
    (
        "images_are_pinned",
        lambda o: _container(o, "auth").update(image="a/python:3.11-slim-bookworm"),
        "3.11-slim-bookworm of a/python:3.11-slim-bookworm is no whole version",
    ),
    (
        "images_are_pinned",
        lambda o: _container(o, "auth").update(image="a/postgres:18"),
        "18 of a/postgres:18 is no whole version",
    ),
    (
        "images_are_pinned",
        lambda o: o.all.append(
            {
                "kind": "Cluster",
                "metadata": {"name": "postgres", "namespace": "app-services"},
                "spec": {"imageName": "a/postgresql:18-standard-trixie"},
            }
        ),
        "Cluster app-services/postgres: spec.imageName: 18-standard-trixie of",
    ),
    (
        "images_are_pinned",
        lambda o: o.all.append(
            {"kind": "Cluster", "metadata": {"name": "postgres", "namespace": "app-services"}, "spec": {}}
        ),
        "Cluster app-services/postgres: spec.imageName:  has no tag",
    ),
    (
        "generated_names_have_a_hash",
        lambda o: (
            _container(o, "auth")["envFrom"][0]["configMapRef"].update(name="plain"),
            o.all.append({"kind": "ConfigMap", "metadata": {"name": "plain", "namespace": "app-services"}}),
        ),
        "ConfigMap app-services/plain: metadata.name: it has no hash",
    ),
    (
        "claims_of_many_are_for_many_nodes",
        lambda o: (
            _cron_pod(o, "backup")["volumes"].append(
                {"name": "images", "persistentVolumeClaim": {"claimName": "images"}}
            ),
            _cron_pod(o, "backup")["containers"][0]["volumeMounts"].append({"name": "images", "mountPath": "/images"}),
        ),
        "containers[backup].volumeMounts[/images]: backup may only read it",
    ),
    (
        "jobs_end_and_are_cleared_away",
        lambda o: _cron(o, "backup").update(concurrencyPolicy="Allow"),
        "CronJob app-services/backup: spec.concurrencyPolicy",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "auth")["startupProbe"].update(failureThreshold=20),
        "containers[auth].startupProbe: it gives up after 40 s: at least 120",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _of(o, "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0]["startupProbe"].update(
            failureThreshold=30
        ),
        "containers[postgres].startupProbe: it gives up after 60 s: at least 600",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "auth")["spec"].pop("unhealthyPodEvictionPolicy"),
        "PodDisruptionBudget app-services/auth: spec.unhealthyPodEvictionPolicy: it is None",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _of(o, "HorizontalPodAutoscaler", "auth")["spec"].update(behavior={}),
        "HorizontalPodAutoscaler app-services/auth: spec.behavior.scaleDown.policies",
    ),
    (
        "connections_are_planned",
        lambda o: _deployment(o, "images")["spec"]["strategy"]["rollingUpdate"].update(maxSurge="25%"),
        "Deployment app-services/images: spec.strategy.rollingUpdate.maxSurge: config/connections.toml allows 1",
    ),
    (
        "connections_are_planned",
        lambda o: _deployment(o, "console")["spec"].update(replicas=2),
        "Deployment app-services/console: spec.replicas: config/connections.toml allows 1",
    ),
    (
        "connections_are_planned",
        lambda o: _deployment(o, "console")["spec"].update(
            strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
        ),
        "Deployment app-services/console: spec.strategy.rollingUpdate.maxSurge: config/connections.toml allows 0",
    ),
    (
        "files_walks_in_steps_of_eight",
        lambda o: _of(o, "HorizontalPodAutoscaler", "files")["spec"]["behavior"]["scaleDown"]["policies"][0].update(
            value=4
        ),
        "HorizontalPodAutoscaler app-services/files: spec.behavior: it is not",
    ),
    (
        "files_walks_in_steps_of_eight",
        lambda o: _of(o, "HorizontalPodAutoscaler", "files")["spec"].pop("behavior"),
        "HorizontalPodAutoscaler app-services/files: spec.behavior: it is not",
    ),
    (
        "files_walks_in_steps_of_eight",
        lambda o: _of(o, "HorizontalPodAutoscaler", "files")["spec"].update(maxReplicas=10),
        "HorizontalPodAutoscaler app-services/files: spec.maxReplicas: it must be 18",
    ),
    (
        "replicas_are_spread",
        lambda o: _spec(o, "gateway").pop("topologySpreadConstraints"),
        "Deployment frontend-service/gateway: spec.template.spec.topologySpreadConstraints",
    ),
    (
        "replicas_are_spread",
        lambda o: _spec(o, "auth")["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}),
        "Deployment app-services/auth: spec.template.spec.topologySpreadConstraints",
    ),
    (
        "rollouts_keep_serving_and_end",
        lambda o: _container(o, "files").pop("lifecycle"),
        "Deployment app-services/files: spec.template.spec.containers[nginx].lifecycle.preStop: it closes its port",
    ),
    (
        "rollouts_keep_serving_and_end",
        lambda o: _container(o, "files")["lifecycle"]["preStop"]["sleep"].update(seconds=60),
        "Deployment app-services/files: spec.template.spec.terminationGracePeriodSeconds: it is 40",
    ),
    (
        "schemas_are_migrated_before_anything_serves",
        lambda o: _spec(o, "images").pop("initContainers"),
        "Deployment app-services/images: spec.template.spec.initContainers: none of them migrates",
    ),
    (
        "schemas_are_migrated_before_anything_serves",
        lambda o: _spec(o, "auth")["initContainers"][0].update(image="localhost/another"),
        "Deployment app-services/auth: spec.template.spec.initContainers: none of them migrates",
    ),
    (
        "claims_of_many_are_for_many_nodes",
        lambda o: _of(o, "PersistentVolumeClaim", "images")["spec"].update(accessModes=["ReadWriteOnce"]),
        "PersistentVolumeClaim app-services/images: spec.accessModes: pods on several nodes",
    ),
    (
        "claims_of_many_are_for_many_nodes",
        lambda o: _volume(o, "files", "images")["persistentVolumeClaim"].pop("readOnly"),
        "Deployment app-services/files: spec.template.spec.volumes[images]: files may only read",
    ),
    (
        "claims_of_many_are_for_many_nodes",
        lambda o: [each.pop("readOnly", None) for each in _container(o, "files")["volumeMounts"]],
        "containers[nginx].volumeMounts[/images]: files may only read",
    ),
    (
        "jobs_end_and_are_cleared_away",
        lambda o: _cron(o, "backup").pop("timeZone"),
        "CronJob app-services/backup: spec.timeZone: it is missing",
    ),
    (
        "jobs_end_and_are_cleared_away",
        lambda o: _cron(o, "backup").pop("failedJobsHistoryLimit"),
        "CronJob app-services/backup: spec.failedJobsHistoryLimit: it is missing",
    ),
    (
        "jobs_end_and_are_cleared_away",
        lambda o: _cron(o, "backup")["jobTemplate"]["spec"].pop("ttlSecondsAfterFinished"),
        "CronJob app-services/backup: spec.jobTemplate.spec.ttlSecondsAfterFinished",
    ),
    (
        "no_object_is_there_twice",
        lambda o: o.all.append(_of(o, "Service", "auth")),
        "Service app-services/auth: metadata.name: it is there twice",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _empty_instead_of_claim(o, "images"),
        "containers[images].volumeMounts[/images]: /images (IMAGE_ROOT) must be on the claim images",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _empty_instead_of_claim(o, "files"),
        "containers[nginx].volumeMounts[/images]: /images (root) must be on the claim images",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _mount(_container(o, "images"), "/images").update(mountPath="/pictures"),
        "Deployment app-services/images: spec.template.spec.containers[images].volumeMounts: /images (IMAGE_ROOT)",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _without_mount(_cron_pod(o, "backup")["containers"][0], "/backups"),
        "CronJob app-services/backup: spec.jobTemplate.spec.template.spec.containers[backup].volumeMounts: /backups",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _without_mount(_container(o, "gateway"), "/var/tmp/uploads"),
        "Deployment frontend-service/gateway: spec.template.spec.containers[gateway].volumeMounts: /var/tmp/uploads",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _without_mount(_container(o, "gateway"), "/tmp"),
        "containers[gateway].volumeMounts: /tmp/jwks.json (JWKS_CACHE_FILE) is on none",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _without_mount(_spec(o, "auth")["initContainers"][0], "/run/metrics"),
        "initContainers[migrate].volumeMounts: /run/metrics (PROMETHEUS_MULTIPROC_DIR) is on none",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _mount(_spec(o, "files")["initContainers"][0], "/metrics").update(readOnly=True),
        "initContainers[metrics].volumeMounts[/metrics]: /metrics (FILES_METRICS) cannot be written",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _mount(_container(o, "files"), "/metrics").update(name="nginx"),
        "containers[nginx].volumeMounts[/metrics]: /metrics/requests.log (access_log) cannot be written",
    ),
    (
        "folders_are_on_their_volumes",
        lambda o: _mount(_container(o, "files"), "/metrics").update(name="tmp"),
        "containers[nginx].volumeMounts[/metrics]: another container has metrics there",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _spec(o, "auth")["containers"].append({**_container(o, "auth"), "name": "tail", "ports": []}),
        "Deployment app-services/auth: spec.template.spec.containers[tail].startupProbe.port: the container has no",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _spec(o, "auth")["containers"].append({"name": "tail", "image": "localhost/tail:1"}),
        "Deployment app-services/auth: spec.template.spec.containers[tail].livenessProbe: it is missing",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "images").update(readinessProbe={"tcpSocket": {"port": "http"}}),
        "containers[images].readinessProbe: it must be",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "auth").update(
            livenessProbe={"exec": {"command": ["python", "manage.py", "check", "--database", "default"]}}
        ),
        "containers[auth].livenessProbe: it must be",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "console")["ports"][1].update(containerPort=8005),
        "containers[console].startupProbe.port: 8005 is no management port",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _container(o, "postgres-exporter")["livenessProbe"]["httpGet"].update(path="/metrics"),
        "containers[postgres-exporter].livenessProbe: it must be",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _spec(o, "files")["initContainers"][0].pop("livenessProbe"),
        "Deployment app-services/files: spec.template.spec.initContainers[metrics].livenessProbe: it is missing",
    ),
    (
        "everything_that_serves_is_probed",
        lambda o: _spec(o, "files")["initContainers"][0].update(startupProbe={"exec": {"command": ["true"]}}),
        "initContainers[metrics].startupProbe: it must not be there",
    ),
    (
        "pods_are_restricted",
        lambda o: _container(o, "gateway")["ports"][0].update(hostPort=80),
        "Deployment frontend-service/gateway: spec.template.spec.containers[gateway].ports[http].hostPort",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "images")["volumes"].append({"name": "share", "nfs": {"server": "a", "path": "/"}}),
        "Deployment app-services/images: spec.template.spec.volumes[share]: nfs is not allowed",
    ),
    (
        "pods_are_restricted",
        lambda o: _container(o, "auth")["securityContext"].update(procMount="Unmasked"),
        "containers[auth].securityContext.procMount: it is not allowed",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "auth")["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
        "Deployment app-services/auth: spec.template.spec.securityContext.sysctls: it is not allowed",
    ),
    (
        "pods_are_restricted",
        lambda o: _container(o, "auth")["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
        "containers[auth].securityContext.seLinuxOptions: it is not allowed",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "auth")["securityContext"].pop("runAsGroup"),
        "containers[auth].securityContext.runAsGroup: it must be a number above 0",
    ),
    (
        "pods_are_restricted",
        lambda o: _spec(o, "files")["securityContext"].update(supplementalGroups=[0]),
        "Deployment app-services/files: spec.template.spec.securityContext: the group 0 is root's",
    ),
    (
        "services_meet_their_pods",
        lambda o: _of(o, "Service", "auth")["spec"].update(type="LoadBalancer"),
        "Service app-services/auth: spec.type: it is LoadBalancer",
    ),
    (
        "services_meet_their_pods",
        lambda o: _of(o, "Service", "auth")["spec"].update(type="ExternalName", externalName="example.com"),
        "Service app-services/auth: spec.type: it is ExternalName",
    ),
    (
        "services_meet_their_pods",
        lambda o: _of(o, "Service", "auth")["spec"].update(externalIPs=["203.0.113.10"]),
        "Service app-services/auth: spec.externalIPs",
    ),
    (
        "routes_lead_to_services",
        lambda o: _route(o, "auth", 8001, "app-services"),
        "Ingress app-services/broken: spec.rules[a]./: Service app-services/auth is not for the outside",
    ),
    (
        "routes_lead_to_services",
        lambda o: _route(o, "prometheus-stack-grafana", 80, "app-services"),
        "Ingress app-services/broken: spec.rules[a]./: there is no Service app-services/prometheus-stack-grafana",
    ),
    (
        "routes_lead_to_services",
        lambda o: _of(o, "Ingress", "images")["spec"].update(
            defaultBackend={"service": {"name": "nobody", "port": {"number": 80}}}
        ),
        "Ingress app-services/images: spec.defaultBackend: there is no Service app-services/nobody",
    ),
    (
        "routes_lead_to_services",
        lambda o: _of(o, "Ingress", "images")["spec"].update(defaultBackend={"resource": {"name": "bucket"}}),
        "Ingress app-services/images: spec.defaultBackend: it must be a Service",
    ),
    (
        "routes_lead_to_services",
        lambda o: _add(
            o, "HTTPRoute", "app-services", {"rules": [{"backendRefs": [{"name": "images", "port": 8002}]}]}
        ),
        "HTTPRoute app-services/broken: spec.rules[0].backendRefs: Service app-services/images is not for the outside",
    ),
    (
        "routes_lead_to_services",
        lambda o: _add(o, "HTTPRoute", "app-services", {"rules": [{"filters": [{"type": "RequestMirror"}]}]}),
        "HTTPRoute app-services/broken: spec.rules[0].filters: they may only redirect",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _of(o, "HorizontalPodAutoscaler", "images")["spec"].update(metrics=[]),
        "HorizontalPodAutoscaler app-services/images: spec.metrics: it measures nothing",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _of(o, "HorizontalPodAutoscaler", "images")["spec"]["scaleTargetRef"].update(
            apiVersion="apps/v1beta1"
        ),
        "HorizontalPodAutoscaler app-services/images: spec.scaleTargetRef.apiVersion: it is apps/v1beta1, not apps/v1",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _add(o, "HorizontalPodAutoscaler", "app-services", _of(o, "HorizontalPodAutoscaler", "auth")["spec"]),
        "Deployment app-services/auth: spec: 2 HorizontalPodAutoscalers",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: (
            o.all.remove(_of(o, "HorizontalPodAutoscaler", "auth")),
            _deployment(o, "auth")["spec"].update(replicas=3),
        ),
        "Deployment app-services/auth: spec: 0 HorizontalPodAutoscalers",
    ),
    (
        "autoscalers_own_their_target",
        lambda o: _of(o, "HorizontalPodAutoscaler", "auth")["spec"]["scaleTargetRef"].update(name="console"),
        "Deployment app-services/console: spec: 1 HorizontalPodAutoscalers",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "auth")["spec"]["selector"].update(
            matchExpressions=[{"key": "app.kubernetes.io/name", "operator": "NotIn", "values": ["auth"]}]
        ),
        "PodDisruptionBudget app-services/auth: spec.selector: it selects no pod",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "PodDisruptionBudget", "auth")["spec"].update(selector={}),
        "Deployment app-services/images: spec.template: 2 PodDisruptionBudgets",
    ),
    (
        "replicas_are_spread",
        lambda o: _spec(o, "auth")["topologySpreadConstraints"][0].update(labelSelector={}),
        "Deployment app-services/auth: spec.template.spec.topologySpreadConstraints",
    ),
    (
        "rollouts_keep_serving_and_end",
        lambda o: (
            _settings(o, "auth").pop("GRACEFUL_TIMEOUT"),
            _spec(o, "auth").update(terminationGracePeriodSeconds=24),
        ),
        "Deployment app-services/auth: spec.template.spec.terminationGracePeriodSeconds: it is 24, and draining",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _settings(o, "gateway").update(AUTH_URL="http://auth.app-services.svc:8011"),
        "containers[gateway]: AUTH_URL: auth.app-services.svc:8011: it has no such port",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _settings(o, "gateway").update(AUTH_URL="http://author.app-services.svc:8001"),
        "containers[gateway]: AUTH_URL: author.app-services.svc:8001: there is no such Service",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _settings(o, "auth").update(ALLOWED_HOSTS="auth"),
        "containers[gateway]: AUTH_URL: auth.app-services.svc:8001: auth does not answer to this name",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _settings(o, "postgres-exporter").update(DATA_SOURCE_URI="db.example.com:5432/postgres"),
        "containers[postgres-exporter]: DATA_SOURCE_URI: it is no address of a Service",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _secret(o, "auth").update(
            DATABASE_URL=base64.b64encode(b"postgres://auth:x@db.app-services.svc/auth").decode()
        ),
        "initContainers[migrate]: DATABASE_URL: db.app-services.svc: there is no such Service",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _settings(o, "files-nginx").update({"a.conf": "proxy_pass http://images.app-services.svc:8002;"}),
        "containers[nginx]: a.conf: images.app-services.svc:8002: NetworkPolicies do not let it through",
    ),
    (
        "connections_are_planned",
        lambda o: _settings(o, "auth").update(WORKERS="8"),
        "Deployment app-services/auth: spec.template.spec.containers[auth]: WORKERS: the plan of connections allows 2",
    ),
    (
        "connections_are_planned",
        lambda o: _container(o, "console").update(env=[{"name": "THREADS", "value": "16"}]),
        "Deployment app-services/console: spec.template.spec.containers[console]: THREADS: the plan of",
    ),
    (
        "connections_are_planned",
        lambda o: _settings(o, "images").update(DATABASE_POOL_SIZE="50"),
        "Deployment app-services/images: spec.template.spec.containers[images]: DATABASE_POOL_SIZE: the plan of",
    ),
    (
        "connections_are_planned",
        lambda o: _deployment(o, "postgres-exporter")["spec"].update(strategy={"type": "RollingUpdate"}),
        "Deployment app-services/postgres-exporter: spec.strategy.rollingUpdate.maxSurge: config/connections.toml",
    ),
    (
        "no_object_is_there_twice",
        lambda o: _add(o, "Pod", "app-services", {"containers": [{"name": "a", "image": "busybox:latest"}]}),
        "Pod app-services/broken: kind: no rule knows a Pod",
    ),
    (
        "no_object_is_there_twice",
        lambda o: _add(o, "ReplicaSet", "app-services", _deployment(o, "auth")["spec"]),
        "ReplicaSet app-services/broken: kind: no rule knows a ReplicaSet",
    ),
    (
        "no_object_is_there_twice",
        lambda o: o.all.append({"kind": "ClusterRoleBinding", "metadata": {"name": "broken"}}),
        "ClusterRoleBinding broken: kind: no rule knows",
    ),
    (
        "generated_names_have_a_hash",
        lambda o: (
            _container(o, "auth")["envFrom"][0]["configMapRef"].update(name="auth-production"),
            _add(o, "ConfigMap", "app-services", {}),
            o.all[-1]["metadata"].update(name="auth-production"),
        ),
        "ConfigMap app-services/auth-production: metadata.name: it has no hash",
    ),
]

# What only the production overlay has.
CASES_OF_PRODUCTION: list[tuple[str, Break, str]] = [
    (
        "containers_have_requests_and_limits",
        lambda o: _of(o, "Cluster", "postgres")["spec"].pop("resources"),
        "Cluster app-services/postgres: spec.resources.requests.cpu: it is missing",
    ),
    (
        "containers_have_requests_and_limits",
        lambda o: _of(o, "ObjectStore", "postgres")["spec"]["instanceSidecarConfiguration"]["resources"].pop("limits"),
        "ObjectStore app-services/postgres: spec.instanceSidecarConfiguration.resources.limits.memory: it is missing",
    ),
    (
        "disruption_budgets_protect_and_let_drain",
        lambda o: _of(o, "Cluster", "postgres")["spec"].update(enablePDB=False),
        "Cluster app-services/postgres: spec.enablePDB",
    ),
    (
        "references_exist",
        lambda o: _of(o, "Cluster", "postgres")["spec"].update(priorityClassName="nope"),
        "Cluster app-services/postgres: spec.priorityClassName: there is no PriorityClass nope",
    ),
    (
        "references_exist",
        lambda o: _of(o, "Cluster", "postgres")["spec"]["managed"]["roles"][0]["passwordSecret"].update(name="nope"),
        "Cluster app-services/postgres: spec.managed.roles.passwordSecret: there is no Secret nope",
    ),
    (
        "references_exist",
        lambda o: _of(o, "Cluster", "postgres")["spec"]["bootstrap"]["initdb"]["secret"].update(name="nope"),
        "Cluster app-services/postgres: spec.bootstrap.initdb.secret: there is no Secret nope",
    ),
    (
        "references_exist",
        lambda o: _of(o, "ObjectStore", "postgres")["spec"]["configuration"]["s3Credentials"]["accessKeyId"].update(
            key="S3_ACCESS_KEY_ID"
        ),
        "ObjectStore app-services/postgres: spec.configuration.s3Credentials.accessKeyId: Secret backup-store",
    ),
    (
        "references_exist",
        lambda o: o.all.remove(_of(o, "ObjectStore", "postgres")),
        "Cluster app-services/postgres: spec.plugins[barman-cloud.cloudnative-pg.io]: there is no ObjectStore postgres",
    ),
    (
        "references_exist",
        lambda o: _of(o, "ScheduledBackup", "postgres")["spec"]["cluster"].update(name="nope"),
        "ScheduledBackup app-services/postgres: spec.cluster.name: there is no Cluster nope",
    ),
    (
        "services_meet_their_pods",
        lambda o: _additional_service(o).update(spec={"type": "LoadBalancer"}),
        "Cluster app-services/postgres: spec.managed.services.additional[postgres].serviceTemplate.spec.type",
    ),
    (
        "addresses_are_those_of_services",
        lambda o: _additional_service(o)["metadata"].update(name="pg"),
        "containers[postgres-exporter]: DATA_SOURCE_URI: postgres.app-services.svc:5432: there is no such Service",
    ),
]


def test_every_rule_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(RULES)


@pytest.mark.parametrize(
    ("tree", "rule", "broken", "says"),
    [
        pytest.param(tree, *case, id=f"{case[0]}-{tree}-{number}")
        for tree, cases in (("minikube", CASES), ("production", CASES_OF_PRODUCTION))
        for number, case in enumerate(cases)
    ],
)
def test_a_rule_names_what_breaks_it(
    built: Callable[[str], Objects], tree: str, rule: str, broken: Break, says: str
) -> None:
    before = set(inspect(rule, built(tree)).faults)
    objects = Objects("broken", copy.deepcopy(built(tree).all))
    broken(objects)
    new = [fault for fault in inspect(rule, objects).faults if fault not in before]
    assert any(says in fault for fault in new), f"{says!r} is not in {new}"
