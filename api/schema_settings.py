"""drf-spectacular's settings: the OpenAPI document of the public API."""

from __future__ import annotations

from typing import Any

DESCRIPTION = """\
Seawall keeps an account, its profile and its images.

**Signing in.** `POST /login` yields two tokens. Send the access token with every other call, as
`Authorization: Bearer …`; it lasts ten minutes. When it ends, `POST /refresh` takes the refresh token and yields two
new ones. A refresh token is good for one use: if an old one comes back, the whole session ends.

**When something is wrong** the answer is a problem document (`application/problem+json`, RFC 9457). Its `code` is
stable; `/api/v1/problems` lists all codes. `errors` names the fields at fault. `request_id`, also in the header
`X-Request-ID`, lets us find the request.

**When a service does not answer** the status is 503, with `Retry-After` in seconds. What does not need that service
goes on working: a profile then names in `limited` the parts that are missing.

**Lists** come in pages: follow `next_cursor`, or the `Link` header with `rel="next"`, until there is none.

Members of a JSON body that are not known here are ignored. Bodies of JSON may have 64 KiB, images 10 MiB.
"""

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Seawall API",
    "DESCRIPTION": DESCRIPTION,
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": "/api/v1", "description": "This gateway"}],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "TAGS": [
        {
            "name": "Account",
            "description": "Register, change the profile, close the account.",
        },
        {
            "name": "Sign-in",
            "description": "Tokens, the password, and where one is signed in.",
        },
        {
            "name": "Images",
            "description": "Store, list, show and remove images. Each is its owner's alone to manage.",
        },
    ],
    "SORT_OPERATIONS": False,
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.schema.describe_headers",
        "api.schema.share_problem_examples",
    ],
}
