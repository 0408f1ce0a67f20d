"""What takes several calls holds together when one of them fails."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from internal import clients, context, problems, workflows
from internal.contracts import Account, StoredImage
from internal.errors import Rejected, Unavailable

MOMENT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
ACCOUNT = Account(UUID(int=1), "Ada", "ada@example.org", MOMENT, None, None)
IMAGE = StoredImage(UUID(int=2), "image/png", 1, 1, 1, False, MOMENT, True, "/p", "/a", "/c")
DOWN = {"auth": Unavailable("auth", "down"), "images": Unavailable("images", "down")}
BAD = Rejected("images", problems.image_fault("not_an_image", "No."))


class Fake:
    """A client whose methods answer, or raise, what the test says, and which remembers what was called."""

    def __init__(self, calls: list[str], **answers: Any) -> None:
        self._calls = calls
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def method(*_: Any, **__: Any) -> Any:
            self._calls.append(name)
            answer = self._answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer

        return method


@pytest.fixture
def calls() -> list[str]:
    return []


def use(monkeypatch: pytest.MonkeyPatch, auth: Fake, images: Fake) -> None:
    monkeypatch.setattr(clients, "auth_client", lambda: auth)
    monkeypatch.setattr(clients, "images_client", lambda: images)


def register(*, with_image: bool = True) -> workflows.Registration:
    image = SimpleUploadedFile("a.png", b"x") if with_image else None
    return workflows.register_with_image(name="Ada", email="ada@example.org", password="p" * 12, image=image)


def test_a_registration_with_an_image_judges_registers_and_stores(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    use(monkeypatch, Fake(calls, register=ACCOUNT), Fake(calls, validate=None, upload_for=IMAGE))
    assert register() == workflows.Registration(ACCOUNT, IMAGE, None)
    assert calls == ["validate", "register", "upload_for"]


def test_a_registration_without_an_image_does_not_ask_images(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    use(monkeypatch, Fake(calls, register=ACCOUNT), Fake(calls))
    assert register(with_image=False) == workflows.Registration(ACCOUNT, None, None)


def test_a_bad_image_registers_nothing(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    use(monkeypatch, Fake(calls, register=ACCOUNT), Fake(calls, validate=BAD))
    with pytest.raises(Rejected):
        register()
    assert calls == ["validate"]


@pytest.mark.parametrize(
    "answers",
    [{"validate": DOWN["images"]}, {"validate": None, "upload_for": DOWN["images"]}],
    ids=["before", "after"],
)
def test_a_store_that_is_down_leaves_an_account_without_the_image(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], answers: dict[str, Any]
) -> None:
    use(monkeypatch, Fake(calls, register=ACCOUNT), Fake(calls, **answers))
    registration = register()
    assert (registration.account, registration.image) == (ACCOUNT, None)
    assert registration.image_problem is not None
    assert registration.image_problem.code == "images_unavailable"


def test_a_profile_asks_both_roles_at_the_same_time(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    both = threading.Barrier(2, timeout=5)

    def together(answer: Any) -> Any:
        both.wait()
        return answer

    use(
        monkeypatch,
        Fake(calls, account=lambda: together(ACCOUNT)),
        Fake(calls, profile_image=lambda: together(IMAGE)),
    )
    assert workflows.load_profile("token") == workflows.ProfileView(ACCOUNT, IMAGE, frozenset())


@pytest.mark.parametrize("missing", ["auth", "images"])
def test_a_profile_names_the_role_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], missing: str
) -> None:
    auth = Fake(calls, account=DOWN["auth"] if missing == "auth" else ACCOUNT)
    images = Fake(calls, profile_image=DOWN["images"] if missing == "images" else IMAGE)
    use(monkeypatch, auth, images)
    view = workflows.load_profile("token")
    assert view.unavailable == {missing}
    assert (view.account is None) is (missing == "auth")
    assert (view.image is None) is (missing == "images")


def test_a_profile_is_shown_in_time_though_no_thread_comes_to_its_image(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    free = threading.Event()
    use(monkeypatch, Fake(calls, account=ACCOUNT), Fake(calls, profile_image=IMAGE))
    with ThreadPoolExecutor(1) as threads:
        threads.submit(free.wait, 30)
        monkeypatch.setattr(workflows, "_executor", lambda: threads)
        with context.deadline_of(0.1):
            view = workflows.load_profile("token")
        free.set()
    assert view == workflows.ProfileView(ACCOUNT, None, frozenset({"images"}))
    assert calls == ["account"]  # nobody asks for it any more


def test_closing_an_account_closes_nothing_while_images_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    auth = Fake(calls, account=ACCOUNT, close_account=None)
    use(monkeypatch, auth, Fake(calls, close_account=DOWN["images"]))
    with pytest.raises(Unavailable):
        workflows.close_account("token")
    assert calls == ["account", "close_account"]


def test_closing_an_account_removes_no_image_while_auth_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    use(monkeypatch, Fake(calls, account=DOWN["auth"]), Fake(calls, close_account=None))
    with pytest.raises(Unavailable):
        workflows.close_account("token")
    assert calls == ["account"]


def test_judging_an_image_leaves_time_to_register(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    left: dict[str, float] = {}

    def hanging(*_: Any) -> None:
        left["judge"] = context.current_deadline().remaining()
        raise DOWN["images"]

    def registering() -> Account:
        left["register"] = context.current_deadline().remaining()
        return ACCOUNT

    use(monkeypatch, Fake(calls, register=registering), Fake(calls, validate=lambda: hanging()))
    register()
    assert left["judge"] <= workflows.JUDGE_SECONDS
    assert left["register"] == pytest.approx(context.REQUEST_DEADLINE, abs=0.5)


def test_a_registration_with_an_image_that_waited_for_a_thread_has_that_less(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    left: list[float] = []

    def storing() -> StoredImage:
        left.append(context.current_deadline().remaining())
        return IMAGE

    use(monkeypatch, Fake(calls, register=ACCOUNT), Fake(calls, validate=None, upload_for=storing))
    monkeypatch.setattr(context, "wait", lambda: 1.6)
    with context.allowance_of(context.REQUEST_DEADLINE):
        register()

    assert left[0] == pytest.approx(context.UPLOAD_DEADLINE - 1.6, abs=0.3)
