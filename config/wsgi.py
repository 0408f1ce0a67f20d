"""The WSGI application of the role that DJANGO_SETTINGS_MODULE names."""

import os
import sys

from django.core.wsgi import get_wsgi_application

from config.env import EnvironmentFault

if "DJANGO_SETTINGS_MODULE" not in os.environ:
    sys.exit("DJANGO_SETTINGS_MODULE is not set: name a role, such as config.settings.gateway")
try:
    application = get_wsgi_application()
except EnvironmentFault as fault:
    sys.exit(str(fault))
