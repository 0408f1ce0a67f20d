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


def of_one_command(objects: Objects) -> set[tuple[str, ...]]:
    """The pairs of CronJobs that run the same command and may be at work together."""
    commands = {job["metadata"]["name"]: command_of(job) for job in objects.of("CronJob")}
    return {
        pair
        for names in together(objects)
        for pair in itertools.combinations(sorted(names), 2)
        if len({commands[name] for name in pair}) == 1
    }


@pytest.mark.parametrize("overlay", trees.OVERLAYS)
def test_no_two_jobs_start_at_the_same_minute(built: Callable[[str], Objects], overlay: str) -> None:
    assert len(built(overlay).of("CronJob")) >= 7
    assert begun_together(built(overlay)) == set()


@pytest.mark.parametrize("overlay", trees.OVERLAYS)
def test_no_two_jobs_of_one_command_are_at_work_together(built: Callable[[str], Objects], overlay: str) -> None:
    # config/connections.toml counts each command once.
    assert of_one_command(built(overlay)) == set()


def test_jobs_that_start_together_are_named(built: Callable[[str], Objects]) -> None:
    objects = Objects("together", copy.deepcopy(built("minikube").all))
    for job in objects.of("CronJob"):
        if job["metadata"]["name"] in {"audit-prune", "backup"}:
            job["spec"]["schedule"] = "7 5 * * *"
    assert begun_together(objects) == {("audit-prune", "backup")}


def test_jobs_of_one_command_are_named_that_meet_when_one_starts_late(built: Callable[[str], Objects]) -> None:
    objects = Objects("late", copy.deepcopy(built("minikube").all))
    (reap,) = (job for job in objects.of("CronJob") if job["metadata"]["name"] == "images-reap")
    reap["spec"]["startingDeadlineSeconds"] = 600
    assert of_one_command(objects) == {("images-reap", "images-verify")}


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


def job_of(schedule: str, *, late: int, work: int, grace: int) -> Object:
    ending = {"spec": {"terminationGracePeriodSeconds": grace}}
    job = {"spec": {"activeDeadlineSeconds": work, "template": ending}}
    return {"spec": {"schedule": schedule, "startingDeadlineSeconds": late, "jobTemplate": job}}


@pytest.mark.parametrize(
    ("late", "work", "grace", "minutes"),
    [(0, 60, 0, 1), (0, 61, 0, 2), (60, 60, 0, 2), (60, 61, 0, 3), (60, 60, 30, 3), (30, 60, 30, 2)],
)
def test_a_job_is_at_work_as_late_as_it_may_start_and_until_its_pod_has_ended(
    late: int, work: int, grace: int, minutes: int
) -> None:
    assert at_work(job_of("0 1 * * 0", late=late, work=work, grace=grace)) == set(range(HOUR, HOUR + minutes))


def test_a_job_is_at_work_also_over_the_end_of_a_week() -> None:
    assert at_work(job_of("59 23 * * 6", late=20, work=40, grace=30)) == {7 * DAY - 1, 0}
