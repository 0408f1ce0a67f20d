"""Auth and images as the portal sees them: in memory, obedient, and failing on demand."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from typing import BinaryIO

from internal import context
from internal.contracts import Account, ImagePage, Session, StoredImage, TokenGrant
from internal.errors import Rejected, ServiceError, Unavailable
from internal.problems import Problem, email_taken, image_fault

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


def stored_image(number: int = 1, **changes: object) -> StoredImage:
    name = uuid.UUID(int=number)
    image = StoredImage(
        id=name,
        content_type="image/png",
        width=1280,
        height=960,
        size_bytes=204_800,
        animated=False,
        created_at=NOON,
        is_profile_image=False,
        path=f"/uploads/{name}.png",
        avatar_path=f"/uploads/{name}.avatar.webp",
        card_path=f"/uploads/{name}.card.webp",
    )
    return dataclasses.replace(image, **changes)  # type: ignore[arg-type]


class Service:
    """What both fakes share: the calls they got, and the error that every call (or one of them) is to raise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.failures: dict[str, ServiceError] = {}

    def is_down(self, *, retry_after: int = 7) -> None:
        self.failures["*"] = Unavailable(self.name, "connection refused", retry_after=retry_after)

    def does_not_confirm(self, call: str) -> None:
        """The call reaches the service, and its answer does not come back."""
        self.failures[call] = Unavailable(self.name, "timed out", retry_after=7, sent=True)

    def is_up(self) -> None:
        self.failures.clear()

    def rejects(self, call: str, problem: Problem) -> None:
        self.failures[call] = Rejected(self.name, problem)

    def fails(self, call: str, error: ServiceError) -> None:
        self.failures[call] = error

    def called(self, call: str) -> list[dict[str, object]]:
        return [arguments for name, arguments in self.calls if name == call]

    def _note(self, call: str, **arguments: object) -> None:
        self.calls.append((call, arguments))
        failure = self.failures.get(call) or self.failures.get("*")
        if failure:
            raise failure


class FakeAuth(Service):
    """One account. Tokens are numbered: access-1, refresh-1, …

    A refresh token is good once, as at auth after the moments of grace; `thefts` has those that came again.
    """

    def __init__(self) -> None:
        super().__init__("auth")
        self.person = Account(uuid.UUID(int=99), "Anna Berg", "anna@example.org", NOON, NOON, None)
        self.grants = 0
        self.thefts: list[str] = []
        self._used: set[str] = set()
        self.seconds_left = 0.0
        self.expires_in = 600
        self.devices = (
            Session(uuid.UUID(int=1), FIREFOX, "192.0.2.7", NOON, NOON, NOON, True),
            Session(uuid.UUID(int=2), IPHONE, "192.0.2.8", NOON, NOON, NOON, False),
        )

    def register(self, *, name: str, email: str, password: str) -> Account:
        self._note("register", name=name, email=email, password=password)
        if email == "taken@example.org":
            raise Rejected("auth", email_taken())
        self.person = dataclasses.replace(self.person, name=name, email=email)
        return self.person

    def sign_in(self, *, email: str, password: str, device: str, address: str, known_device: str = "") -> TokenGrant:
        origin = {"device": device, "address": address} | ({"known_device": known_device} if known_device else {})
        self._note("sign_in", email=email, password=password, **origin)
        return self._grant()

    def refresh(self, *, refresh_token: str, device: str, address: str) -> TokenGrant:
        self.seconds_left = context.current_deadline().remaining()
        self._note("refresh", refresh_token=refresh_token, device=device, address=address)
        if refresh_token in self._used:
            self.thefts.append(refresh_token)
            raise Rejected("auth", Problem("invalid_refresh_token", "The refresh token is not valid."))
        self._used.add(refresh_token)
        return self._grant()

    def sign_out(self, *, refresh_token: str) -> None:
        self._note("sign_out", refresh_token=refresh_token)

    def account(self, token: str) -> Account:
        self._note("account", token=token)
        return self.person

    def update_account(
        self, token: str, *, name: str | None = None, email: str | None = None, current_password: str | None = None
    ) -> Account:
        self._note("update_account", name=name, email=email, current_password=current_password)
        self.person = dataclasses.replace(self.person, name=name or self.person.name, email=email or self.person.email)
        return self.person

    def change_password(self, token: str, *, current_password: str, new_password: str) -> None:
        self._note("change_password", current_password=current_password, new_password=new_password)

    def sessions(self, token: str) -> tuple[Session, ...]:
        self._note("sessions", token=token)
        return self.devices

    def end_session(self, token: str, session_id: uuid.UUID) -> None:
        self._note("end_session", session_id=session_id)

    def close_account(self, token: str) -> None:
        self._note("close_account", token=token)

    def _grant(self) -> TokenGrant:
        self.grants += 1
        return TokenGrant(f"access-{self.grants}", f"refresh-{self.grants}", "Bearer", self.expires_in, 30 * 86400)


class FakeImages(Service):
    """A person's images; a file that does not start with «PNG» is no image."""

    def __init__(self) -> None:
        super().__init__("images")
        self.items: list[StoredImage] = []
        self.next_cursor: str | None = None

    def validate(self, file: BinaryIO, size: int) -> None:
        self._note("validate", size=size)
        self._judge(file)

    def upload(self, token: str, file: BinaryIO, size: int, *, as_profile_image: bool = False) -> StoredImage:
        self._note("upload", token=token, size=size, as_profile_image=as_profile_image)
        self._judge(file)
        return self._keep(stored_image(len(self.items) + 1, is_profile_image=as_profile_image))

    def upload_for(self, account_id: uuid.UUID, file: BinaryIO, size: int) -> StoredImage:
        self._note("upload_for", account_id=account_id, size=size)
        return self._keep(stored_image(len(self.items) + 1, is_profile_image=True))

    def list(self, token: str, *, cursor: str | None = None, limit: int = 24) -> ImagePage:
        self._note("list", token=token, cursor=cursor, limit=limit)
        return ImagePage(tuple(self.items), self.next_cursor, len(self.items))

    def get(self, token: str, image_id: uuid.UUID) -> StoredImage:
        self._note("get", image_id=image_id)
        for item in self.items:
            if item.id == image_id:
                return item
        raise Rejected("images", Problem("not_found", "There is no such image."))

    def delete(self, token: str, image_id: uuid.UUID) -> None:
        self._note("delete", image_id=image_id)
        self.items.remove(self.get(token, image_id))

    def profile_image(self, token: str) -> StoredImage | None:
        self._note("profile_image", token=token)
        return next((item for item in self.items if item.is_profile_image), None)

    def set_profile_image(self, token: str, image_id: uuid.UUID) -> StoredImage:
        self._note("set_profile_image", image_id=image_id)
        chosen = dataclasses.replace(self.get(token, image_id), is_profile_image=True)
        self.items = [
            chosen if item.id == image_id else dataclasses.replace(item, is_profile_image=False) for item in self.items
        ]
        return chosen

    def clear_profile_image(self, token: str) -> None:
        self._note("clear_profile_image")
        self.items = [dataclasses.replace(item, is_profile_image=False) for item in self.items]

    def close_account(self, token: str) -> None:
        self._note("close_account", token=token)
        self.items.clear()

    def _judge(self, file: BinaryIO) -> None:
        file.seek(0)
        if not file.read().startswith(b"PNG"):
            raise Rejected("images", image_fault("not_an_image", "This file is not an image that we can read."))

    def _keep(self, image: StoredImage) -> StoredImage:
        self.items.insert(0, image)
        return image
