"""`manage.py images` at a terminal: what it says, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from images import store
from images.management.commands import images as command
from images.models import Image, Removal
from tests.images.commands import images, overwrite, start, stored_image

pytestmark = pytest.mark.django_db(transaction=True)


def said(*words: str) -> str:
    output = io.StringIO()
    call_command("images", *words, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["reap", "--older-than", "9m"], "9m is too short: uploads may be under way. Give 10m or more."),
        (["reap", "--older-than", "599s"], "599s is too short"),
        (["reap", "--older-than", "1"], "'1' is no time: give a number and a unit, such as 90m, 1h or 2d."),
        (["reap", "--older-than", "-1h"], "expected one argument"),
        (["reap", "--older-than", "9999999d"], "is no time"),
        (["verify", "--sample", "0"], "'0' is no whole number above zero."),
        (["verify", "--sample", "many"], "'many' is no whole number above zero."),
        (["export"], "the following arguments are required: FOLDER"),
        (["import"], "the following arguments are required: FOLDER"),
        (["polish"], "invalid choice: 'polish' (choose from"),
        ([], "the following arguments are required: ACTION"),
    ],
)
def test_a_wrong_call_is_refused_in_words(words: list[str], refusal: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("images", *words)

    assert refusal in str(refused.value)


@pytest.mark.parametrize("text", ["10m", "600s", "1h", "2d", "999999d"])
def test_ages_that_may_be_given(text: str) -> None:
    assert command.age(text) >= command.age("10m")


def test_people_read_sentences(tmp_path: Path) -> None:
    whole, broken = stored_image(), stored_image()
    size = sum(store.look(name).size for image in (whole, broken) for name in image.stored_names)  # type: ignore[union-attr]
    folder = str(tmp_path / "export")

    assert said("verify") == "2 images verified: 0 with faults. 0 files older than 1h without a record.\n"
    assert said("derive") == "2 images looked at: 0 got new avatar and card.\n"
    assert said("reap").startswith("6 files looked at: 0 without a record and 0 unfinished removed (0 bytes)")
    summary = "2 images: {} files copied ({:,} bytes), {} there already. All were read back and compared.\n".format
    assert said("export", folder) == summary(6, size, 0)
    assert said("import", folder) == summary(0, 0, 6)
    overwrite(broken.stored_names[1], b"rotten")
    assert said("derive").splitlines() == [
        f"remade: {broken.stored_names[0]}: the avatar cannot be decoded",
        "2 images looked at: 1 got new avatar and card.",
    ]


def test_people_read_how_many_files_of_deleted_images_wait(image_root: Path) -> None:
    name = f"uploads/{uuid4()}.png"
    overwrite(name, b"content")
    Removal.objects.create(name=name)

    assert said("verify").startswith("1 file of deleted images still to be removed: `images reap` does it now.\n")
    assert said("reap").endswith("1 file of deleted images removed.\n")
    assert not (image_root / name).exists()


def test_an_empty_store_is_nothing_special(tmp_path: Path) -> None:
    for words in (["verify"], ["derive"], ["reap"], ["export", tmp_path / "export"]):
        assert images(*words).status == 0


@pytest.mark.parametrize("words", [["verify"], ["derive"], ["reap"], ["export", "/nowhere/folder"]])
def test_a_store_that_is_not_there_is_named(words: list[str], image_root: Path) -> None:
    image_root.rmdir()

    ran = images(*words)

    assert (ran.status, ran.error) == (
        1,
        "The image store cannot be used: the folder of the image store does not exist.",
    )


def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(Image.objects, "count", fail)

    ran = images("verify")

    assert ran.status == 1
    assert ran.error.startswith("The images database does not answer")
    assert ran.error.endswith("the connection is closed")


def test_a_process_ends_with_the_exit_status_that_is_promised(image_root: Path) -> None:
    image = stored_image()
    environment = {"IMAGE_ROOT": str(image_root)}

    def status(*words: str) -> tuple[int, str]:
        process = start(*words, environment=environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    assert status("verify")[0] == 0
    assert status("verify", "--sample", "x")[0] == 2
    store.remove(image.stored_names[:1])
    code, output = status("verify")
    advice = "Avatars and cards are made again by `images derive`, pictures come back from a copy by `import`."
    assert code == 1
    assert output.splitlines() == [
        f"missing: {image.stored_names[0]}: the picture is not in the store",
        "1 image verified: 1 with faults (1 missing). 0 files older than 1h without a record.",
        f"CommandError: {advice}",
    ]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is_and_is_clean_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_STEP_ON_TERMINAL", 0.0)
    monkeypatch.setattr(command.sys, "stderr", terminal := Terminal())
    for _ in range(3):
        stored_image()

    said("verify")

    shown = terminal.getvalue()
    assert "\r\x1b[K1 of 3 images, 0:00 left" in shown
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown


def test_elsewhere_a_line_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_STEP", 0.0)
    monkeypatch.setattr(command.sys, "stderr", stream := io.StringIO())
    stored_image()

    said("verify")

    assert stream.getvalue() == "1 of 1 images, 0:00 left\n"
