"""The server of stored images is gone: images do not load, the pages say so and can be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import judge
from tests.outage.conftest import Member, stopped
from tests.running import picture


@pytest.fixture(scope="module", autouse=True)
def _without_files(member: Member) -> Iterator[None]:
    with stopped("files"):
        yield


NOTICE = "Some images cannot be shown at this moment."


@pytest.mark.parametrize("path", ["/images", "/images/{id}", "/profile"])
def test_a_page_with_images_says_that_they_do_not_load(visitor: Visitor, member: Member, path: str) -> None:
    visitor.expect_status("ERR_CONNECTION_REFUSED")
    page = visitor.open(path.format(id=member.image["id"]))

    expect(page.get_by_text(NOTICE)).to_be_visible()
    expect(page.get_by_role("main").get_by_role("img").first).to_be_visible()
    expect(page.locator("img[src*='/uploads/']")).to_have_count(0)  # each is replaced by its description
    judge(page)


def test_an_image_that_does_not_load_keeps_its_place_and_its_link(visitor: Visitor, member: Member) -> None:
    visitor.expect_status("ERR_CONNECTION_REFUSED")
    page = visitor.open("/images")
    tile = page.get_by_role("region", name="Images", exact=True).get_by_role("listitem").first
    expect(tile).to_contain_text("cannot be shown at this moment")
    box = tile.bounding_box()
    assert box
    assert box["height"] > 60

    tile.get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Image")


def test_everything_but_the_sight_of_images_goes_on(visitor: Visitor, member: Member) -> None:
    visitor.expect_status("ERR_CONNECTION_REFUSED")
    assert member.log_in().status == 200
    assert member.upload().status == 201
    assert member.person.call("GET", "/profile").json["limited"] == []
    page = visitor.open("/images")

    new = {"name": "new.png", "mimeType": "image/png", "buffer": picture(64, 64)}
    page.get_by_label("Choose images").set_input_files(new)

    expect(page.locator("#upload-status")).to_have_text("1 stored")
    expect(page.get_by_text(NOTICE)).to_be_visible()


def test_a_page_without_images_says_nothing_of_them(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    for path in ("/", "/sign-in", "/register"):
        expect(visitor.open(path).get_by_text(NOTICE)).to_be_hidden()
