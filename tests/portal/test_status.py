"""The status page, and what every other page says while something is known to be missing."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.test import Client

from internal import dependencies
from internal.dependencies import PARTS, DependencyState, PartState
from portal.templatetags.portal import lasting
from tests.portal.fakes import NOON, FakeAuth, FakeImages
from tests.portal.pages import text_of
from tests.portal.signing_in import age

JSON = {"accept": "application/json"}
See = Callable[..., None]


def state(name: str, *missing: str, fault: str = "", unknown: bool = False) -> DependencyState:
    """A dependency that has been so since noon; with a fault it does not answer at all."""
    answers = None if unknown else not fault
    parts = tuple(PartState(part, (part not in missing) if answers else None, NOON.timestamp()) for part in PARTS[name])
    up = None if unknown else not fault and not missing
    return DependencyState(
        name,
        up=up,
        since=NOON.timestamp(),
        answers=answers,
        fault=fault,
        parts=parts,
        version="1.2",
        commit="abc123",
        checked_at=NOON.timestamp() + 60,
        stale=unknown,
    )


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> See:
    """Says what the management process has seen: everything well, but for what is given."""

    def say(auth: DependencyState | None = None, images: DependencyState | None = None) -> None:
        seen = (auth or state("auth"), images or state("images"))
        monkeypatch.setattr(dependencies, "states", lambda: seen)

    say()
    return say


def abilities(client: Client) -> dict[str, str]:
    document = client.get("/status", headers=JSON).json()
    return {ability["code"]: ability["state"] for ability in document["abilities"]}


def test_with_everything_well_the_page_says_so_and_names_each_release(visitor: Client, see: See) -> None:
    page = visitor.get("/status")

    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    words = text_of(page)
    for sentence in (
        "Everything works.",
        "Signing in Works You can sign in and register.",
        "Uploads Works You can add images.",
        "Accounts and sign-in auth Works Since 22 November 2026, 12:00 UTC",
        "The service answers Its database answers",
        "Version 1.2 (commit abc123)",
        "This portal gateway Works Running since",
        "Version unreleased (commit unknown)",
    ):
        assert sentence in words, (sentence, words)
    assert "Does not work Images do not load in your browser." in words  # hidden until a browser has tried


def test_the_page_asks_nobody_even_for_somebody_whose_token_has_expired(
    anna: Client, auth: FakeAuth, images: FakeImages, see: See
) -> None:
    age(anna, seconds_left=-60)
    auth.is_down()
    images.is_down()
    auth.calls.clear()
    images.calls.clear()

    for path in ("/status", "/status/board"):
        assert anna.get(path).status_code == 200

    assert auth.calls == images.calls == []
    assert "Sign out" in text_of(anna.get("/status"))


def test_a_program_gets_a_document(visitor: Client, see: See) -> None:
    see(images=state("images", "storage"))

    answer = visitor.get("/status", headers=JSON)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    document = answer.json()
    assert (document["state"], document["summary"]) == ("fails", "Some things do not work at this moment.")
    assert document["gateway"]["version"] == "unreleased"
    assert document["dependencies"][1] == {
        "name": "images",
        "state": "down",
        "since": "2026-11-22T12:00:00.000Z",
        "missing": ["storage"],
        "fault": None,
        "parts": [
            {"name": "database", "state": "up", "since": "2026-11-22T12:00:00.000Z"},
            {"name": "storage", "state": "down", "since": "2026-11-22T12:00:00.000Z"},
        ],
        "version": "1.2",
        "commit": "abc123",
        "checked_at": "2026-11-22T12:01:00.000Z",
        "stale": False,
    }


W, P, F, U = "works", "in_part", "fails", "unknown"


@pytest.mark.parametrize(
    ("auth_state", "images_state", "expected"),
    [
        (state("auth"), state("images"), (W, W, W, W)),
        (state("auth", fault="refused"), state("images"), (F, P, P, P)),
        (state("auth", "database"), state("images", "database"), (F, P, F, F)),
        (state("auth"), state("images", fault="timed out"), (W, P, F, F)),
        (state("auth"), state("images", "storage"), (W, W, W, F)),
        (state("auth", fault="cut off"), state("images", fault="failed"), (F, P, F, F)),
        (state("auth", unknown=True), state("images", unknown=True), (U, U, U, U)),
        (state("auth", unknown=True), state("images"), (U, U, U, U)),
        (state("auth", unknown=True), state("images", "storage"), (U, U, U, F)),
    ],
)
def test_what_people_can_do_follows_from_what_is_missing(
    visitor: Client,
    see: See,
    auth_state: DependencyState,
    images_state: DependencyState,
    expected: tuple[str, str, str, str],
) -> None:
    see(auth_state, images_state)

    assert abilities(visitor) == dict(zip(("sign_in", "profile", "gallery", "uploads"), expected, strict=True))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refused", "The service does not answer: it refuses connections Its database not known"),
        ("timed out", "The service does not answer in time"),
        ("cut off", "The service breaks off before it has answered"),
        ("unreachable", "The service cannot be reached"),
        ("failed", "The service answers with an error of its own"),
        ("not understood", "The service answers with something that is not understood here"),
    ],
)
def test_how_a_service_fails_is_said_in_words(visitor: Client, see: See, fault: str, words: str) -> None:
    see(auth=state("auth", fault=fault))

    page = text_of(visitor.get("/status"))

    assert "Accounts and sign-in auth Does not work Since 22 November 2026, 12:00 UTC (for " in page
    assert words in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "for some seconds"),
        (59, "for some seconds"),
        (61, "for 1 minute"),
        (3_599, "for 59 minutes"),
        (3_601, "for 1 hour"),
        (86_395, "for 23 hours"),
        (200_000, "for 2 days"),
    ],
)
def test_how_long_it_lasts_is_said_in_its_largest_unit(seconds: int, words: str) -> None:
    assert lasting(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)) == words


def test_a_store_that_is_missing_is_a_part_of_images(visitor: Client, see: See) -> None:
    see(images=state("images", "storage"))

    assert "Images images Works in part" in text_of(visitor.get("/status"))
    assert "Its store does not answer" in text_of(visitor.get("/status"))


def test_nothing_is_claimed_that_is_not_known(visitor: Client, see: See) -> None:
    see(state("auth", unknown=True), state("images", unknown=True))

    words = text_of(visitor.get("/status"))

    assert "It is not known at this moment what works." in words
    assert "We do not know yet whether you can sign in." in words
    assert "Some things do not work" not in text_of(visitor.get("/"))


def test_before_the_first_look_the_page_is_there(visitor: Client) -> None:
    page = visitor.get("/status")

    assert page.status_code == 200
    assert "It is not known at this moment what works." in text_of(page)
    assert "Version not known" in text_of(page)


def test_the_page_refreshes_itself_with_and_without_a_script(visitor: Client, see: See) -> None:
    html = visitor.get("/status").content.decode()

    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert re.search(r'<script type="module" src="[^"]*/status\.[0-9a-f]+\.js">', html)
    assert 'data-address="/status/board"' in html
    assert 'data-probe="http://files.test:8003/uploads/probe.gif"' in html
    assert re.search(
        r'<img class="probe" src="http://files\.test:8003/uploads/probe\.gif\?\d+" alt="Images do not load\.">', html
    )
    assert not re.search(r"<script(?![^>]*src=)", html)


def test_the_part_that_changes_is_had_alone(visitor: Client, see: See) -> None:
    board = visitor.get("/status/board")

    assert (board.status_code, board.headers["Cache-Control"]) == (200, "no-store")
    assert "<html" not in board.content.decode()
    assert "Everything works." in text_of(board)


def test_a_change_is_on_the_page_at_once(visitor: Client, see: See) -> None:
    assert "Everything works." in text_of(visitor.get("/status"))
    see(auth=state("auth", "database"))
    assert "Everything works." not in text_of(visitor.get("/status/board"))
    see()
    assert "Everything works." in text_of(visitor.get("/status/board"))


@pytest.mark.parametrize("path", ["/status", "/status/board"])
def test_it_can_only_be_read(visitor: Client, path: str) -> None:
    assert visitor.head(path).status_code == 200
    assert visitor.post(path).status_code == 405


BANNER = "Some things do not work at this moment:"


@pytest.mark.parametrize("path", ["/", "/sign-in", "/register", "/nowhere"])
def test_every_page_says_what_is_missing_and_stops_saying_it(visitor: Client, see: See, path: str) -> None:
    see(auth=state("auth", fault="refused"), images=state("images", "storage"))
    page = visitor.get(path)
    assert f"{BANNER} signing in and registering, uploads. What works?" in text_of(page)
    assert re.search(r"/outage\.[0-9a-f]+\.js", page.content.decode())

    see()

    page = visitor.get(path)
    assert BANNER not in text_of(page)
    assert "outage." not in page.content.decode()


@pytest.mark.parametrize("path", ["/images", "/profile", "/password", "/sessions", "/close-account"])
def test_every_page_of_a_member_says_what_is_missing(anna: Client, see: See, path: str) -> None:
    see(images=state("images", "database"))

    assert f"{BANNER} galleries, uploads." in text_of(anna.get(path))


def test_the_status_page_itself_has_no_banner(visitor: Client, see: See) -> None:
    see(auth=state("auth", fault="refused"))

    assert BANNER not in text_of(visitor.get("/status"))


def test_every_page_leads_to_the_status(visitor: Client, see: See) -> None:
    for path in ("/", "/sign-in", "/nowhere", "/status"):
        assert 'href="/status"' in visitor.get(path).content.decode()


WHAT = '<a[^>]*href="/status">What works at this moment\\?</a>'


def test_pages_of_a_failing_service_lead_to_the_status(
    anna: Client, auth: FakeAuth, images: FakeImages, see: See
) -> None:
    auth.is_down()
    images.is_down()

    for path in ("/images", "/profile", "/sessions", "/images/00000000-0000-0000-0000-000000000001"):
        page = anna.get(path)
        assert re.search(WHAT, page.content.decode()), path
    form = {"current_password": "seven green boats", "new_password": "walnut tractor velvet 12"}
    page = anna.post("/password", form)
    assert page.status_code == 503
    assert re.search(WHAT, page.content.decode())
    assert not re.search(WHAT, anna.get("/nowhere").content.decode())


@pytest.mark.parametrize(
    ("path", "service"), [("/images", "images"), ("/sessions", "auth"), ("/images?cursor=abc", "images")]
)
def test_a_page_that_has_nothing_to_show_waits_for_what_is_missing(
    anna: Client, auth: FakeAuth, images: FakeImages, see: See, path: str, service: str
) -> None:
    auth.is_down()
    images.is_down()

    html = anna.get(path).content.decode()

    assert f'data-waits-for="{service}" data-status="/status"' in html
    assert re.search(r"/outage\.[0-9a-f]+\.js", html)


def test_a_page_with_a_form_never_comes_anew_by_itself(
    anna: Client, auth: FakeAuth, images: FakeImages, see: See
) -> None:
    auth.is_down()
    images.is_down()
    see(state("auth", fault="refused"), state("images", fault="refused"))

    for path in ("/profile", "/password", "/close-account"):
        assert "data-waits-for" not in anna.get(path).content.decode()
    assert "data-waits-for" not in anna.post("/sessions/00000000-0000-0000-0000-000000000001/end").content.decode()


def test_the_gallery_without_images_stays_a_gallery(anna: Client, images: FakeImages, see: See) -> None:
    images.is_down()

    page = anna.get("/images")

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    words = text_of(page)
    assert "Failed to communicate with Image service" in words
    assert "what is stored stays stored. Please try again in 7 seconds." in words
    assert "Uploads have to wait" in words
    assert "upload-form" not in page.content.decode()
    assert anna.get("/images", headers=JSON).json()["code"] == "images_unavailable"
