"""The console's pages about accounts. Staff look, end sessions and lift lockouts; nobody edits credentials by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from auth import emails, lockout, sessions
from auth.models import Account, AuditEvent, Session, SignInFailure, SigningKey

if TYPE_CHECKING:  # Django's own classes take no type arguments at run time
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline


class LookOnly:
    """Pages that show and never change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here."""
        return False


class Managed(LookOnly, ModelAdmin):
    """Pages with actions, for staff who have the permission to change what is shown."""

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the actions are offered."""
        permission = get_permission_codename("change", self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{permission}"))


class AliveFilter(admin.SimpleListFilter):
    """Sessions by whether they still hold."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("alive", "Alive"), ("over", "Ended or run out")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The sessions of the chosen state."""
        alive = Q(ended_at__isnull=True, expires_at__gt=timezone.now())
        choices = {"alive": alive, "over": ~alive}
        return queryset.filter(choices[chosen]) if (chosen := self.value()) in choices else queryset


class LockedFilter(admin.SimpleListFilter):
    """Counters by whether they refuse attempts now."""

    title = "locked"
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("yes", "Locked now"), ("no", "Open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The counters of the chosen state."""
        locked = Q(locked_until__gt=timezone.now())
        choices = {"yes": locked, "no": Q(locked_until__isnull=True) | ~locked}
        return queryset.filter(choices[chosen]) if (chosen := self.value()) in choices else queryset


class SessionInline(LookOnly, TabularInline):
    """The sessions of an account."""

    model = Session
    extra = 0
    fields = ["device", "address", "created_at", "last_used_at", "expires_at", "ended_at", "end_reason"]
    show_change_link = True


@admin.register(Account)
class AccountAdmin(Managed):
    """Who has registered."""

    list_display = ["name", "email", "created_at", "last_sign_in_at", "sessions_alive"]
    list_filter = ["created_at", "last_sign_in_at"]
    search_fields = ["=id", "name", "email", "email_key"]
    search_help_text = "Name, email address or id"
    date_hierarchy = "created_at"
    fields = ["id", "name", "email", "created_at", "last_sign_in_at", "previous_sign_in_at"]
    inlines = [SessionInline]
    actions = ["end_sessions", "unlock"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """Accounts with the number of their sessions."""
        alive = Q(sessions__ended_at__isnull=True, sessions__expires_at__gt=timezone.now())
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(alive_count=Count("sessions", filter=alive))

    @admin.display(description="sessions", ordering="alive_count")
    def sessions_alive(self, account: Account) -> int:
        """How many sessions are alive."""
        count: int = account.alive_count  # type: ignore[attr-defined]
        return count

    @admin.action(description="End every session of the selected accounts", permissions=["manage"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Signs the people out everywhere."""
        ids = Session.objects.alive().filter(account__in=queryset.values("pk")).values_list("pk", flat=True)
        ended = sessions.end_by_staff(session_ids=list(ids), staff_id=_staff_id(request))
        messages.success(request, _counted(ended, "session", "ended"))

    @admin.action(description="Let the selected accounts sign in again (clear failures)", permissions=["manage"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Clears the failed sign-ins of the accounts."""
        cleared = sum(lockout.unlock(account=account, staff_id=_staff_id(request)) for account in queryset)
        messages.success(request, _counted(cleared, "counter", "cleared"))


@admin.register(Session)
class SessionAdmin(Managed):
    """Where people are signed in."""

    list_display = ["account", "device", "address", "last_used_at", "expires_at", "ended_at", "end_reason"]
    list_filter = [AliveFilter, "end_reason", "last_used_at"]
    list_select_related = ["account"]
    search_fields = ["=id", "=account__id", "account__name", "account__email", "address", "device"]
    search_help_text = "Account name, email address or id; device; network address; session id"
    date_hierarchy = "created_at"
    fields = [
        "id",
        "account",
        "device",
        "address",
        "created_at",
        "last_used_at",
        "expires_at",
        "absolute_expires_at",
        "ended_at",
        "end_reason",
    ]
    actions = ["end_sessions"]

    @admin.action(description="End the selected sessions", permissions=["manage"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """Signs the people out there."""
        ids = list(queryset.values_list("pk", flat=True))
        ended = sessions.end_by_staff(session_ids=ids, staff_id=_staff_id(request))
        messages.success(request, _counted(ended, "session", "ended"))


@admin.register(AuditEvent)
class AuditEventAdmin(LookOnly, ModelAdmin):
    """What happened, in the order in which it did."""

    list_display = ["occurred_at", "what", "account_id", "session_id", "address", "request_id"]
    list_filter = ["what", "occurred_at"]
    search_fields = ["=account_id", "=session_id", "=request_id", "address"]
    search_help_text = "Account, session or request id; network address"
    date_hierarchy = "occurred_at"
    fields = ["occurred_at", "what", "account_id", "session_id", "address", "request_id", "details"]
    show_full_result_count = False


@admin.register(SigningKey)
class SigningKeyAdmin(LookOnly, ModelAdmin):
    """The keys that access tokens are signed with; never their private halves."""

    list_display = ["kid", "state", "algorithm", "created_at", "activated_at", "retiring_at", "retired_at"]
    list_filter = ["state"]
    fields = [
        "kid",
        "algorithm",
        "state",
        "public_half",
        "encryption_key_id",
        "created_at",
        "activated_at",
        "retiring_at",
        "retired_at",
    ]
    readonly_fields = ["public_half"]

    @admin.display(description="public half")
    def public_half(self, key: SigningKey) -> str:
        """The public JWK, to read and copy."""
        return format_html("<pre>{}</pre>", json.dumps(key.public_jwk, indent=2))


@admin.register(SignInFailure)
class SignInFailureAdmin(LookOnly, ModelAdmin):
    """Counters of failed sign-ins; deleting one lets its people try again at once."""

    list_display = ["scope", "network", "failures", "window_started_at", "locked_until"]
    list_filter = [LockedFilter, "window_started_at"]
    search_fields = ["=network", "=email_digest"]
    search_help_text = "Network address, or the whole email address of a person"
    fields = ["scope", "network", "email_digest", "failures", "window_started_at", "locked_until"]
    readonly_fields = ["scope"]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Staff with the permission may clear a counter."""
        return ModelAdmin.has_delete_permission(self, request, obj)

    def delete_model(self, request: HttpRequest, obj: SignInFailure) -> None:
        """Clears one counter."""
        lockout.clear(counter_ids=[obj.pk], staff_id=_staff_id(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[SignInFailure]) -> None:
        """Clears the selected counters."""
        lockout.clear(counter_ids=list(queryset.values_list("pk", flat=True)), staff_id=_staff_id(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SignInFailure], search_term: str
    ) -> tuple[QuerySet[SignInFailure], bool]:
        """Looks an email address up by its digest, which is all that is kept of it."""
        if "@" in search_term:
            return queryset.filter(email_digest=emails.email_digest(search_term)), False
        return super().get_search_results(request, queryset, search_term)


def _staff_id(request: HttpRequest) -> str:
    return str(request.user.pk)


def _counted(number: int, noun: str, done: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'} {done}."
