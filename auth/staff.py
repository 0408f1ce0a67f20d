"""Records what staff does in the console. Loaded only there, where Django's own users are installed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from auth import audit
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
    users = get_user_model()
    typed = credentials.get(users.USERNAME_FIELD)
    known = users.objects.filter(**{users.USERNAME_FIELD: typed}).values_list("pk", flat=True).first()
    audit.record(audit.What.STAFF_SIGN_IN_FAILED, details={} if known is None else {"staff": str(known)})


@receiver(image_removal, dispatch_uid="audit")
def record_image_removal(sender: Any, *, request: HttpRequest, account_id: UUID, image_id: UUID, **kwargs: Any) -> None:
    """Staff is about to remove an image."""
    audit.record(
        audit.What.IMAGE_DELETED_BY_STAFF,
        account_id=account_id,
        details={"staff": str(request.user.pk), "image": str(image_id)},
    )
