"""Settings of the operator commands: no database, no URL, and no secret that outlives the process."""

import secrets

SECRET_KEY = secrets.token_urlsafe(48)
INSTALLED_APPS = ["ops"]
USE_TZ = True
# Django's own set-up of logging would import mail and template code for nothing; the commands print.
LOGGING_CONFIG = None
