"""What every call has in common: JSON, bearer tokens, caching rules, the answer to OPTIONS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.cache import patch_vary_headers
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.parsers import MultipartParser
from internal.authentication import BearerTokenAuthentication, HasPrincipal, Principal
from internal.parsers import JsonObjectParser


class AcceptNegotiation(DefaultContentNegotiation):
    """Chooses the format by the Accept header alone: `?format=` has a meaning only where the schema is served."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:  # noqa: A002 - the base class names it so
        return renderers


class ApiView(APIView):
    """A call that anybody may make. No cookie is read, so none can be abused: there is no CSRF to guard against."""

    authentication_classes: Sequence[type[BaseAuthentication]] = ()
    permission_classes: Sequence[type[BasePermission]] = ()
    parser_classes: Sequence[type[BaseParser]] = (JsonObjectParser,)
    content_negotiation_class = AcceptNegotiation

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Answers are about one person or hold secrets: nobody may keep a copy."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Names the methods (REST framework adds Allow); what they take is in the schema."""
        return Response(status=204)


class PersonalView(ApiView):
    """A call that needs the access token of a signed-in person."""

    authentication_classes = (BearerTokenAuthentication,)
    permission_classes = (HasPrincipal,)

    def perform_authentication(self, request: Request) -> None:
        if request.method != "OPTIONS":
            super().perform_authentication(request)

    def check_permissions(self, request: Request) -> None:
        if request.method != "OPTIONS":
            super().check_permissions(request)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ["Authorization"])
        return response


def principal_of(request: Request) -> Principal:
    """Whose token this is; only for views whose permission is HasPrincipal."""
    principal = request.user
    assert isinstance(principal, Principal)
    return principal


def token_of(request: Request) -> str:
    return principal_of(request).token


def is_form(request: Request) -> bool:
    return (request.content_type or "").partition(";")[0].strip().lower() == MultipartParser.media_type
