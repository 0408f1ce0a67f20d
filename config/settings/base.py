"""What every role has. A role's own module adds to it, and says what it must not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from environs import validate

from config.env import Environment

BASE_DIR = Path(__file__).resolve().parents[2]

env = Environment()

SECRET_KEY = env.secret("SECRET_KEY", at_least=50)
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS")
TRUSTED_PROXY_COUNT = env.whole("TRUSTED_PROXY_COUNT", "0", at_least=0, at_most=10)
VERSION = env.str("VERSION", "unreleased")
COMMIT = env.str("COMMIT", "unknown")

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
APPEND_SLASH = False
ROOT_URLCONF: str
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, Any] = {}
INSTALLED_APPS = ["internal", "django_prometheus"]

# The gateway ends TLS at a proxy and answers HTTP with a redirect itself; the other roles never see a browser.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Form fields. Whole bodies: BODY_LIMIT; JSON: internal.parsers; images: internal.clients.images.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100

LOGGING_CONFIG = "internal.logs.configure"
LOGGING = {
    "style": env.str("LOG_FORMAT", "json", validate=validate.OneOf(["json", "console"])),
    "level": env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
}

PROMETHEUS_EXPORT_MIGRATIONS = False

# What the management port's /readyz asks, as dotted names of functions that raise when something is missing.
READINESS_CHECKS: list[str] = []

# What the server makes before it forks, as dotted names of functions: its workers share that memory.
PRELOAD: list[str] = []

# What each worker does before it serves, as dotted names of functions that neither raise nor take long.
WARM_UP: list[str] = []
