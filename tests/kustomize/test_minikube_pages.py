"""The pages that say how minikube is started say the same, and what the manifests and the gateway need."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from ops.cluster.preflight import NEWEST_KUBERNETES, OLDEST_KUBERNETES
from tests.kustomize import trees
from tests.kustomize.test_schemas import MINORS

OVERLAY = trees.PROJECT / "kustomize" / "overlays" / "minikube"
PAGES = ("README.md", "docs/kubernetes.md", "kustomize/overlays/minikube/README.md")
BEGINNINGS = (
    "minikube start",
    "kubectl patch configmap",
    "minikube ssh",
    "make images",
    "kubectl apply -f",
    ".venv/bin/python manage.py deploy kustomize",
)


def command(page: str, beginning: str) -> str:
    """The one command of a page that begins like this."""
    lines = [line.strip() for line in (trees.PROJECT / page).read_text().splitlines()]
    (found,) = {line for line in lines if line.startswith(beginning) and "REGISTRY" not in line}
    return found


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_every_page_has_the_same_command(beginning: str) -> None:
    assert len({command(page, beginning) for page in PAGES}) == 1


def test_the_ingress_controller_takes_what_the_gateway_takes() -> None:
    limit = re.search(r"^BODY_LIMIT = (.+)$", (trees.PROJECT / "config/settings/gateway.py").read_text(), re.MULTILINE)
    size = re.search(r'"proxy-body-size":"(\d+)m"', command(PAGES[0], "kubectl patch configmap"))
    assert limit
    assert size
    allowed = 1
    for factor in limit[1].split(" * "):
        allowed *= int(factor)
    assert int(size[1]) * 1024 * 1024 == allowed


def test_the_ingress_controller_leaves_plain_http_to_whoever_serves_the_host() -> None:
    assert '"ssl-redirect":"false"' in command(PAGES[0], "kubectl patch configmap")


def test_images_and_folder_are_those_of_the_overlay() -> None:
    prefix = re.search(r"PREFIX=(\S+)", command(PAGES[0], "make images"))
    assert prefix
    images = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["images"]
    ours = [image for image in images if image["name"].startswith("seawall-")]
    assert len(ours) == 4
    assert all(image["newName"] == prefix[1] + image["name"].removeprefix("seawall-") for image in ours)
    volume = yaml.safe_load((OVERLAY / "persistentvolume-postgres.yaml").read_text())
    assert command(PAGES[0], "minikube ssh").endswith(f" {volume['spec']['local']['path']}")


def test_the_version_of_kubernetes_is_one_that_is_validated_and_that_deploy_accepts() -> None:
    version = re.search(r"--kubernetes-version=v(\d+\.\d+)\.\d+\b", command(PAGES[0], "minikube start"))
    assert version
    assert version[1] in MINORS
    major, _, minor = version[1].partition(".")
    assert OLDEST_KUBERNETES <= (int(major), int(minor)) <= NEWEST_KUBERNETES


@pytest.mark.parametrize("page", PAGES)
def test_every_page_also_says_how_kubectl_alone_does_it(page: str) -> None:
    assert "kubectl apply -k" in (trees.PROJECT / page).read_text()


def test_logs_of_every_container_of_a_role_may_be_followed_at_once() -> None:
    followed = command("docs/kubernetes.md", "kubectl logs -f")
    assert "--all-containers" in followed
    assert "--max-log-requests=20" in followed


def test_the_machine_is_the_one_that_capacity_is_judged_by() -> None:
    made_by = tomllib.loads((trees.PROJECT / "kustomize" / "capacity.toml").read_text())["machine"]["made_by"]
    assert command(PAGES[0], "minikube start").startswith(made_by)
