"""The client of the images role. Every method raises Unavailable, Rejected or InvalidReply, and nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, BinaryIO
from uuid import UUID

from internal import context, marks, problems, tokens
from internal.contracts import Changes, ImagePage, StoredImage
from internal.errors import Rejected
from internal.transport import Body, Transport

IMAGE_LIMIT = 10 * 1024 * 1024  # bytes of an uploaded file


class ImagesClient:
    """What the gateway asks of images. `token` is an access token of the person on whose behalf it asks.

    Uploads read `file` from its beginning, `size` bytes, and have the deadline for uploads.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def validate(self, file: BinaryIO, size: int) -> None:
        """Has the image decoded and judged without keeping it.

        Rejected: not_an_image, image_too_large, too_many_pixels, too_many_frames.
        """
        self._send("validate", "/internal/v1/validate", file, size, signed=True)

    def upload(self, token: str, file: BinaryIO, size: int, *, as_profile_image: bool = False) -> StoredImage:
        """Stores an image. Rejected: as for `validate`, and image_quota_exceeded, storage_full, storage_unavailable."""
        query = {"profile": "true"} if as_profile_image else None
        with _changing(token):
            return StoredImage.from_json(
                self._send("upload", "/internal/v1/images", file, size, token=token, query=query)
            )

    def upload_for(self, account_id: UUID, file: BinaryIO, size: int) -> StoredImage:
        """Stores the profile image of an account that has just been registered. Rejected: as for `upload`."""
        path = f"/internal/v1/accounts/{account_id}/images"
        with marks.changing(account_id, "images"):
            return StoredImage.from_json(self._send("upload_for", path, file, size, signed=True))

    def list(self, token: str, *, cursor: str | None = None, limit: int = 24) -> ImagePage:
        """The person's images, newest first, `limit` of them from `cursor` on. Rejected: invalid_input."""
        query: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            query["cursor"] = cursor
        reply = self.transport.call("list", "GET", "/internal/v1/images", token=token, query=query)
        return ImagePage.from_json(reply.json)

    def get(self, token: str, image_id: UUID) -> StoredImage:
        """One of the person's images. Rejected: not_found."""
        reply = self.transport.call("get", "GET", f"/internal/v1/images/{image_id}", token=token)
        return StoredImage.from_json(reply.json)

    def delete(self, token: str, image_id: UUID) -> None:
        """Removes an image and its bytes. Rejected: not_found."""
        with _changing(token):
            self.transport.call("delete", "DELETE", f"/internal/v1/images/{image_id}", token=token)

    def profile_image(self, token: str) -> StoredImage | None:
        """The person's profile image; None if there is none."""
        reply = self.transport.call("profile_image", "GET", "/internal/v1/profile-image", token=token)
        return None if reply.status == 204 else StoredImage.from_json(reply.json)

    def set_profile_image(self, token: str, image_id: UUID) -> StoredImage:
        """Makes one of the person's images the profile image. Rejected: not_found."""
        payload = {"image_id": str(image_id)}
        with _changing(token):
            reply = self.transport.call(
                "set_profile_image", "PUT", "/internal/v1/profile-image", token=token, payload=payload
            )
        return StoredImage.from_json(reply.json)

    def clear_profile_image(self, token: str) -> None:
        """The person has no profile image any more; the image itself stays."""
        with _changing(token):
            self.transport.call("clear_profile_image", "DELETE", "/internal/v1/profile-image", token=token)

    def close_account(self, token: str) -> None:
        """Removes every image of the person and refuses later uploads."""
        with _changing(token):
            self.transport.call("close_account", "DELETE", "/internal/v1/account", token=token)

    def changes(self, after: str | None) -> Changes:
        """Whose images have changed since the answer that gave the position `after`.

        Rejected: invalid_input for a position of something else.
        """
        query = None if after is None else {"after": after}
        reply = self.transport.call("changes", "GET", "/internal/v1/changes", signed=True, query=query)
        return Changes.from_json(reply.json, service="images")

    def _send(
        self,
        operation: str,
        path: str,
        file: BinaryIO,
        size: int,
        *,
        token: str | None = None,
        signed: bool = False,
        query: dict[str, str | int] | dict[str, str] | None = None,
    ) -> Any:
        if size > IMAGE_LIMIT:
            limit = IMAGE_LIMIT // (1024 * 1024)
            raise Rejected(
                "images",
                problems.image_fault("image_too_large", f"The file is larger than {limit} MB. Choose a smaller one."),
            )
        with context.upload_deadline():
            return self.transport.call(
                operation, "POST", path, token=token, signed=signed, body=Body(file, size), query=query
            ).json


def _changing(token: str) -> AbstractContextManager[None]:
    return marks.changing(tokens.claimed_subject(token), "images")
