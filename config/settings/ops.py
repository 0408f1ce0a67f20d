"""Settings of the operator commands: no database, no URL, and no secret that outlives the process."""

import secrets

SECRET_KEY = secrets.token_urlsafe(48)
INSTALLED_APPS = ["ops"]
USE_TZ = True
TIME_ZONE = None  # times are shown to the person at this machine, in its own zone
# Django's own set-up of logging would import mail and template code for nothing; the commands print.
LOGGING_CONFIG = None
