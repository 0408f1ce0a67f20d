"""The internal API of the images role."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from images import changes, health, library, receiving
from internal.authentication import (
    BearerTokenAuthentication,
    HasPrincipal,
    IsService,
    Principal,
    ServiceSignatureAuthentication,
    require_signed_digest,
)

BODY_TYPE = "application/octet-stream"


class PageQuery(serializers.Serializer[Any]):
    """What a list may be asked for."""

    cursor = serializers.CharField(required=False, max_length=100)
    limit = serializers.IntegerField(default=library.DEFAULT_PAGE, min_value=1, max_value=library.LARGEST_PAGE)


class UploadQuery(serializers.Serializer[Any]):
    """How an upload is to be kept."""

    profile = serializers.BooleanField(default=False)


class ProfileImageChoice(serializers.Serializer[Any]):
    """Which image is to be the profile image."""

    image_id = serializers.UUIDField()


class OwnerView(APIView):
    """A call on behalf of a person, with that person's access token."""

    authentication_classes = [BearerTokenAuthentication]
    permission_classes = [HasPrincipal]

    def owner(self, request: Request) -> UUID:
        """The account of the person."""
        assert isinstance(request.user, Principal)
        return request.user.account_id


class UploadMixin(APIView):
    """A call whose body is an image. Whatever the answer is, the body is read to its end, so that it gets through."""

    signs_stream = True

    def require_body_type(self, request: Request) -> None:
        """Raises UnsupportedMediaType for a body that says it is something else than plain bytes."""
        if request.content_type.partition(";")[0].strip().lower() != BODY_TYPE:
            raise UnsupportedMediaType(request.content_type, f"Send the image as {BODY_TYPE}.")

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """The answer, once nothing more is on its way."""
        if request.method == "POST":
            receiving.drain(request._request)
        return super().finalize_response(request, response, *args, **kwargs)


class ServiceUploadView(UploadMixin):
    """A call by another role whose body is an image; the signature covers the body."""

    authentication_classes = [ServiceSignatureAuthentication]
    permission_classes = [IsService]


class ImagesView(UploadMixin, OwnerView):
    """The person's images, and a new one among them."""

    def get(self, request: Request) -> Response:
        """A page, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        return Response(library.list_images(self.owner(request), **query.validated_data).to_json())

    def post(self, request: Request) -> Response:
        """Stores an image."""
        self.require_body_type(request)
        query = UploadQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        with receiving.received(request._request) as body:
            image = library.store_image(
                self.owner(request), body.file, as_profile_image=query.validated_data["profile"]
            )
        return Response(image.to_json(), status=201)


class ImageView(OwnerView):
    """One image of the person."""

    def get(self, request: Request, image_id: UUID) -> Response:
        """What is known of it."""
        return Response(library.get_image(self.owner(request), image_id).to_json())

    def delete(self, request: Request, image_id: UUID) -> Response:
        """Removes it."""
        library.delete_image(self.owner(request), image_id)
        return Response(status=204)


class ProfileImageView(OwnerView):
    """Which of the images stands for the person."""

    def get(self, request: Request) -> Response:
        """The profile image; 204 without one."""
        image = library.profile_image(self.owner(request))
        return Response(status=204) if image is None else Response(image.to_json())

    def put(self, request: Request) -> Response:
        """Chooses it."""
        choice = ProfileImageChoice(data=request.data)
        choice.is_valid(raise_exception=True)
        image = library.set_profile_image(self.owner(request), choice.validated_data["image_id"])
        return Response(image.to_json())

    def delete(self, request: Request) -> Response:
        """The person has none any more."""
        library.clear_profile_image(self.owner(request))
        return Response(status=204)


class AccountView(OwnerView):
    """The person's account, as far as this role knows it."""

    def delete(self, request: Request) -> Response:
        """Closes it: every image goes."""
        library.close_account(self.owner(request))
        return Response(status=204)


class ValidateView(ServiceUploadView):
    """Judges an image without keeping it."""

    def post(self, request: Request) -> Response:
        """204 if it would be stored."""
        self.require_body_type(request)
        with receiving.received(request._request) as body:
            require_signed_digest(request, body.sha256)
            library.validate_upload(body.file)
        return Response(status=204)


class AccountImagesView(ServiceUploadView):
    """The images of an account that has just been registered and has no access token yet."""

    def post(self, request: Request, account_id: UUID) -> Response:
        """Stores its profile image."""
        self.require_body_type(request)
        with receiving.received(request._request) as body:
            require_signed_digest(request, body.sha256)
            image = library.store_image(account_id, body.file, as_profile_image=True)
        return Response(image.to_json(), status=201)


class ChangesView(APIView):
    """Whose images have changed, for roles that keep answers."""

    authentication_classes = [ServiceSignatureAuthentication]
    permission_classes = [IsService]
    replay_is_harmless = True

    def get(self, request: Request) -> Response:
        """What has changed since the position `after`."""
        changed = changes.feed.since(request.query_params.get("after"))
        return Response(changed.to_json(), headers={"Cache-Control": "no-store"})


class StatusView(APIView):
    """How the role is doing; says nothing about anybody."""

    def get(self, request: Request) -> Response:
        """Release, database and store."""
        return Response(
            {
                "service": "images",
                "version": settings.VERSION,
                "commit": settings.COMMIT,
                "database": "up" if health.database_is_up() else "down",
                "storage": "up" if health.storage_is_up() else "down",
            }
        )
