"""Accounts: registration, sign-in, changes by their owner, the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.utils import timezone

from auth import audit, lockout, passwords, sessions
from auth.models import Account, Session
from internal import context, contracts
from internal.problems import (
    FieldError,
    Problem,
    ProblemError,
    email_taken,
    invalid_field,
    invalid_input,
    require_time_left,
)

HASHING_RETRY_AFTER = 1  # seconds
TESTS = 3  # of one password, if the stored hash is replaced while it is tested: by a sign-in that renews it

log = structlog.get_logger(__name__)


def register(*, name: str, email: str, password: str) -> contracts.Account:
    """Makes an account.

    Raises:
        ProblemError: invalid_input for a password that the rules refuse, email_taken, or too_many_requests.
    """
    account = Account(name=name, email=email)
    _validate_password(password, account=account, field="password")
    with _hashing() as wait:
        account.password_hash = passwords.hash_password(password, wait=wait)
    with transaction.atomic(using=router.db_for_write(Account)):
        # An address that is taken costs the same statements, and leaves an event, too.
        try:
            _save(account)
        except ProblemError as taken:
            refused: ProblemError | None = taken
            audit.record(audit.What.REGISTRATION_REFUSED)
        else:
            refused = None
            audit.record(audit.What.REGISTERED, account_id=account.id)
            require_time_left()
    if refused is not None:
        raise refused
    context.bind_account(account.id)
    log.info("account_registered")
    return described(account)


def sign_in(
    *, email: str, password: str, device: str, address: str | None, known_device: str = ""
) -> contracts.TokenGrant:
    """Starts a session for the person who knows the password.

    Whether there is an account of that email address shows neither in the answer nor in its time: the same counters are
    moved and the same hash is worked out.

    Args:
        email: in any spelling.
        password: as it was typed.
        device: what the person would call the device.
        address: the network address, if known.
        known_device: see auth.lockout.begin_attempt.

    Raises:
        ProblemError: invalid_credentials, account_locked, or too_many_requests.
    """
    attempt = _begin_attempt(email=email, address=address, known_device=known_device)
    account = Account.objects.with_email(email)
    for _ in range(TESTS):
        if not _tested(attempt, password, account.password_hash if account else None) or account is None:
            break
        renewed_hash = passwords.renewed(password, account.password_hash, wait=_wait())
        now = timezone.now()
        with _undone_if_refused(attempt), transaction.atomic(using=router.db_for_write(Account)):
            if signed_in := _signed_in(account, renewed_hash, now):
                context.bind_account(account.id)
                grant = sessions.start(account=account, device=device, address=address, now=now)
                lockout.succeed(attempt)
                require_time_left()
        if signed_in:
            if renewed_hash:
                log.info("password_hash_renewed")
            return grant
        account = Account.objects.filter(pk=account.pk).first()
    _record_failure(audit.What.SIGN_IN_FAILED, attempt, account.id if account else None, address)
    raise ProblemError(Problem("invalid_credentials", "The email address or the password is wrong."))


# Only if the hash is still the one that was compared. The clocks of two processes may differ.
_SIGNED_IN = f"""
    UPDATE {Account._meta.db_table}
    SET password_hash = %s, previous_sign_in_at = last_sign_in_at, last_sign_in_at = GREATEST(%s, last_sign_in_at)
    WHERE id = %s AND password_hash = %s
