"""How what auth and images refuse reaches a person: beside the field, above the form, or as a page."""

from __future__ import annotations

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


def explain_on(form: PortalForm, error: ServiceError | ProblemError, *, sentence: str) -> None:
    """Puts what went wrong onto the form, and the status and waiting time that the answer should have.

    `sentence` says in plain words what could not be done, for the case that the service did not answer.

    Raises:
        Rejected: the access token was refused; that is nobody's form error (see portal.middleware).
    """
    match error:
        case Unavailable() | InvalidReply():
            retry_after = error.retry_after if isinstance(error, Unavailable) else None
            form.status, form.retry_after = 503, retry_after
            form.add_error(None, ValidationError(UNAVAILABLE_DETAIL[error.service], code="unavailable"))
            form.add_error(None, ValidationError(f"{sentence} {wait_in_words(retry_after)}", code="unavailable"))
        case Rejected() | ProblemError():
            if error.problem.status == 401 and error.problem.code != "invalid_credentials":
                raise error
            _add_problem(form, error.problem)


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
