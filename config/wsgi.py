"""The WSGI application of the role that DJANGO_SETTINGS_MODULE names."""

import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver
from django.utils.module_loading import import_string

from config.env import EnvironmentFault
from internal.requests import Request

if "DJANGO_SETTINGS_MODULE" not in os.environ:
    sys.exit("DJANGO_SETTINGS_MODULE is not set: name a role, such as config.settings.gateway")
try:
    application = get_wsgi_application()
    application.request_class = Request
except EnvironmentFault as fault:
    sys.exit(str(fault))

# Views are loaded now and not at the first request: once for all workers, which then share their memory.
_routes = get_resolver().reverse_dict
for _name in settings.PRELOAD:
    import_string(_name)()
