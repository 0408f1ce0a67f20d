"""How what auth and images refuse reaches a person: beside the field, above the form, or as a page."""

from __future__ import annotations

from dataclasses import replace

from django.core.exceptions import ValidationError
from django.http import HttpResponse

from internal.errors import InvalidReply, Rejected, ServiceError, Unavailable
from internal.problems import UNAVAILABLE_DETAIL, Problem, ProblemError
from portal.forms import PortalForm

# Problems about one field that may come without naming it.
_FIELD_OF_CODE = {
    "wrong_password": "current_password",
    "image_quota_exceeded": "image",
    "one_file_only": "image",
    "storage_full": "image",
}


_ACCOUNT_IS_CLOSING = "This account is being closed, so nothing can be added to it. To finish, close it once more."


def is_open(error: ServiceError) -> bool:
    """Whether a call that failed may have been carried out all the same."""
    return isinstance(error, InvalidReply) or (isinstance(error, Unavailable) and error.sent)


def in_our_words(rejected: Rejected) -> Problem:
    """The problem, said for a person at the portal where the service cannot know how to go on there."""
    if rejected.service == "images" and rejected.problem.code == "conflict":
        return replace(rejected.problem, detail=_ACCOUNT_IS_CLOSING, errors=())
    return rejected.problem


def wait_in_words(seconds: int | None) -> str:
    """When to try again, such as «Please try again in 5 seconds.»"""
    if not seconds or seconds < 1:
        return "Please try again in a moment."
    if seconds < 100:
        return f"Please try again in {seconds} second{'' if seconds == 1 else 's'}."
    minutes = -(-seconds // 60)
    if minutes < 100:
        return f"Please try again in {minutes} minutes."
    return f"Please try again in {-(-seconds // 3600)} hours."


def explain_on(form: PortalForm, error: ServiceError | ProblemError, *, sentence: str, if_open: str) -> None:
    """Puts what went wrong onto the form, and the status and waiting time that the answer should have.

    `sentence` says in plain words what has not been done, for the case that the service was not reached; `if_open`
    says how to find out, for the case that it was asked and its answer is missing.

    Raises:
        Rejected: the access token was refused; that is nobody's form error (see portal.middleware).
    """
    match error:
        case Unavailable() | InvalidReply():
            retry_after = error.retry_after if isinstance(error, Unavailable) else None
            form.status, form.retry_after = 503, retry_after
            form.add_error(None, ValidationError(UNAVAILABLE_DETAIL[error.service], code="unavailable"))
            form.outcome_is_open = is_open(error)
            text = if_open if form.outcome_is_open else f"{sentence} {wait_in_words(retry_after)}"
            form.add_error(None, ValidationError(text, code="unavailable"))
        case Rejected() | ProblemError():
            if error.problem.status == 401 and error.problem.code != "invalid_credentials":
                raise error
            _add_problem(form, in_our_words(error) if isinstance(error, Rejected) else error.problem)


def _add_problem(form: PortalForm, problem: Problem) -> None:
    form.status, form.retry_after = problem.status, problem.retry_after
    for fault in problem.errors:
        field = fault.field if fault.field in form.fields else None
        form.add_error(field, ValidationError(fault.message, code=fault.code))
    if problem.errors:
        return
    field = _FIELD_OF_CODE.get(problem.code)
    text = problem.detail
    if problem.retry_after:
        text = f"{text} {wait_in_words(problem.retry_after)}"
    form.add_error(field if field in form.fields else None, ValidationError(text, code=problem.code))


def with_retry_after(response: HttpResponse, seconds: int | None) -> HttpResponse:
    if seconds:
        response["Retry-After"] = str(seconds)
    return response
