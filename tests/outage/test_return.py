"""What was missing is back: everything works again, and nothing had to be restarted for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import judge
from tests.outage.conftest import (
    RECOVERY,
    Member,
    everything_works,
    lives,
    served,
    status_document,
    stopped,
    unavailable,
)
from tests.running import Person, ask, manage, picture, until


def file(name: str) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": picture(64, 64)}


@pytest.mark.parametrize(
    ("role", "symptom"),
    [
        ("postgres", lambda member: member.log_in().status == 503 and member.upload().status == 503),
        ("auth", lambda member: member.log_in().status == 503 and member.upload().status == 201),
        ("images", lambda member: member.log_in().status == 200 and member.upload().status == 503),
        ("files", lambda member: member.log_in().status == 200 and member.upload().status == 201),
    ],
    ids=["postgres", "auth", "images", "files"],
)
def test_everything_works_again_without_a_restart(member: Member, role: str, symptom: Callable[[Member], bool]) -> None:
    before = lives()
    with stopped(role) as outage:
        assert symptom(member)

    everything_works(member, outage)

    after = lives()
    (pid, restarts), (pid_before, restarts_before) = after.pop(role), before.pop(role)
    assert (pid != pid_before, restarts) == (True, restarts_before)
    assert after == before


def test_a_browser_that_lived_through_the_outage_goes_on(visitor: Visitor, member: Member) -> None:
    visitor.expect_status(503)
    page = visitor.open("/profile")
    with stopped("postgres"):
        page.reload()
        expect(page.get_by_role("heading", name="This profile is limited at the moment")).to_be_visible()
        visitor.open("/images")
        expect(page.get_by_role("heading", level=1)).to_have_text("Failed to communicate with Image service")

    expect(page.get_by_role("heading", level=1)).to_have_text("Your gallery")  # by itself
    loaded(page.get_by_role("region", name="Images", exact=True).get_by_role("img").last)
    page = visitor.open("/profile")
    expect(page.get_by_role("heading", name="This profile is limited at the moment")).to_have_count(0)
    expect(page.get_by_role("region", name="Sign-in times")).to_be_visible()


def test_a_page_that_was_open_for_long_comes_back_as_soon_as_others(visitor: Visitor) -> None:
    visitor.expect_status(503)
    visitor.page.clock.install()
    with stopped("images") as outage:
        page = visitor.open("/images")
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Failed to communicate with Image service")
        page.clock.fast_forward("10:00")
        for _ in range(2):
            with page.expect_response("**/status"):
                pass

    left = outage.over_at + RECOVERY - time.monotonic()
    expect(heading).to_have_text("Your gallery", timeout=left * 1000)


def test_roles_that_start_during_the_outage_know_the_keys(member: Member) -> None:
    with stopped("auth") as outage:
        for role in ("gateway", "images"):
            finished = manage("restart", role)
            assert finished.returncode == 0, finished.stderr
        assert member.person.call("GET", "/images").status == 200
        assert member.upload().status == 201
        until(lambda: status_document()["dependencies"][0]["fault"] == "refused", "the new gateway knows of it")

    everything_works(member, outage)


def test_an_upload_that_failed_is_tried_again_and_stored(visitor: Visitor) -> None:
    visitor.expect_status(503)
    page = visitor.open("/images")
    with stopped("images"):
        page.get_by_label("Choose images").set_input_files([file("one.png"), file("two.png")])
        rows = page.get_by_role("list", name="Uploads").get_by_role("listitem")
        expect(rows.nth(0)).to_contain_text("Failed to communicate with Image service")
        expect(rows.nth(1)).to_contain_text("Failed to communicate with Image service")
        expect(page.locator("#upload-status")).to_have_text("2 not stored")

    for number, name in enumerate(("one.png", "two.png")):
        rows.nth(number).get_by_role("button", name=f"Try again: {name}").click()
        expect(rows.nth(number)).to_contain_text("Stored")
    expect(page.locator("#upload-status")).to_have_text("2 stored")


def test_a_plain_form_says_which_files_are_not_stored(new_visitor: NewVisitor, member: Member) -> None:
    visitor = new_visitor(storage_state=member.cookies)
    visitor.expect_status(503, "ERR_FAILED")
    visitor.page.route("**/uploads.*.js", lambda route: route.abort())  # axe needs scripts, the form must not
    page = visitor.open("/images")
    with stopped("images"):
        page.get_by_label("Choose images").set_input_files([file("one.png"), file("two.png")])
        visitor.press("Upload")
        results = page.get_by_role("alert").get_by_role("listitem")
        expect(results).to_have_count(2)
        for result in results.all():
            expect(result).to_contain_text("Not stored: Failed to communicate with Image service.")
        expect(page.get_by_role("link", name="Try the gallery again")).to_be_visible()
        judge(page)


def test_images_are_seen_again(visitor: Visitor, member: Member) -> None:
    visitor.expect_status("ERR_CONNECTION_REFUSED")
    with stopped("files"):
        page = visitor.open("/images")
        expect(page.get_by_text("Some images cannot be shown at this moment.")).to_be_visible()

    page.reload()

    loaded(page.get_by_role("region", name="Images", exact=True).get_by_role("img").first)
    expect(page.get_by_text("Some images cannot be shown at this moment.")).to_be_hidden()
    assert served(member.image)


@pytest.mark.parametrize("role", ["auth", "images"])
def test_an_account_that_could_not_be_closed_is_whole_until_it_is_closed(role: str) -> None:
    person = Person.new().register(picture()).sign_in()
    image = person.call("GET", "/profile").json["image"]
    with stopped(role):
        unavailable(person.call("DELETE", "/profile"), role)
        assert served(image)
    assert person.sign_in().call("GET", "/profile").json["image"] == image
    assert person.upload()

    assert person.sign_in().call("DELETE", "/profile").status == 204

    assert ask("GET", image["card_url"]).status == 404
    again = Person(person.name, person.email, person.password).register()
    assert again.id != person.id
