"""The images of a person."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api import operations, serializers
from api.answers import complete
from api.parsers import MultipartParser
from api.views.base import PersonalView, token_of
from internal import clients


class ImagesView(PersonalView):
    parser_classes = (MultipartParser,)

    @operations.list_images
    def get(self, request: Request) -> Response:
        query = serializers.PageQuery.of_values(request.query_params.dict())
        page = clients.images_client().list(token_of(request), **query)
        headers = {}
        if page.next_cursor is not None:
            following = urlencode({"cursor": page.next_cursor, "limit": query["limit"]})
            headers["Link"] = f'<{request.path}?{following}>; rel="next"'
        return complete(Response(serializers.ImagePage.shown(page), headers=headers))

    @operations.upload_image
    def post(self, request: Request) -> Response:
        body, size = serializers.upload_of(serializers.ImageUpload.of(request)["image"])
        image = clients.images_client().upload(token_of(request), body, size)
        return Response(
            serializers.image_json(image),
            status=201,
            headers={"Location": reverse("api:image", args=[image.id])},
        )


class ImageView(PersonalView):
    @operations.get_image
    def get(self, request: Request, image_id: UUID) -> Response:
        image = clients.images_client().get(token_of(request), image_id)
        return Response(serializers.image_json(image))

    @operations.delete_image
    def delete(self, request: Request, image_id: UUID) -> Response:
        clients.images_client().delete(token_of(request), image_id)
        return Response(status=204)
