"""`manage.py secrets OVERLAY`: what it makes, what it keeps, what it refuses."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from config import env as environment
from ops.cluster.overlay import NoOverlay, OverlayError
from ops.cluster.secrets import KEYS, SecretFileError, complete, create
from ops.errors import OperatorError
from tests.ops.running import manage

GENERATOR = "secretGenerator:\n" + "".join(f"- name: {name}\n  envs: [secrets/{name}.env]\n" for name in KEYS)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlays" / "minikube"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(GENERATOR)
    return folder


def values(overlay: Path) -> dict[str, dict[str, str]]:
    return {
        path.stem: dict(line.split("=", 1) for line in path.read_text().splitlines())
        for path in (overlay / "secrets").glob("*.env")
    }


def modes(overlay: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (overlay / "secrets").iterdir()}


def test_every_secret_gets_every_key(overlay: Path) -> None:
    paths = create(overlay)

    assert {name: tuple(found) for name, found in values(overlay).items()} == KEYS
    assert sorted(paths) == sorted(str(overlay / "secrets" / f"{name}.env") for name in KEYS)


def test_what_roles_share_is_equal(overlay: Path) -> None:
    create(overlay)

    made = values(overlay)
    assert made["gateway"]["SERVICE_KEYS"] == made["auth"]["SERVICE_KEYS"] == made["images"]["SERVICE_KEYS"]
    assert made["auth"]["KEY_ENCRYPTION_KEYS"] == made["console"]["KEY_ENCRYPTION_KEYS"]
    assert made["postgres"]["EXPORTER_PASSWORD"] == made["postgres-exporter"]["DATA_SOURCE_PASS"]
    assert made["auth"]["DATABASE_URL"] == made["console"]["AUTH_DATABASE_URL"]
    assert made["images"]["DATABASE_URL"] == made["console"]["IMAGES_DATABASE_URL"]
    for role in ("auth", "images"):
        address = urlsplit(made[role]["DATABASE_URL"])
        assert (address.username, address.hostname, address.port, address.path) == (
            role,
            "postgres.app-services.svc",
            5432,
            f"/{role}",
        )
        assert unquote(address.password or "") == made["postgres"][f"{role.upper()}_PASSWORD"]


def test_what_roles_do_not_share_differs(overlay: Path) -> None:
    create(overlay)

    made = values(overlay)
    own = [made[role]["SECRET_KEY"] for role in ("gateway", "auth", "images", "console")]
    own += [*made["postgres"].values(), made["gateway"]["SERVICE_KEYS"], made["auth"]["KEY_ENCRYPTION_KEYS"]]
    assert len(set(own)) == len(own)


def test_the_settings_of_the_roles_take_the_values(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(overlay)
    made = values(overlay)
    for name, value in (made["postgres"] | made["console"] | made["auth"]).items():
        monkeypatch.setenv(name, value)

    env = environment.Environment()
    env.secret("SECRET_KEY", at_least=50)
    env.named_keys("SERVICE_KEYS")
    env.named_keys("KEY_ENCRYPTION_KEYS")
    env.postgres_url("AUTH_DATABASE_URL")
    env.seal()


def test_only_the_owner_can_read_them(overlay: Path) -> None:
    create(overlay)

    assert modes(overlay) == {0o600}
    assert stat.S_IMODE((overlay / "secrets").stat().st_mode) == 0o700


def test_files_that_others_could_read_are_closed(overlay: Path) -> None:
    create(overlay)
    (overlay / "secrets" / "auth.env").chmod(0o644)

    create(overlay)

    assert modes(overlay) == {0o600}


def test_a_second_run_changes_nothing(overlay: Path) -> None:
    create(overlay)
    before = values(overlay)

    assert create(overlay) == []
    assert values(overlay) == before


def test_a_value_that_exists_is_kept_and_a_missing_one_is_added_behind_it(overlay: Path) -> None:
    create(overlay)
    before = values(overlay)
    path = overlay / "secrets" / "auth.env"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("SERVICE_KEYS")]
    path.write_text("# ours\n" + "\n".join(kept))  # the last line has no end

    files = complete(overlay)

    assert [(file.path, file.added) for file in files if file.added] == [(path, ("SERVICE_KEYS",))]
    assert path.read_text().startswith("# ours\n")
    path.write_text(path.read_text().removeprefix("# ours\n"))
    assert values(overlay) == before


@pytest.mark.parametrize("lost", list(KEYS))
def test_a_lost_file_gets_back_what_the_others_know(overlay: Path, lost: str) -> None:
    create(overlay)
    before = values(overlay)
    (overlay / "secrets" / f"{lost}.env").unlink()

    create(overlay)

    only_there = {"SECRET_KEY", "POSTGRES_PASSWORD"}
    after = values(overlay)
    for key in KEYS[lost]:
        assert (after[lost][key] == before[lost][key]) is (key not in only_there), key


def test_a_password_of_our_own_is_quoted_in_the_address(overlay: Path) -> None:
    folder = overlay / "secrets"
    folder.mkdir()
    (folder / "postgres.env").write_text("AUTH_PASSWORD=p@ss/w:rd#1\n")

    create(overlay)

    address = values(overlay)["auth"]["DATABASE_URL"]
    assert address == "postgres://auth:p%40ss%2Fw%3Ard%231@postgres.app-services.svc:5432/auth"


def test_keys_in_rotation_are_left_alone(overlay: Path) -> None:
    create(overlay)
    new = f"second:{'A' * 43}="
    for role, order in (("gateway", "{new},{old}"), ("auth", "{old},{new}"), ("images", "{old},{new}")):
        path = overlay / "secrets" / f"{role}.env"
        old = values(overlay)[role]["SERVICE_KEYS"]
        path.write_text(path.read_text().replace(old, order.format(old=old, new=new)))

    assert create(overlay) == []


@pytest.mark.parametrize(
    ("secret", "text", "says"),
    [
        ("auth", "SECRET_KEY\n", "line 1: it is not KEY=VALUE"),
        ("auth", "\n# note\nSERVICE_KEY=x\n", "line 3: 'SERVICE_KEY' is none of SECRET_KEY, SERVICE_KEYS"),
        ("postgres", "AUTH_PASSWORD=a\nAUTH_PASSWORD=b\n", "line 2: AUTH_PASSWORD is there twice"),
        ("postgres", "AUTH_PASSWORD=\n", "line 1: AUTH_PASSWORD is empty"),
        ("postgres", 'AUTH_PASSWORD="a"\n', "the value of AUTH_PASSWORD has a quote"),
        ("postgres", "AUTH_PASSWORD=a b\n", "the value of AUTH_PASSWORD has a quote, a space"),
        ("gateway", "SECRET_KEY=short\n", "SECRET_KEY has 5 characters, and 50 random ones are needed"),
        ("gateway", b"SECRET_KEY=\xff\xfe\n", "it is not text"),
    ],
)
def test_a_damaged_file_is_refused_and_nothing_is_written(
    overlay: Path, secret: str, text: str | bytes, says: str
) -> None:
    folder = overlay / "secrets"
    folder.mkdir()
    path = folder / f"{secret}.env"
    path.write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(SecretFileError) as caught:
        create(overlay)

    assert str(caught.value).startswith(f"{path} is damaged")
    assert says in str(caught.value)
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize(
    ("secret", "key", "value", "says"),
    [
        ("postgres", "AUTH_PASSWORD", "another", "The password in DATABASE_URL of"),
        ("postgres-exporter", "DATA_SOURCE_PASS", "another", "is not EXPORTER_PASSWORD of postgres.env"),
        ("gateway", "SERVICE_KEYS", f"other:{'A' * 43}=", "The first key of SERVICE_KEYS in"),
        ("console", "KEY_ENCRYPTION_KEYS", f"other:{'A' * 43}=", "The first key of KEY_ENCRYPTION_KEYS in"),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    overlay: Path, secret: str, key: str, value: str, says: str
) -> None:
    create(overlay)
    path = overlay / "secrets" / f"{secret}.env"
    path.write_text(path.read_text().replace(f"{key}={values(overlay)[secret][key]}", f"{key}={value}"))

    with pytest.raises(SecretFileError, match=says):
        create(overlay)


def test_the_database_of_another_server_is_nobody_elses_business(overlay: Path) -> None:
    create(overlay)
    for path in (overlay / "secrets" / "auth.env", overlay / "secrets" / "console.env"):
        old = values(overlay)["auth"]["DATABASE_URL"]
        path.write_text(path.read_text().replace(old, "postgres://seawall:secret@db.example.org/auth"))

    assert create(overlay) == []


def test_an_overlay_on_top_of_another_one_uses_the_files_of_that_one(overlay: Path) -> None:
    above = overlay.parent / "ci"
    above.mkdir()
    (above / "kustomization.yaml").write_text("resources: [../minikube]\n")

    create(above)

    assert set(values(overlay)) == set(KEYS)
    assert not (above / "secrets").exists()


def test_an_overlay_without_secret_files_says_where_its_secrets_come_from(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: []\n")

    with pytest.raises(OperatorError, match="must be on the cluster before it is deployed"):
        create(tmp_path)
    assert not (tmp_path / "secrets").exists()


def test_a_folder_without_a_kustomization_is_no_overlay(tmp_path: Path) -> None:
    with pytest.raises(NoOverlay, match=r"there is no kustomization\.yaml in it"):
        create(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secretGenerator: [{envs: [5]}]", "makes no Secrets from files"),
        ("secretGenerator: [x]\nresources: {a: b}", "makes no Secrets from files"),
        (f'resources: [5, null, {{}}, {"x" * 300}, "a\\0b"]', "makes no Secrets from files"),
        ("resources", "is no kustomization: it has no fields such as `resources:`"),
        (
            "a: b\nresources: [",
            "cannot be read: line 2: expected the node content, but found '<stream end>'. Correct it.",
        ),
        ("[" * 5000, "cannot be read: it is nested too deeply. Correct it."),
        ("a: " + "1" * 5000, "cannot be read: Exceeds the limit"),
        (b"\xff", "is damaged: it is not text."),
    ],
)
def test_a_kustomization_that_cannot_be_used_is_told_in_words(tmp_path: Path, text: str | bytes, says: str) -> None:
    (tmp_path / "kustomization.yaml").write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(OperatorError) as caught:
        create(tmp_path)
    assert says in str(caught.value)
    assert "object" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (errno.EACCES, OverlayError, "cannot be read: Permission denied. Run as a user who may read it"),
        (errno.ENAMETOOLONG, NoOverlay, "is no overlay"),
    ],
)
def test_an_overlay_that_cannot_be_looked_into_is_told(
    overlay: Path, monkeypatch: pytest.MonkeyPatch, fault: int, error: type[OperatorError], says: str
) -> None:
    def refuse(path: Path) -> bytes:
        raise OSError(fault, os.strerror(fault), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)

    with pytest.raises(error, match=says):
        create(overlay)


def test_a_directory_in_place_of_a_file_is_called_one(overlay: Path) -> None:
    path = overlay / "secrets" / "gateway.env"
    path.mkdir(parents=True)

    with pytest.raises(SecretFileError, match=f"{path} is a directory"):
        create(overlay)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "dead link"])
def test_a_file_in_place_of_the_folder_is_told(overlay: Path, make: Callable[[Path], None]) -> None:
    make(overlay / "secrets")

    with pytest.raises(OperatorError, match="is no folder, and the secrets belong into one"):
        create(overlay)


def test_a_full_disk_leaves_no_part_of_a_file(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OperatorError, match=r"No space left on device\. Make room there"):
        create(overlay)
    assert list((overlay / "secrets").iterdir()) == []


def test_what_is_complete_needs_no_file_system_that_can_be_written(
    overlay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(overlay)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("chmod", "mkdir", "unlink"):
        monkeypatch.setattr(Path, name, refuse)

    assert create(overlay) == []
    (overlay / "secrets" / "auth.env").write_text("")
    with pytest.raises(OperatorError, match=r"Read-only file system\. Make its file system writable"):
        create(overlay)


def test_a_run_that_does_not_end_is_named_after_a_while(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cluster.secrets.LOCK_SECONDS", 0.2)
    folder = overlay / "secrets"
    folder.mkdir(mode=0o700)
    hold = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), 2); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()

        with pytest.raises(OperatorError) as caught:
            create(overlay)
        holder.stdin.close()

    assert f"{folder} has been locked for 0 s by process {holder.pid} ({sys.executable} -c import fcntl" in str(
        caught.value
    )
    assert len(create(overlay)) == len(KEYS)


def test_two_runs_at_once_agree(overlay: Path) -> None:
    results: list[list[str]] = []
    runs = [threading.Thread(target=lambda: results.append(create(overlay))) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert sorted(map(len, results)) == [0, 0, 0, len(KEYS)]
    assert create(overlay) == []


def test_the_command_says_what_it_has_done_and_never_a_value(overlay: Path) -> None:
    first = manage("secrets", str(overlay))
    second = manage("secrets", str(overlay))

    assert (first.returncode, second.returncode) == (0, 0)
    assert f"{overlay}/secrets/gateway.env: made, with SECRET_KEY, SERVICE_KEYS" in first.stdout
    assert f"{overlay}/secrets/gateway.env: complete, nothing changed" in second.stdout
    for found in values(overlay).values():
        for value in found.values():
            assert value not in first.stdout + first.stderr


def test_the_command_names_the_folder_of_the_overlay_below(overlay: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    (above / "kustomization.yaml").write_text(f"resources: [{os.path.relpath(overlay, above)}]\n")

    done = manage("secrets", str(above))

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(f"{overlay / 'secrets'} is the only copy of these values")


def test_overlays_in_a_circle_have_no_secrets(tmp_path: Path) -> None:
    for name, other in (("one", "other"), ("other", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text(f"resources: [../{other}]\n")

    with pytest.raises(OperatorError, match="makes no Secrets from files"):
        create(tmp_path / "one")


def test_a_wrong_call_of_the_command_ends_with_2(tmp_path: Path) -> None:
    nothing, nowhere = manage("secrets"), manage("secrets", str(tmp_path / "nowhere"))

    assert (nothing.returncode, nowhere.returncode) == (2, 2)
    assert "is no overlay: there is no kustomization.yaml in it" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr
