"""The avatar on top of every page: never older than a second, and asked for only where it may have changed.

What the cookie remembers is as old as the last page that asked images. What this process was told is kept with the
marks of the account (internal.marks), as the API's answers are: another device, the console or psql changes them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final
from uuid import UUID

from django.http import HttpRequest

from internal import clients, context
from internal.errors import ServiceError
from internal.marks import Marks, board
from portal import sessions
from portal.sessions import SignIn

MOST: Final = 4096  # accounts that a process knows the avatar of
PATIENCE: Final = 0.3  # seconds: a page is not late for its avatar

_kept: OrderedDict[UUID, tuple[Marks, str | None]] = OrderedDict()
_lock = threading.Lock()


def avatar_path(request: HttpRequest, sign_in: SignIn) -> str | None:
    """Where the avatar is, relative to UPLOADS_URL; None if there is none.

    While it is not known what changes (auth, images or the way to them is down), or the access token has expired, it is
    the one that the cookie remembers: nobody waits for a service that is away.
    """
    account = UUID(sign_in.account.id)
    if sign_in.has_expired or not board.relied_on():
        return sign_in.account.avatar_path
    marks = board.marks(account)
    kept = _kept.get(account)
    if kept is not None and kept[0] == marks:
        return kept[1]
    try:
        with context.within(PATIENCE):
            image = clients.images_client().profile_image(sign_in.token)
    except ServiceError:
        return sign_in.account.avatar_path
    path = image.avatar_path if image else None
    with _lock:
        _kept[account] = (marks, path)
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    sessions.remember(request, sign_in, avatar_path=path)
    return path
