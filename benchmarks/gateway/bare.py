"""The bare view that the gateway is compared with: Django with one address, no middleware, no database and no log.

Served as `benchmarks.gateway.bare` by gunicorn's own gthread worker. BARE_ANSWERS in the environment is a JSON object:
by path, what is answered there, as JSON anew each time.
"""

from __future__ import annotations

import json
import os
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

_answers = json.loads(os.environ["BARE_ANSWERS"])

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=[],
    LOGGING_CONFIG=None,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(48),
)


def answer(request: HttpRequest) -> JsonResponse:
    """What is to be answered at this path."""
    response = JsonResponse(_answers[request.path])
    response["Content-Length"] = len(response.content)  # as the gateway says it; gunicorn would send chunks
    return response


urlpatterns = [path(each.removeprefix("/"), answer) for each in _answers]
application = get_wsgi_application()
