"""The secrets of one state folder and the environment of each role.

`secrets.json` is written once and never again: it is the only copy of the passwords of the database and of the key
that encrypts the signing keys. `env/<role>.json` is derived from it at each start, with the addresses of that start,
and holds only what the role may know. Both are readable by the owner alone.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ops.errors import OperatorError
from ops.layout import (
    AUTH,
    CONSOLE,
    DATABASES,
    DJANGO_ROLES,
    FILES,
    GATEWAY,
    HOST,
    IMAGES,
    POSTGRES,
    Ports,
    Role,
    State,
)

GRACEFUL_SECONDS = 3
"""How long a stopping role may finish what it is answering: everything must be over within 10 s."""

TOKEN_ISSUER = TOKEN_AUDIENCE = "seawall"  # noqa: S105  (a name, not a secret)

_TOKEN_TIMES = ("ACCESS_TOKEN_SECONDS", "SIGNING_KEY_PUBLISH_SECONDS", "SIGNING_KEY_DAYS")
"""Variables of the person's own environment that auth, which issues tokens, and the console, whose commands rotate the
keys, must both have or both not have."""

_IMAGE_STORE = (
    "IMAGE_STORE",
    "S3_BUCKET",
    "S3_ENDPOINT_URL",
    "S3_REGION",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_ADDRESSING_STYLE",
    "S3_CA_FILE",
)
"""The same for images and console, each as NAME or NAME_FILE: where the images are."""

_BACKUP_STORE = (
    "BACKUP_STORE",
    "BACKUP_ROOT",
    *(f"BACKUP_{name}" for name in _IMAGE_STORE if name.startswith("S3_")),
    *(f"BACKUP_KEEP_{name}" for name in ("LAST", "DAILY", "WEEKLY", "MONTHLY")),
    "PG_BIN",
)
"""The same for the console alone: where backups are, how many are kept, and with which programs they are made."""


class SecretsError(OperatorError):
    """The secrets of the state folder cannot be read. The message says what to do."""


@dataclass(frozen=True)
class Secrets:
    """What must stay the same from one start to the next.

    `system_id` names the state folder wherever something of it must lie outside (see `ops.postgres`).
    `service_keys` and `key_encryption_keys` are lists of `id:base64(32 bytes)`, separated by commas.
    """

    system_id: str
    secret_keys: dict[str, str]
    service_keys: str
    key_encryption_keys: str
    postgres_password: str
    database_passwords: dict[str, str]

    @classmethod
    def generate(cls) -> Secrets:
        """New random secrets."""
        return cls(
            system_id=secrets.token_hex(8),
            secret_keys={role.name: secrets.token_urlsafe(48) for role in DJANGO_ROLES},
            service_keys=named_key("local"),
            key_encryption_keys=named_key("local"),
            postgres_password=secrets.token_urlsafe(24),
            database_passwords={name: secrets.token_urlsafe(24) for name in DATABASES},
        )

    @classmethod
    def load_or_generate(cls, state: State) -> Secrets:
        """Those of the state folder; made and written there the first time. Raises SecretsError."""
        try:
            stored = json.loads(state.secrets.read_text())
            return cls(**stored)
        except FileNotFoundError:
            generated = cls.generate()
            write_private(state.secrets, asdict(generated))
            return generated
        except PermissionError as error:
            owner = state.secrets.stat().st_uid if state.secrets.exists() else "somebody else"
            raise SecretsError(
                f"{state.secrets} belongs to user {owner}: run as that user, or choose another folder with --state."
            ) from error
        except (ValueError, TypeError) as error:
            raise SecretsError(
                f"{state.secrets} is damaged ({error}). It is the only copy of the database passwords: restore it from "
                "a backup, or choose another folder with --state to start afresh."
            ) from error


@dataclass(frozen=True)
class DatabaseUrls:
    """Where the two databases are."""

    auth: str
    images: str

    @classmethod
    def local(cls, stored: Secrets, ports: Ports) -> DatabaseUrls:
        """Those of the PostgreSQL that `up` starts: each database belongs to the user of the same name."""
        auth, images = (
            f"postgres://{name}:{quote(stored.database_passwords[name])}@{HOST}:{ports.application(POSTGRES)}/{name}"
            for name in DATABASES
        )
        return cls(auth=auth, images=images)


def environments(state: State, stored: Secrets, ports: Ports, databases: DatabaseUrls) -> dict[str, dict[str, str]]:
    """The environment of each Django role by its name: what its settings read, and nothing that is not its business."""
    portal = f"http://{HOST}:{ports.application(GATEWAY)}"
    console = f"http://{HOST}:{ports.application(CONSOLE)}"
    tokens = {"TOKEN_ISSUER": TOKEN_ISSUER, "TOKEN_AUDIENCE": TOKEN_AUDIENCE}
    token_times = {name: os.environ[name] for name in _TOKEN_TIMES if name in os.environ}
    image_store = _image_store(state)
    of_role: dict[str, dict[str, str]] = {
        "gateway": {
            **tokens,
            "AUTH_URL": ports.url(AUTH),
            "IMAGES_URL": ports.url(IMAGES),
            "UPLOADS_URL": ports.url(FILES),
            "SERVICE_KEYS": stored.service_keys,
            "HTTPS_ONLY": "false",
            "CSRF_TRUSTED_ORIGINS": _origins(portal),
            "JWKS_CACHE_FILE": str(state.scratch(GATEWAY) / "jwks.json"),
            "STATIC_ROOT": str(state.static(GATEWAY)),
        },
        "auth": {
            **tokens,
            **token_times,
            "DATABASE_URL": databases.auth,
            "SERVICE_KEYS": stored.service_keys,
            "KEY_ENCRYPTION_KEYS": stored.key_encryption_keys,
        },
        "images": {
            **tokens,
            "DATABASE_URL": databases.images,
            "AUTH_URL": ports.url(AUTH),
            "SERVICE_KEYS": stored.service_keys,
            "JWKS_CACHE_FILE": str(state.scratch(IMAGES) / "jwks.json"),
            **image_store,
        },
        "console": {
            **token_times,
            "AUTH_DATABASE_URL": databases.auth,
            "IMAGES_DATABASE_URL": databases.images,
            "KEY_ENCRYPTION_KEYS": stored.key_encryption_keys,
            **image_store,
            **_backup_store(state),
            "UPLOADS_URL": ports.url(FILES),
            "HTTPS_ONLY": "false",
            "CSRF_TRUSTED_ORIGINS": _origins(console),
            "STATIC_ROOT": str(state.static(CONSOLE)),
        },
    }
    common = {"ALLOWED_HOSTS": "127.0.0.1,localhost,[::1]", "LOG_FORMAT": "json"}
    return {name: {"SECRET_KEY": stored.secret_keys[name], **common, **values} for name, values in of_role.items()}


def write_environments(state: State, by_role: dict[str, dict[str, str]]) -> None:
    """Write `env/<role>.json` for each role; manage.py reads them."""
    for role in DJANGO_ROLES:
        write_private(state.environment(role), by_role[role.name])


def server_environment(state: State, role: Role, ports: Ports) -> dict[str, str]:
    """What only the serving process of a role needs, and a command under the same settings must not have."""
    metrics = state.scratch(role) / "metrics"
    metrics.mkdir(mode=0o700, exist_ok=True)
    return {
        "DJANGO_SETTINGS_MODULE": role.settings,
        "BIND": f"{HOST}:{ports.application(role)}",
        "MANAGEMENT_BIND": f"{HOST}:{ports.management(role)}",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "GRACEFUL_TIMEOUT": str(GRACEFUL_SECONDS),
    }


def write_private(path: Path, value: object) -> None:
    """Write JSON that only the owner can read, whole or not at all."""
    write_private_text(path, json.dumps(value, indent=2) + "\n")


def write_private_text(path: Path, text: str) -> None:
    """Write a file that only the owner can read, whole or not at all. Raises OSError."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _image_store(state: State) -> dict[str, str]:
    """Where images and console find the images: in the state folder, unless the person's own environment says S3."""
    own = {name: os.environ[name] for each in _IMAGE_STORE for name in (each, f"{each}_FILE") if name in os.environ}
    return {"IMAGE_ROOT": str(state.images)} if own.get("IMAGE_STORE", "filesystem") == "filesystem" else own


def _backup_store(state: State) -> dict[str, str]:
    """Where the console keeps backups: in the state folder, unless the person's own environment names another place."""
    own = {name: os.environ[name] for each in _BACKUP_STORE for name in (each, f"{each}_FILE") if name in os.environ}
    here = {"BACKUP_STORE": "filesystem", "BACKUP_ROOT": str(state.backups)}
    return {**here, **own} if own.get("BACKUP_STORE", "filesystem") == "filesystem" else own


def named_key(name: str) -> str:
    """A new key for SERVICE_KEYS or KEY_ENCRYPTION_KEYS: `name:base64(32 random bytes)`."""
    return f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _origins(url: str) -> str:
    return f"{url},{url.replace(HOST, 'localhost')}"
