"""The auth role: accounts, sessions, signing keys, audit. It holds the auth database and no other credential."""

from auth.passwords import PASSWORD_VALIDATORS
from config.settings._postgres import POOL_SIZE, pooled
from config.settings._rest import REST_FRAMEWORK as REST_FRAMEWORK
from config.settings._token_times import token_times
from config.settings.base import *  # noqa: F403
from config.settings.base import INSTALLED_APPS, env

INSTALLED_APPS = [*INSTALLED_APPS, "config.postgresql", "rest_framework", "auth"]
ROOT_URLCONF = "config.urls.auth"

DATABASES = {
    "default": pooled(
        env.postgres_url("DATABASE_URL"),
        pool_size=env.whole("DATABASE_POOL_SIZE", str(POOL_SIZE), at_least=1, at_most=50),
        application="seawall-auth",
    )
}
SERVICE_KEYS = env.named_keys("SERVICE_KEYS")
SIGNATURE_NONCES = "auth.nonces.first_use"
KEY_ENCRYPTION_KEYS = env.named_keys("KEY_ENCRYPTION_KEYS")
ACCESS_TOKEN_SECONDS, SIGNING_KEY_PUBLISH_SECONDS, SIGNING_KEY_DAYS = token_times(env)
TOKEN_ISSUER = env.str("TOKEN_ISSUER", "seawall")
TOKEN_AUDIENCE = env.str("TOKEN_AUDIENCE", "seawall")
TOKEN_KEY_SET = "auth.signing_keys.PublishedKeys"  # noqa: S105 - the name of a class

PASSWORD_HASHERS = ["auth.hashers.Argon2idHasher"]
AUTH_PASSWORD_VALIDATORS = PASSWORD_VALIDATORS

MIDDLEWARE = [
    "internal.middleware.RequestContextMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "internal.middleware.BodyLimitMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
READINESS_CHECKS = ["auth.health.database"]

# Nothing of Django's own tells a browser from a service here: TLS ends in front of the gateway, and auth has no route
# from outside, no cookies and no pages.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003", "security.W004", "security.W008"]

# Calls come from other roles: their deadline holds here, too.
ACCEPTS_DEADLINE = True
BODY_LIMIT = 64 * 1024

env.seal()
