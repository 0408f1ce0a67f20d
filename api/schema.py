"""How drf-spectacular describes what is the same for every call: the bearer token, the headers of answers."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator

from internal.problems import CONTENT_TYPE

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id under which the logs know the request; the caller's own, if it sent one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
        "required": True,
    },
    "WWW-Authenticate": {
        "description": "The way to authenticate (RFC 6750).",
        "schema": {"type": "string", "pattern": "^Bearer"},
        "required": True,
    },
    "Retry-After": {
        "description": "Seconds after which trying again may help.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Location": {
        "description": "Where the new thing is.",
        "schema": {"type": "string", "format": "uri-reference"},
        "required": True,
    },
    "Link": {
        "description": 'The next page, as `<…>; rel="next"`; not sent with the last one.',
        "schema": {"type": "string"},
    },
}
HEADERS_OF_STATUS = {
    "201": ["Location"],
    "401": ["WWW-Authenticate"],
    "429": ["Retry-After"],
    "503": ["Retry-After"],
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "internal.authentication.BearerTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access_token` of `POST /login` or `POST /refresh`.",
        }


def describe_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook: gives every answer the headers that its status promises."""
    result["components"]["headers"] = HEADERS
    for item in result["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                names = ["X-Request-ID", *HEADERS_OF_STATUS.get(status, [])]
                if operation["operationId"] == "listImages" and status == "200":
                    names.append("Link")
                response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return result


def share_problem_examples(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook: the example of a problem stands once in the document, however many answers show it."""
    shared: dict[str, Any] = {}
    for item in result["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values():
                examples = response.get("content", {}).get(CONTENT_TYPE, {}).get("examples", {})
                for name, example in examples.items():
                    shared[name] = example
                    examples[name] = {"$ref": f"#/components/examples/{name}"}
    result["components"]["examples"] = dict(sorted(shared.items()))
    return result


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the public API, built once a process."""
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document
