"""The system on the cluster that SEAWALL_CONTEXT names: brought up once, and found again as it was by each scenario."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cluster.front import Front
from tests.cluster.kubectl import Kubectl
from tests.cluster.system import PROJECT, System

# What takes the system away for good comes last; `start` makes it from nothing.
_ORDER = (
    "test_start",
    "test_people",
    "test_network",
    "test_jobs",
    "test_interruptions",
    "test_scaling",
    "test_bad_input",
    "test_database",
    "test_tls",
    "test_upgrade",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(_ORDER)}
    items.sort(key=lambda item: order.get(item.path.stem, -1))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    kubectl = Kubectl.from_environment()
    Front.addresses()
    return kubectl


@pytest.fixture(scope="session")
def declared(kubectl: Kubectl) -> System:
    """The system as the overlay declares it, which may not be there yet. The cluster has what it needs."""
    system = System.of_environment(kubectl)
    system.refuse_foreign()
    command = [sys.executable, "manage.py", "deploy", str(system.overlay), "--context", kubectl.context, "--check"]
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    if said.returncode:
        pytest.exit(f"{' '.join(command[1:])}:\n{said.stdout}{said.stderr}", 2)
    return system


@pytest.fixture
def system(declared: System) -> System:
    """The system, with every workload Ready."""
    declared.bring_up()
    return declared


@pytest.fixture
def front(kubectl: Kubectl, system: System) -> Front:
    """The front door of the system that is up."""
    return Front.of_environment(kubectl)
