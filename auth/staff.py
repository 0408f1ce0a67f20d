"""Records what staff does in the console. Loaded only there, where Django's own users are installed."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from auth import audit
from internal import context
from internal.staff import image_removal


@receiver(user_logged_in, dispatch_uid="audit")
def record_sign_in(sender: Any, *, user: Any, **kwargs: Any) -> None:
    """Staff has signed in."""
    audit.record(audit.What.STAFF_SIGNED_IN, details={"staff": str(user.pk)})


@receiver(user_logged_out, dispatch_uid="audit")
def record_sign_out(sender: Any, *, user: Any, **kwargs: Any) -> None:
    """Staff has signed out; nobody, if the session was over before."""
    if user is not None:
        audit.record(audit.What.STAFF_SIGNED_OUT, details={"staff": str(user.pk)})


@receiver(user_login_failed, dispatch_uid="audit")
def record_failure(sender: Any, *, credentials: dict[str, Any], **kwargs: Any) -> None:
    """Somebody could not sign in as staff. What was typed is not kept: it may have been a password."""
    typed = credentials.get(User.USERNAME_FIELD)
    known = User.objects.filter(username=typed).values_list("pk", flat=True).first()
    audit.record(audit.What.STAFF_SIGN_IN_FAILED, details={} if known is None else {"staff": str(known)})


@receiver(image_removal, dispatch_uid="audit")
def record_image_removal(sender: Any, *, request: HttpRequest, account_id: UUID, image_id: UUID, **kwargs: Any) -> None:
    """Staff is about to remove an image."""
    audit.record(
        audit.What.IMAGE_DELETED_BY_STAFF,
        account_id=account_id,
        details={"staff": str(request.user.pk), "image": str(image_id)},
    )


NOT_A_CHANGE: Final = {"last_login"}
COMMAND_LINE: Final = "command line"
_acting: ContextVar[str] = ContextVar("acting_staff", default="")


class ActingStaffMiddleware:
    """Remembers, while a request is answered, which staff user made it. Stands behind the one that authenticates."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers the request."""
        mark = _acting.set(str(request.user.pk) if request.user.is_authenticated else "")
        try:
            return self.get_response(request)
        finally:
            _acting.reset(mark)


@receiver(pre_save, sender=User, dispatch_uid="audit")
@receiver(pre_save, sender=Group, dispatch_uid="audit")
def note_what_was(sender: type[Model], *, instance: Any, **kwargs: Any) -> None:
    """A staff user or group is about to be saved."""
    instance.audited = sender._default_manager.filter(pk=instance.pk).values().first()


@receiver(post_save, sender=User, dispatch_uid="audit")
@receiver(post_save, sender=Group, dispatch_uid="audit")
def record_change(sender: type[Model], *, instance: Any, created: bool, **kwargs: Any) -> None:
    """A staff user or group was added or changed, on a page or by a command; values are not kept, only their names."""
    if created:
        _record(audit.What.STAFF_ADDED, instance)
        return
    before, after = instance.audited or {}, sender._default_manager.filter(pk=instance.pk).values().get()
    changed = sorted(name for name, value in after.items() if value != before.get(name) and name not in NOT_A_CHANGE)
    if changed:
        _record(audit.What.STAFF_CHANGED, instance, fields=changed)


@receiver(post_delete, sender=User, dispatch_uid="audit")
@receiver(post_delete, sender=Group, dispatch_uid="audit")
def record_removal(sender: type[Model], *, instance: Any, **kwargs: Any) -> None:
    """A staff user or group was removed."""
    _record(audit.What.STAFF_REMOVED, instance)


@receiver(m2m_changed, sender=User.groups.through, dispatch_uid="audit")
@receiver(m2m_changed, sender=User.user_permissions.through, dispatch_uid="audit")
@receiver(m2m_changed, sender=Group.permissions.through, dispatch_uid="audit")
def record_permissions(sender: type[Model], *, instance: Any, action: str, pk_set: Any, **kwargs: Any) -> None:
    """Groups or permissions were given or taken."""
    change, _, what = action.partition("_")
    if change == "post" and (pk_set or what == "clear"):
        target = sender._meta.verbose_name_plural
        given = [str(key) for key in sorted(pk_set or ())]
        _record(audit.What.STAFF_CHANGED, instance, fields=[f"{what} {target}"], ids=given)


def _record(what: audit.What, instance: Model, **more: list[str]) -> None:
    subject = {instance._meta.model_name or "": str(instance.pk)}
    # Who signs in may have the password hashed anew: that is done for nobody but the user.
    by_default = str(instance.pk) if context.request_id() else COMMAND_LINE
    audit.record(what, details={"staff": _acting.get() or by_default, **subject, **more})
