"""The system on the cluster that SEAWALL_CONTEXT names: brought up once, and found again as it was by each scenario."""

from __future__ import annotations

import pytest

from tests.cluster.front import Front
from tests.cluster.kubectl import Kubectl
from tests.cluster.system import System

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
    items.sort(key=lambda item: _ORDER.index(item.path.stem))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    return Kubectl.from_environment()


@pytest.fixture(scope="session")
def declared(kubectl: Kubectl) -> System:
    """The system as the overlay declares it, which may not be there yet."""
    return System.of_environment(kubectl)


@pytest.fixture
def system(declared: System) -> System:
    """The system, with every workload Ready."""
    declared.bring_up()
    return declared


@pytest.fixture
def front(kubectl: Kubectl, system: System) -> Front:
    """The front door of the system that is up."""
    return Front.of_environment(kubectl)
