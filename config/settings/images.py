"""The images role: stored images, their records and their origin. It verifies tokens and never makes one."""

from config.settings._image_store import image_store
from config.settings._postgres import POOL_SIZE, pooled
from config.settings._rest import REST_FRAMEWORK as REST_FRAMEWORK
from config.settings.base import *  # noqa: F403
from config.settings.base import INSTALLED_APPS, env

INSTALLED_APPS = [*INSTALLED_APPS, "config.postgresql", "rest_framework", "images"]
ROOT_URLCONF = "config.urls.images"

DATABASES = {
    "default": pooled(
        env.postgres_url("DATABASE_URL"),
        pool_size=env.whole("DATABASE_POOL_SIZE", str(POOL_SIZE), at_least=1, at_most=50),
        application="seawall-images",
    )
}
SERVICE_KEYS = env.named_keys("SERVICE_KEYS")
SIGNATURE_NONCES = "images.nonces.first_use"
AUTH_URL = env.service_url("AUTH_URL")
TOKEN_ISSUER = env.str("TOKEN_ISSUER", "seawall")
TOKEN_AUDIENCE = env.str("TOKEN_AUDIENCE", "seawall")
JWKS_CACHE_FILE = env.str("JWKS_CACHE_FILE", "")
FILE_UPLOAD_TEMP_DIR = env.str("UPLOAD_TEMP_DIR", "") or None
STORAGES = {"images": image_store(env)}
PRELOAD = ["images.store.prepare"]

MIDDLEWARE = [
    "internal.middleware.RequestContextMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "internal.middleware.BodyLimitMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
READINESS_CHECKS = ["images.health.storage"]
BACKGROUND_WATCHES = ["images.removals.watch"]
WARM_UP = ["internal.tokens.prefetch"]

# TLS ends in front of the gateway and of files; this role has no cookies and no pages.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003", "security.W004", "security.W008"]

# Calls come from other roles: their deadline holds here, too. The limit leaves room over the largest legal image, so
# that one that is too large is refused as an image and not as a body.
ACCEPTS_DEADLINE = True
BODY_LIMIT = 64 * 1024 * 1024

env.seal()
