"""The console: Django admin for staff over both databases, and the operational jobs. Never behind the public route."""

from auth.passwords import PASSWORD_VALIDATORS
from config.settings._backup_store import backup_store
from config.settings._image_store import image_store
from config.settings._postgres import direct
from config.settings._token_times import token_times
from config.settings.base import *  # noqa: F403
from config.settings.base import INSTALLED_APPS, env
from internal.headers import content_security_policy, permissions_policy

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "config.postgresql",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "auth",
    "images",
    "backups",
]
ROOT_URLCONF = "config.urls.console"

# For jobs, which nobody repeats by hand; the console itself says at once that its database is away.
DATABASE_PATIENCE = env.whole("DATABASE_PATIENCE", "0", at_least=0, at_most=600)
DATABASES = {
    "default": direct(env.postgres_url("AUTH_DATABASE_URL"), application="seawall-console", patience=DATABASE_PATIENCE),
    "images": direct(
        env.postgres_url("IMAGES_DATABASE_URL"), application="seawall-console", patience=DATABASE_PATIENCE
    ),
}
DATABASE_ROUTERS = ["config.routers.ImagesDatabaseRouter"]
KEY_ENCRYPTION_KEYS = env.named_keys("KEY_ENCRYPTION_KEYS")
ACCESS_TOKEN_SECONDS, SIGNING_KEY_PUBLISH_SECONDS, SIGNING_KEY_DAYS = token_times(env)
UPLOADS_URL = env.base_url("UPLOADS_URL")

# How long `manage.py audit prune` keeps audit events; the database itself holds on to 30 days.
AUDIT_RETENTION_DAYS = env.whole("AUDIT_RETENTION_DAYS", "365", at_least=30, at_most=36_500)

# Staff and the people of the portal are hashed alike.
PASSWORD_HASHERS = ["auth.hashers.Argon2idHasher"]
AUTH_PASSWORD_VALIDATORS = PASSWORD_VALIDATORS

# The console is reached through a tunnel to localhost, so plain HTTP is possible here and not in front of people.
HTTPS_ONLY = env.bool("HTTPS_ONLY", True)
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", "")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS_ONLY else None
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SESSION_COOKIE_NAME = "__Host-console" if HTTPS_ONLY else "console"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_NAME = "__Host-console-csrf" if HTTPS_ONLY else "console-csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_SECURE = HTTPS_ONLY

MIDDLEWARE = [
    "internal.middleware.RequestContextMiddleware",
    "internal.middleware.ForwardedSchemeMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "auth.staff.ActingStaffMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CONTENT_SECURITY_POLICY = content_security_policy(images=UPLOADS_URL)
PERMISSIONS_POLICY = permissions_policy()

STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT")
_IMAGE_STORE = image_store(env)
STORAGES = {
    "images": _IMAGE_STORE,
    **backup_store(env, _IMAGE_STORE),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# What `manage.py backup prune` keeps: so many of the newest, and the newest of so many days, weeks and months.
BACKUP_KEEP_LAST = env.whole("BACKUP_KEEP_LAST", "7", at_least=1, at_most=100_000)
BACKUP_KEEP_DAILY = env.whole("BACKUP_KEEP_DAILY", "14", at_least=0, at_most=100_000)
BACKUP_KEEP_WEEKLY = env.whole("BACKUP_KEEP_WEEKLY", "8", at_least=0, at_most=100_000)
BACKUP_KEEP_MONTHLY = env.whole("BACKUP_KEEP_MONTHLY", "12", at_least=0, at_most=100_000)
PG_BIN = env.str("PG_BIN", "")  # the folder of pg_dump, pg_restore and psql, where PATH has none that fit

READINESS_CHECKS = ["auth.health.database"]

env.seal()
