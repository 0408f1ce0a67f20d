"""The gateway: browser portal and public REST API. It owns nothing: state lives in signed cookies only."""

from api.schema_settings import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS
from config.processes import THREADS as DEFAULT_THREADS
from config.settings._rest import REST_FRAMEWORK
from config.settings.base import *  # noqa: F403
from config.settings.base import INSTALLED_APPS, env
from internal.headers import content_security_policy, permissions_policy

DATABASES = {}  # never a database

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "api",
    "portal",
]
ROOT_URLCONF = "config.urls.gateway"

AUTH_URL = env.service_url("AUTH_URL")
IMAGES_URL = env.service_url("IMAGES_URL")
UPLOADS_URL = env.base_url("UPLOADS_URL")
THREADS = env.whole(
    "THREADS", str(DEFAULT_THREADS["gateway"]), at_least=2, at_most=128
)  # as the server has them: bulkheads are parts of them
THREADS_AT_WORK = 1  # of them may begin a request at a time (internal.turns)
SERVICE_KEYS = env.named_keys("SERVICE_KEYS")
TOKEN_ISSUER = env.str("TOKEN_ISSUER", "seawall")
TOKEN_AUDIENCE = env.str("TOKEN_AUDIENCE", "seawall")
JWKS_CACHE_FILE = env.str("JWKS_CACHE_FILE", "")
FILE_UPLOAD_TEMP_DIR = env.str("UPLOAD_TEMP_DIR", "") or None
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "internal.uploads.TemporaryFiles",
]

# Plain HTTP is for localhost only: without it cookies lose Secure and the __Host- prefix.
HTTPS_ONLY = env.bool("HTTPS_ONLY", True)
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", "")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS_ONLY else None
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_REDIRECT_EXEMPT = [r"^api/"]  # refused instead: api.middleware
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY

REST_FRAMEWORK = REST_FRAMEWORK | {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
SESSION_COOKIE_NAME = "__Host-seawall" if HTTPS_ONLY else "seawall"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS_ONLY else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = HTTPS_ONLY
CSRF_FAILURE_VIEW = "portal.errors.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

MIDDLEWARE = [
    "internal.middleware.RequestContextMiddleware",
    "internal.middleware.ForwardedSchemeMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "api.middleware.HttpsOnlyMiddleware",
    "api.answers.KeptAnswersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "portal.middleware.PortalMiddleware",
    "internal.middleware.BodyLimitMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CONTENT_SECURITY_POLICY = content_security_policy(images=UPLOADS_URL)
PERMISSIONS_POLICY = permissions_policy()

STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# A form without JavaScript sends several images at once; each has its own limit (internal.clients.images).
BODY_LIMIT = 128 * 1024 * 1024
PROBLEM_PAGE = "portal.errors.problem_page"
BACKGROUND_WATCHES = ["internal.dependencies.watch", "internal.following.watch"]
WARM_UP = ["internal.tokens.prefetch"]

env.seal()
