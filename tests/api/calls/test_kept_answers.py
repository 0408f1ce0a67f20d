"""The profile and the list of images are given again while nothing of them has changed, and not a moment longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import resolve
from joserfc.jwk import OKPKey
from prometheus_client import REGISTRY

from api.answers import KeptAnswer, KeptAnswers
from internal import marks, tokens
from internal.clients.auth import AuthClient
from internal.clients.images import ImagesClient
from internal.contracts import ImagePage
from internal.errors import Unavailable
from internal.marks import DEPENDENCIES, Board
from internal.transport import Reply
from tests.api.calls.conftest import ACCOUNT, ACCOUNT_ID, Caller

PATHS = ["/profile", "/images", "/images?limit=5"]


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board that is relied on for the time of the test."""
    own = Board()
    for dependency in DEPENDENCIES:
        own.rely_until(dependency, time.monotonic() + 600)
    monkeypatch.setattr(marks, "board", own)
    monkeypatch.setattr("api.answers.board", own)
    return own


@pytest.fixture
def asked(auth: Mock, images: Mock) -> Callable[[], int]:
    """How many questions the services have been asked."""
    return lambda: len(auth.method_calls) + len(images.method_calls)


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_given_again_and_is_the_same(api: Caller, asked: Callable[[], int], path: str) -> None:
    first = api("GET", path)
    questions = asked()

    second = api("GET", path)

    assert questions
    assert asked() == questions
    assert (second.status_code, second.content) == (first.status_code, first.content)
    own = {"X-Request-ID"}
    assert {k: v for k, v in second.headers.items() if k not in own} == {
        k: v for k, v in first.headers.items() if k not in own
    }
    assert second.headers["X-Request-ID"] != first.headers["X-Request-ID"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_a_change_of_the_account_ends_it(
    api: Caller, asked: Callable[[], int], board: Board, path: str, dependency: str
) -> None:
    api("GET", path)
    questions = asked()

    board.changed(ACCOUNT_ID, dependency)
    api("GET", path)

    assert asked() == 2 * questions


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_without_news_from_both_nothing_is_given_again(
    api: Caller, asked: Callable[[], int], board: Board, dependency: str
) -> None:
    api("GET", "/profile")
    questions = asked()
    board.rely_until(dependency, time.monotonic())

    api("GET", "/profile")
    api("GET", "/profile")

    assert asked() == 3 * questions


def test_what_changes_while_it_is_asked_for_is_asked_for_again(api: Caller, auth: Mock, board: Board) -> None:
    def changed_meanwhile(token: str) -> object:
        board.changed(ACCOUNT_ID, "auth")
        return ACCOUNT

    auth.account.side_effect = changed_meanwhile
    api("GET", "/profile")
    auth.account.side_effect = None
    auth.account.return_value = replace(ACCOUNT, name="Ada King")

    assert api("GET", "/profile").json()["name"] == "Ada King"


def test_another_token_page_or_kind_of_answer_is_asked_for(
    api: Caller, images: Mock, make_token: Callable[..., str]
) -> None:
    api("GET", "/images?limit=5")

    api("GET", "/images?limit=6")
    api("GET", "/images?limit=5", token=make_token(jti="another"))
    api("GET", "/images?limit=5", headers={"Accept": "application/json"})

    assert images.list.call_count == 4


def test_other_people_get_their_own(api: Caller, images: Mock, make_token: Callable[..., str]) -> None:
    api("GET", "/images")
    images.list.return_value = ImagePage(items=(), next_cursor=None, total=0)

    assert api("GET", "/images", token=make_token(sub=str(uuid4()))).json()["total"] == 0


def test_who_wants_no_copy_is_answered_by_the_services(api: Caller, asked: Callable[[], int]) -> None:
    api("GET", "/profile")
    questions = asked()

    api("GET", "/profile", headers={"Cache-Control": "no-cache"})

    assert asked() == 2 * questions


@pytest.mark.parametrize("missing", ["auth", "images"])
def test_a_limited_profile_is_not_kept(api: Caller, auth: Mock, images: Mock, missing: str) -> None:
    method = {"auth": auth.account, "images": images.profile_image}[missing]
    method.side_effect = Unavailable(missing, "refused")
    assert api("GET", "/profile").json()["limited"]

    method.side_effect = None

    assert api("GET", "/profile").json()["limited"] == []


def test_refusals_are_not_kept(api: Caller, images: Mock) -> None:
    images.list.side_effect = Unavailable("images", "refused")
    assert api("GET", "/images").status_code == 503

    images.list.side_effect = None

    assert api("GET", "/images").status_code == 200


def test_a_token_that_has_expired_ends_it(
    api: Caller, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_token(exp=int(time.time()) + 60)
    assert api("GET", "/profile", token=token).status_code == 200
    assert api("GET", "/profile", token=token).status_code == 200

    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)

    assert api("GET", "/profile", token=token).json()["code"] == "token_expired"


def test_a_key_that_is_withdrawn_ends_it(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api("GET", "/profile").status_code == 200
    assert api("GET", "/profile").status_code == 200

    other = OKPKey.generate_key("Ed25519", parameters={"kid": "other"}, private=True)
    cache = tokens.JwksCache(lambda: {"keys": [other.as_dict(private=False)]})
    monkeypatch.setattr(tokens, "key_set", lambda: cache)

    assert api("GET", "/profile").status_code == 401


def test_what_changes_while_the_keys_are_fetched_ends_it(
    api: Caller, asked: Callable[[], int], board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    api("GET", "/profile")
    questions, published = asked(), tokens.key_set()

    class Slow:
        def key(self, key_id: str) -> OKPKey | None:
            board.changed(ACCOUNT_ID, "auth")
            return published.key(key_id)

    monkeypatch.setattr(tokens, "key_set", Slow)
    api("GET", "/profile")

    assert asked() == 2 * questions


def test_news_that_come_after_a_long_time_without_any_end_it_at_once(
    api: Caller, asked: Callable[[], int], board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower writes the marks and then the moment; whoever reads reads the moment and then the marks."""
    api("GET", "/profile")
    questions = asked()
    board.rely_until("auth", time.monotonic() - 60)
    relied_on = Board.relied_on

    def news_come_first(self: Board) -> bool:
        self.changed(ACCOUNT_ID, "auth")
        self.rely_until("auth", time.monotonic() + 60)
        return relied_on(self)

    monkeypatch.setattr(Board, "relied_on", news_come_first)
    api("GET", "/profile")

    assert asked() == 2 * questions


def test_it_counts_among_the_answers_of_its_view(api: Caller) -> None:
    def counted() -> list[float | None]:
        value = REGISTRY.get_sample_value
        view = {"view": "api:profile", "method": "GET"}
        return [
            value("django_http_responses_total_by_status_view_method_total", view | {"status": "200"}),
            value("django_http_requests_total_by_view_transport_method_total", view | {"transport": "http"}),
            value("django_http_requests_latency_seconds_by_view_method_count", view),
        ]

    api("GET", "/profile")
    before = counted()

    api("GET", "/profile")

    assert counted() == [(count or 0) + 1 for count in before]


def test_another_host_than_the_allowed_ones_is_refused(token: str, settings: Any) -> None:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.get("/api/v1/profile").status_code == 200
    settings.ALLOWED_HOSTS = ["elsewhere.example"]

    assert client.get("/api/v1/profile").status_code == 400


def test_whoever_changes_something_through_this_process_is_never_given_what_was_before(
    token: str, board: Board
) -> None:
    transport = Mock()
    transport.call.side_effect = Unavailable("auth", "no answer", sent=True)
    image = uuid4()
    for change in (
        lambda: AuthClient(transport).update_account(token, name="Ada"),
        lambda: AuthClient(transport).change_password(token, current_password="a", new_password="b"),
        lambda: AuthClient(transport).end_session(token, uuid4()),
        lambda: AuthClient(transport).close_account(token),
        lambda: ImagesClient(transport).delete(token, image),
        lambda: ImagesClient(transport).set_profile_image(token, image),
        lambda: ImagesClient(transport).clear_profile_image(token),
        lambda: ImagesClient(transport).close_account(token),
        lambda: ImagesClient(transport).upload(token, Mock(), 1),
        lambda: ImagesClient(transport).upload_for(ACCOUNT_ID, Mock(), 1),
    ):
        before = board.marks(ACCOUNT_ID)
        with pytest.raises(Unavailable):
            change()
        assert board.marks(ACCOUNT_ID) != before


def test_a_release_of_auth_that_does_not_say_who_signed_out_has_signed_out_all_the_same(board: Board) -> None:
    transport = Mock()
    before = board.marks(ACCOUNT_ID)
    transport.call.return_value = Reply(204, None)
    AuthClient(transport).sign_out(refresh_token="x")
    assert board.marks(ACCOUNT_ID) == before

    transport.call.return_value = Reply(200, {"account_id": str(ACCOUNT_ID)})
    AuthClient(transport).sign_out(refresh_token="x")
    assert board.marks(ACCOUNT_ID) != before


def test_answers_that_do_not_fit_make_room(token: str) -> None:
    kept = KeptAnswers(most_bytes=3 * (3000 + len(token)))
    answer = KeptAnswer(
        tokens.verified(token), marks.board.marks(ACCOUNT_ID), b"x" * 900, (), resolve("/api/v1/profile")
    )

    for number in range(20):
        kept.keep((token, f"/{number}", ""), answer)

    assert [bool(kept.get((token, f"/{number}", ""))) for number in range(20)] == [False] * 17 + [True] * 3


def test_long_addresses_and_headers_count(token: str) -> None:
    kept = KeptAnswers(most_bytes=100_000)
    answer = KeptAnswer(tokens.verified(token), marks.board.marks(ACCOUNT_ID), b"x", (), resolve("/api/v1/profile"))
    keys = [(token, f"/{number}?{'x' * 8_000}", "y" * 8_000) for number in range(20)]

    for key in keys * 2:
        kept.keep(key, answer)

    assert [bool(kept.get(key)) for key in keys] == [False] * 15 + [True] * 5
