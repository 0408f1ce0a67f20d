"""Registration and the profile."""

from __future__ import annotations

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api import operations, serializers
from api.answers import complete
from api.parsers import MultipartParser
from api.profiles import PART_OF_SERVICE, profile_of, profile_without_account
from api.views.base import ApiView, PersonalView, is_form, principal_of, token_of
from internal import clients, workflows
from internal.errors import InvalidReply, Unavailable
from internal.parsers import JsonObjectParser
from internal.problems import Problem


class RegisterView(ApiView):
    parser_classes = (JsonObjectParser, MultipartParser)

    @operations.register
    def post(self, request: Request) -> Response:
        form = serializers.RegistrationForm if is_form(request) else serializers.Registration
        values = form.of(request)
        registration = workflows.register_with_image(
            name=values["name"],
            email=values["email"],
            password=values["password"],
            image=values.get("image"),
        )
        missing = registration.image_problem
        profile = profile_of(
            registration.account,
            registration.image,
            limited=("image",) if missing else (),
            notice=notice_of(missing) if missing else None,
        )
        return Response(
            serializers.RegisteredProfile.shown(profile),
            status=201,
            headers={"Location": reverse("api:profile")},
        )


class ProfileView(PersonalView):
    @operations.get_profile
    def get(self, request: Request) -> Response:
        principal = principal_of(request)
        view = workflows.load_profile(principal.token)
        limited = tuple(sorted(PART_OF_SERVICE[service] for service in view.unavailable))
        if view.account is None:
            profile = profile_without_account(principal.account_id, view.image, limited=limited)
        else:
            profile = profile_of(view.account, view.image, limited=limited)
        response = Response(serializers.Profile.shown(profile))
        return response if limited else complete(response)

    @operations.change_profile
    def patch(self, request: Request) -> Response:
        changes = serializers.ProfileChanges.of(request)
        token = token_of(request)
        account = clients.auth_client().update_account(token, **changes)
        try:
            profile = profile_of(account, clients.images_client().profile_image(token))
        except (Unavailable, InvalidReply):
            profile = profile_of(account, None, limited=("image",))
        return Response(serializers.Profile.shown(profile))

    @operations.close_account
    def delete(self, request: Request) -> Response:
        workflows.close_account(token_of(request))
        return Response(status=204)


class ProfileImageView(PersonalView):
    parser_classes = (JsonObjectParser, MultipartParser)

    @operations.set_profile_image
    def put(self, request: Request) -> Response:
        if is_form(request):
            return self._upload(request)
        choice = serializers.ImageChoice.of(request)
        image = clients.images_client().set_profile_image(token_of(request), choice["image_id"])
        return Response(serializers.image_json(image))

    def _upload(self, request: Request) -> Response:
        body, size = serializers.upload_of(serializers.ImageUpload.of(request)["image"])
        image = clients.images_client().upload(token_of(request), body, size, as_profile_image=True)
        return Response(
            serializers.image_json(image),
            status=201,
            headers={"Location": reverse("api:image", args=[image.id])},
        )

    @operations.clear_profile_image
    def delete(self, request: Request) -> Response:
        clients.images_client().clear_profile_image(token_of(request))
        return Response(status=204)


def notice_of(problem: Problem) -> str:
    """What to tell a person whose account was made without the image, because of `problem`."""
    reason = problem.detail.rstrip(".")
    return (
        f"The account was made without its image. {reason}. "
        "To add it later, sign in and send it again: PUT /api/v1/profile/image."
    )
