"""A whole system of the suite's own, which sees the file systems that the tests mount."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.disk.volumes import Volume, become_able_to_mount
from tests.running import Answer, Person, ask, picture, url
from tests.support import running_system

FOLDERS = 3  # that a store consists of, its own one among them


@pytest.fixture(scope="session")
def can_mount() -> str:
    """Empty, or why this process cannot mount a file system. Comes before everything that must see one."""
    try:
        become_able_to_mount()
    except OSError as error:
        return f"a small file system cannot be mounted here ({error}): run as root, or allow user namespaces"
    return ""


@pytest.fixture(scope="session", autouse=True)
def system(can_mount: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The running system."""
    folder = tmp_path_factory.mktemp("system")
    for parent in (folder, folder.parent):
        parent.chmod(0o711)  # as root: PostgreSQL's own user passes through to its data
    with running_system(folder / "state") as system, pytest.MonkeyPatch.context() as patch:
        for name, value in system.environment().items():
            patch.setenv(name, value)
        assert Owner().upload(picture()).status == 201  # the store has its folders from now on
        yield


@pytest.fixture(scope="session")
def mountable(can_mount: str) -> None:
    """For tests that need a file system of their own."""
    if can_mount:
        pytest.skip(can_mount)


def image_root() -> Path:
    """The folder of the store."""
    return Path(os.environ["SEAWALL_STATE"]) / "images"


@dataclass
class Owner:
    """Somebody with images, and what their bytes were when they were stored."""

    person: Person = field(default_factory=lambda: Person.new().register().sign_in())
    images: list[dict[str, Any]] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    others: frozenset[str] = field(default_factory=lambda: stored())  # files that were there before

    def upload(self, image: bytes) -> Answer:
        """One upload, whatever comes of it."""
        answer = self.person.call("POST", "/images", form={"image": ("photo", image)})
        if answer.status == 201:
            self.images.append(answer.json)
            for address in addresses(answer.json):
                self.contents[address] = ask("GET", address).body
        return answer

    def upload_until_refused(self, image: bytes, most: int = 100) -> Answer:
        """Uploads the same picture again and again, and returns the first refusal."""
        for _ in range(most):
            answer = self.upload(image)
            if answer.status != 201:
                return answer
        raise AssertionError(f"{most} uploads were stored: the store is not small")

    def delete(self, image: dict[str, Any]) -> None:
        """Removes one of the images."""
        assert self.person.call("DELETE", f"/images/{image['id']}").status == 204
        self.images.remove(image)
        for address in addresses(image):
            del self.contents[address]

    def listed(self) -> list[str]:
        """The ids of the images, as the API lists them."""
        answer = self.person.call("GET", "/images?limit=100")
        assert answer.status == 200, answer.body
        return [image["id"] for image in answer.json["items"]]

    def reads_go_on(self) -> bool:
        """Whether `files` and the origin give out every image as it was stored, in all of its sizes."""
        for address, content in self.contents.items():
            origin = address.replace(url("files"), url("images"))
            for answer in (ask("GET", address), ask("GET", origin)):
                if (answer.status, answer.body) != (200, content):
                    return False
        return bool(self.contents)

    def nothing_half_written(self) -> bool:
        """Whether the store has got the files of the acknowledged images and nothing else, and they are all listed."""
        names = {f"uploads/{address.rpartition('/')[2]}" for address in self.contents}
        ids = {image["id"] for image in self.images}
        return (stored() - self.others, set(self.listed())) == (names, ids)


def stored() -> frozenset[str]:
    """The files of the store, finished or not."""
    paths = [path for path in image_root().rglob("*") if path.is_file() and path.name != Volume.BALLAST]
    return frozenset(str(path.relative_to(image_root())) for path in paths)


def addresses(image: dict[str, Any]) -> list[str]:
    """Where the image is, in all of its sizes."""
    return [image["url"], image["avatar_url"], image["card_url"]]


def refused(answer: Answer, status: int, code: str) -> bool:
    """Whether the answer is that problem, as a document that says so."""
    document = answer.json
    assert (answer.status, document["status"], document["code"]) == (status, status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert document["request_id"] == answer.headers["X-Request-ID"]
    assert document["detail"]
    return True


@pytest.fixture
def owner() -> Owner:
    """Somebody with an account and no image yet."""
    return Owner()


@contextmanager
def store_on_a_volume(files: int = 0) -> Iterator[Volume]:
    """The block runs with the store on a file system of 4 MB, with room for so many files; it has its folders already.

    (A store that was there and is found without its folders is one that was taken away.)
    """
    with Volume(image_root(), size=4 * 1024 * 1024, files=FOLDERS + files if files else 0).attached() as volume:
        for name in ("uploads", "incoming"):
            (image_root() / name).mkdir()
        yield volume


@pytest.fixture
def small_store(mountable: None) -> Iterator[Volume]:
    """The store is on a file system of 4 MB."""
    with store_on_a_volume() as volume:
        yield volume


def large() -> bytes:
    """A picture of about 0.9 MB, which does not get smaller when it is stored."""
    return picture(600, 500, noise=True)