"""  # noqa: S608 - the table's name is ours


def _signed_in(account: Account, renewed_hash: str | None, now: dt.datetime) -> bool:
    """Whether the account was still as it was read; then its row is locked until the transaction ends."""
    with connections[router.db_for_write(Account)].cursor() as cursor:
        known_hash = account.password_hash
        cursor.execute(_SIGNED_IN, [renewed_hash or known_hash, now, account.pk, known_hash])
        return bool(cursor.rowcount)


def update(
    *,
    session: Session,
    name: str | None = None,
    email: str | None = None,
    current_password: str | None = None,
) -> contracts.Account:
    """Changes the name, the email address, or both; None leaves one as it is.

    A change of the email address needs the current password.

    Raises:
        ProblemError: invalid_input if the password is missing, wrong_password, email_taken, account_locked, or
            too_many_requests.
    """
    if email is not None and email != session.account.email:
        if current_password is None:
            raise ProblemError(
                invalid_field("current_password", "required", "Give your current password to change the email address.")
            )
        _confirm(session, current_password)
    with transaction.atomic(using=router.db_for_write(Account)):
        account = _locked(session)
        wanted = {"name": account.name if name is None else name, "email": email or account.email}
        changed = [field for field, value in wanted.items() if value != getattr(account, field)]
        if changed:
            account.name, account.email = wanted["name"], wanted["email"]
            _save(account, fields=changed)
            audit.record(
                audit.What.PROFILE_CHANGED,
                account_id=account.id,
                session_id=session.id,
                details={"fields": changed},
            )
            require_time_left()
    return described(account)


def change_password(*, session: Session, current_password: str, new_password: str) -> None:
    """Changes the password and ends every other session of the account.

    Raises:
        ProblemError: invalid_input for a new password that the rules refuse, wrong_password, account_locked, or
            too_many_requests.
    """
    _validate_password(new_password, account=session.account, field="new_password")
    for _ in range(TESTS):
        _confirm(session, current_password)
        with _hashing() as wait:
            password_hash = passwords.hash_password(new_password, wait=wait)
        if _password_changed(session, password_hash):
            return
    raise ProblemError(_wrong_password())


def _password_changed(session: Session, password_hash: str) -> bool:
    """Stores the new hash, unless the old one was replaced since the session was read; then reads it again."""
    with transaction.atomic(using=router.db_for_write(Account)):
        account = _locked(session)  # so that a sign-in at this moment comes before, and is ended, or after
        if account.password_hash != session.account.password_hash:
            session.account = account
            return False
        account.password_hash = password_hash
        account.save(update_fields=["password_hash"])
        ended = sessions.end_others(account_id=session.account_id, keep=session.id)
        audit.record(
            audit.What.PASSWORD_CHANGED,
            account_id=session.account_id,
            session_id=session.id,
            details={"sessions_ended": ended},
        )
        require_time_left()
    log.info("password_changed", sessions_ended=ended)
    return True


def close(*, session: Session) -> None:
    """Deletes the account with its sessions and its counters; its audit events stay."""
    with transaction.atomic(using=router.db_for_write(Account)):
        account = Account.objects.select_for_update().filter(pk=session.account_id).first()
        if account is None:
            return
        lockout.forget(email=account.email)
        audit.record(audit.What.ACCOUNT_CLOSED, account_id=account.id, session_id=session.id)
        account.delete()
        require_time_left()
    log.info("account_closed")


def described(account: Account) -> contracts.Account:
    """The account as other roles see it."""
    return contracts.Account(
        id=account.id,
        name=account.name,
        email=account.email,
        created_at=account.created_at,
        last_sign_in_at=account.last_sign_in_at,
        previous_sign_in_at=account.previous_sign_in_at,
    )


def _save(account: Account, *, fields: list[str] | None = None) -> None:
    using = router.db_for_write(Account)
    try:
        with transaction.atomic(using=using):
            account.save(update_fields=fields)
    except IntegrityError as error:
        if "account_email_unique" in str(error):
            raise ProblemError(email_taken()) from None
        raise


def _validate_password(password: str, *, account: Account, field: str) -> None:
    try:
        passwords.validate(password, account=account)
    except ValidationError as error:
        faults = [
            FieldError(field, fault.code or "invalid", message)
            for fault in error.error_list
            for message in fault.messages
        ]
        raise ProblemError(invalid_input(*faults)) from None


def _confirm(session: Session, current_password: str) -> None:
    """Makes sure that whoever holds the session knows the password too; wrong ones count like failed sign-ins."""
    address = context.client_address() or session.address  # who holds the session may not be who opened it
    attempt = _begin_attempt(email=session.account.email, address=address)
    if _tested(attempt, current_password, session.account.password_hash):
        lockout.succeed(attempt)
        return
    _record_failure(audit.What.PASSWORD_REFUSED, attempt, session.account_id, address, session_id=session.id)
    raise ProblemError(_wrong_password())


def _wrong_password() -> Problem:
    message = "This is not your current password."
    return Problem("wrong_password", message, (FieldError("current_password", "wrong_password", message),))


def _locked(session: Session) -> Account:
    """The account of a session, its row locked until the transaction ends.

    Raises:
        ProblemError: invalid_token, if the account was closed or the session ended a moment ago.
    """
    account = Account.objects.select_for_update().filter(pk=session.account_id).first()
    if account is None:
        raise ProblemError(Problem("invalid_token", "The account was closed."))
    if not Session.objects.alive().filter(pk=session.pk).exists():
        raise ProblemError(Problem("invalid_token", "The session has ended: sign in again."))
    return account


def _begin_attempt(*, email: str, address: str | None, known_device: str = "") -> lockout.Attempt:
    try:
        if known_device:
            with suppress(lockout.Locked):
                return lockout.begin_attempt(email=email, address=address, known_device=known_device)
        return lockout.begin_attempt(email=email, address=address)
    except lockout.Locked as locked:
        log.info("attempt_refused", retry_after=locked.retry_after)
        raise ProblemError(
            Problem(
                "account_locked",
                "Too many attempts have failed. Wait a little, then try again.",
                retry_after=locked.retry_after,
            )
        ) from None


def _tested(attempt: lockout.Attempt, password: str, password_hash: str | None) -> bool:
    try:
        with _hashing() as wait:
            return passwords.matches(password, password_hash, wait=wait)
    except ProblemError:
        lockout.abandon(attempt)
        raise


@contextmanager
def _undone_if_refused(attempt: lockout.Attempt) -> Iterator[None]:
    """Gives an attempt whose password was right back if the sign-in cannot be completed: that is not its fault."""
    try:
        yield
    except (ProblemError, DatabaseError):
        with suppress(DatabaseError):
            lockout.abandon(attempt)
        raise


def _record_failure(
    what: audit.What,
    attempt: lockout.Attempt,
    account_id: UUID | None,
    address: str | None,
    *,
    session_id: UUID | None = None,
) -> None:
    with transaction.atomic(using=router.db_for_write(Account)):
        audit.record(what, account_id=account_id, session_id=session_id, address=address)
        if attempt.locks:
            audit.record(audit.What.SIGN_IN_LOCKED, account_id=account_id, session_id=session_id, address=address)


@contextmanager
def _hashing() -> Iterator[float]:
    """Yields for how many seconds the request at hand may wait for its turn at hashing.

    Raises:
        ProblemError: too_many_requests, if that was not enough.
    """
    try:
        yield _wait()
    except passwords.HashingBusy:
        log.warning("hashing_busy")
        raise ProblemError(
            Problem(
                "too_many_requests",
                "Many people are signing in at this moment. Try again in a second.",
                retry_after=HASHING_RETRY_AFTER,
            )
        ) from None


def _wait() -> float:
    """For how many seconds the request at hand may wait for its turn at hashing."""
    return context.current_deadline().remaining() / 2
