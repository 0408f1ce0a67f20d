"""What runs at its times: each job does its work on the cluster, with the rights and edges that it has there."""

from __future__ import annotations

import pytest

from tests.cluster.kubectl import Kubectl, until
from tests.cluster.system import System

NAMESPACE = "app-services"
# `backup` first: the others find something to do.
JOBS = ("backup", "backup-prune", "signing-keys", "credentials-purge", "audit-prune", "images-reap", "images-verify")


def test_there_is_no_other_job(kubectl: Kubectl, system: System) -> None:
    assert {job["metadata"]["name"] for job in kubectl.objects("cronjobs", NAMESPACE)} == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_succeeds(kubectl: Kubectl, system: System, name: str) -> None:
    run = f"{name}-tried"
    kubectl.run("-n", NAMESPACE, "delete", "job", run, "--ignore-not-found")
    try:
        kubectl.run("-n", NAMESPACE, "create", "job", run, f"--from=cronjob/{name}")

        until(lambda: ended(kubectl, run), lambda: f"job {name} ends; {system.explain()}", 300)

        assert ended(kubectl, run) == "Complete", kubectl.run(
            "-n", NAMESPACE, "logs", f"job/{run}", "--all-containers", check=False
        ).stdout
    finally:
        kubectl.run("-n", NAMESPACE, "delete", "job", run, "--ignore-not-found")


def ended(kubectl: Kubectl, name: str) -> str:
    """How a Job has ended, empty while it runs."""
    job = kubectl.get("job", name, NAMESPACE)
    assert job
    conditions = job["status"].get("conditions", [])
    return next(
        (str(one["type"]) for one in conditions if one["type"] in {"Complete", "Failed"} and one["status"] == "True"),
        "",
    )
