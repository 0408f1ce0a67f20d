"""Scheduled jobs keep out of each other's way, and the reading of their schedules is right."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest

from tests.kustomize import trees
from tests.kustomize.objects import Object, Objects
from tests.kustomize.schedules import Unreadable, at_work, starts, together

HOUR, DAY = 60, 24 * 60


def begun_together(objects: Objects) -> set[tuple[str, ...]]:
    """The pairs of CronJobs that start at the same minute."""
    return {
        tuple(sorted((one["metadata"]["name"], other["metadata"]["name"])))
        for one, other in itertools.combinations(objects.of("CronJob"), 2)
        if starts(one["spec"]["schedule"]) & starts(other["spec"]["schedule"])
    }


def command_of(job: Object) -> str:
    """Which command of manage.py a job runs."""
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return str(container["command"][2])


@pytest.mark.parametrize("overlay", trees.OVERLAYS)
def test_no_two_jobs_start_at_the_same_minute(built: Callable[[str], Objects], overlay: str) -> None:
    assert len(built(overlay).of("CronJob")) >= 7
    assert begun_together(built(overlay)) == set()


@pytest.mark.parametrize("overlay", trees.OVERLAYS)
def test_no_two_jobs_of_one_command_are_at_work_together(built: Callable[[str], Objects], overlay: str) -> None:
    # config/connections.toml counts each command once.
    commands = {job["metadata"]["name"]: command_of(job) for job in built(overlay).of("CronJob")}
    twice = [names for names in together(built(overlay)) if len({commands[name] for name in names}) < len(names)]
    assert twice == []


def test_jobs_that_start_together_are_named(built: Callable[[str], Objects]) -> None:
    objects = Objects("together", copy.deepcopy(built("minikube").all))
    for job in objects.of("CronJob"):
        if job["metadata"]["name"] in {"audit-prune", "backup"}:
            job["spec"]["schedule"] = "7 5 * * *"
    assert begun_together(objects) == {("audit-prune", "backup")}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("5 1 * * *", {day * DAY + HOUR + 5 for day in range(7)}),
        ("47 2 * * 0", {2 * HOUR + 47}),
        ("*/30 0 * * 1,2", {DAY, DAY + 30, 2 * DAY, 2 * DAY + 30}),
        ("4-59/20 3 * * 6", {6 * DAY + 3 * HOUR + minute for minute in (4, 24, 44)}),
    ],
)
def test_a_schedule_is_read_as_minutes_of_a_week(schedule: str, expected: set[int]) -> None:
    assert starts(schedule) == expected


@pytest.mark.parametrize("schedule", ["@hourly", "* * 1 * *", "61 * * * *", "a * * * *", "5 1 * *"])
def test_a_schedule_that_is_not_understood_is_refused(schedule: str) -> None:
    with pytest.raises(Unreadable):
        starts(schedule)


def test_a_job_is_at_work_until_its_deadline_also_over_the_end_of_a_week() -> None:
    job = {"spec": {"schedule": "59 23 * * 6", "jobTemplate": {"spec": {"activeDeadlineSeconds": 61}}}}
    assert at_work(job) == {7 * DAY - 1, 0}
