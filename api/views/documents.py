"""What explains the API: the OpenAPI document, the page to try it, the list of problems; and what is not there."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from rest_framework.renderers import JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.schema import openapi_document
from api.views.base import AcceptNegotiation
from internal.problems import CATALOGUE, Problem, problem_response

# The same for everybody, and new with each release only.
CACHE_CONTROL = "public, max-age=300"


class SchemaView(APIView):
    """The OpenAPI 3.1 document, as JSON or YAML: by Accept, or by `?format=json` and `?format=yaml`."""

    authentication_classes = ()
    permission_classes = ()
    schema = None  # not one of the API's calls
    renderer_classes = (OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer)

    def get(self, request: Request) -> Response:
        return Response(openapi_document(), headers={"Cache-Control": CACHE_CONTROL})


class ProblemsView(APIView):
    """Every code that a problem document may have, as JSON or, for a browser, as a page."""

    authentication_classes = ()
    permission_classes = ()
    schema = None  # not one of the API's calls
    renderer_classes = (JSONRenderer, TemplateHTMLRenderer)
    content_negotiation_class = AcceptNegotiation
    template_name = "api/problems.html"

    def get(self, request: Request) -> Response:
        items = [
            {
                "code": code,
                "type": f"{request.path}#{code}",
                "status": status,
                "title": title,
            }
            for code, (status, title) in sorted(CATALOGUE.items(), key=lambda item: (item[1][0], item[0]))
        ]
        return Response({"items": items}, headers={"Cache-Control": CACHE_CONTROL})


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The page to try the API. Its script and styles are static files of ours: the portal's strict CSP holds."""
    response = render(request, "api/docs.html")
    response["Cache-Control"] = CACHE_CONTROL
    return response


@csrf_exempt
def unknown_path(request: HttpRequest, path: str = "") -> HttpResponse:
    """Everything else under /api/: a problem document and never a page."""
    return problem_response(request, Problem("not_found", "There is no such call in this API."))
