"""The gallery: upload by drag and drop, progress, previews, one image large, its removal."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.running import Person, ask, picture, until, url


def file(name: str, content: bytes | None = None, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": picture() if content is None else content}


def drop(page: Page, *files: FilePayload) -> None:
    """Drags files over the zone and lets go, as a file manager would have it."""
    carried = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const { name, type, content } of files) {
                const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type }));
            }
            return transfer;
        }""",
        [
            {"name": item["name"], "type": item["mimeType"], "content": base64.b64encode(item["buffer"]).decode()}
            for item in files
        ],
    )
    zone = page.locator("#upload-form")
    zone.dispatch_event("dragenter", {"dataTransfer": carried})
    expect(zone).to_have_class(re.compile("dropzone--over"))
    zone.dispatch_event("dragover", {"dataTransfer": carried})
    zone.dispatch_event("drop", {"dataTransfer": carried})
    expect(zone).not_to_have_class(re.compile("dropzone--over"))


def tiles(page: Page) -> Locator:
    return page.get_by_role("region", name="Images", exact=True).get_by_role("listitem")


def uploads(page: Page) -> Locator:
    return page.get_by_role("list", name="Uploads").get_by_role("listitem")


def stored_count(person: Person) -> int:
    return int(person.sign_in().call("GET", "/images").json["total"])


# upload


def test_dropped_images_are_previewed_stored_and_shown_without_a_reload(member: Visitor, person: Person) -> None:
    page = member.page

    drop(page, file("one.png"), file("two.webp", picture(kind="WEBP"), "image/webp"), file("three.png"))

    rows = uploads(page)
    expect(rows).to_have_count(3)
    for number, name in enumerate(("one.png", "two.webp", "three.png")):
        expect(rows.nth(number)).to_contain_text(name)
        expect(rows.nth(number)).to_contain_text("Stored")
        loaded(rows.nth(number).locator("img"))
    expect(page.locator("#upload-status")).to_have_text("3 stored")
    expect(page.get_by_text("3 images", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="No images yet")).to_have_count(0)
    expect(tiles(page)).to_have_count(3)
    for tile in tiles(page).all():
        loaded(tile.get_by_role("img"))
    before = [tile.get_by_role("link").get_attribute("href") for tile in tiles(page).all()]

    page.reload()

    expect(tiles(page)).to_have_count(3)
    assert [tile.get_by_role("link").get_attribute("href") for tile in tiles(page).all()] == before
    for tile in tiles(page).all():
        loaded(tile.get_by_role("img"))
    assert stored_count(person) == 3


def test_chosen_images_are_stored_as_dropped_ones_are(member: Visitor) -> None:
    page = member.page

    page.get_by_label("Choose images").set_input_files(
        [file("a.png"), file("b.jpg", picture(kind="JPEG"), "image/jpeg")]
    )

    expect(page.locator("#upload-status")).to_have_text("2 stored")
    expect(tiles(page)).to_have_count(2)


def test_the_progress_of_an_upload_is_seen(member: Visitor) -> None:
    page = member.page
    network = member.context.new_cdp_session(page)
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000},
    )

    drop(page, file("large.png", picture(700, 400, noise=True)), file("small.png"))

    first, second = uploads(page).nth(0), uploads(page).nth(1)
    expect(first.get_by_role("progressbar", name="Progress of large.png")).to_be_visible()
    expect(first).to_contain_text(re.compile(r"Sending, [1-9]\d? %"))
    assert 0 < float(first.get_by_role("progressbar").evaluate("bar => bar.value")) < 100
    expect(second).to_contain_text("Waiting")
    expect(first).to_contain_text("Stored")
    expect(first.get_by_role("progressbar")).to_have_count(0)
    expect(second).to_contain_text("Stored")
    expect(page.locator("#upload-status")).to_have_text("2 stored")


def test_a_bad_file_among_good_ones_says_why_and_stops_nothing(member: Visitor, person: Person) -> None:
    member.expect_status(422)
    page = member.page

    drop(
        page,
        file("good.png"),
        file("text.png", b"I am only a text"),
        file("empty.png", b""),
        file("notes.txt", b"text", "text/plain"),
        file("late.png"),
    )

    expect(page.locator("#upload-status")).to_have_text("2 stored, 3 not stored")
    rows = uploads(page)
    expect(rows.nth(0)).to_contain_text("Stored")
    expect(rows.nth(1)).to_contain_text(re.compile("not .*(PNG|image)"))
    expect(rows.nth(2)).to_contain_text("This file is empty.")
    expect(rows.nth(3)).to_contain_text("This is not a PNG, JPEG, WebP or GIF image.")
    expect(rows.nth(4)).to_contain_text("Stored")
    expect(tiles(page)).to_have_count(2)
    assert stored_count(person) == 2


def test_a_lost_connection_is_said_and_the_upload_can_be_tried_again(member: Visitor) -> None:
    member.expect_status("ERR_INTERNET_DISCONNECTED")
    page = member.page
    member.context.set_offline(True)
    drop(page, file("one.png"))
    row = uploads(page).first
    expect(row).to_contain_text("The connection was lost. Check your network and try again.")
    member.context.set_offline(False)

    row.get_by_role("button", name="Try again: one.png").click()

    expect(row).to_contain_text("Stored")
    expect(tiles(page)).to_have_count(1)


def test_a_file_dropped_beside_the_zone_does_not_open_it(member: Visitor) -> None:
    page = member.page
    left = page.evaluate(
        """() => {
            const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: new DataTransfer() });
            return !document.querySelector("footer").dispatchEvent(event);
        }"""
    )

    assert left, "the browser's own handling of a dropped file is not prevented"


def test_an_upload_after_the_sign_in_has_ended_offers_to_sign_in_again(member: Visitor) -> None:
    member.expect_status(401)
    page = member.page
    member.context.clear_cookies(name="seawall-sign-in")

    drop(page, file("one.png"))

    row = uploads(page).first
    expect(row).to_contain_text("Your sign-in has ended.")
    row.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile("/sign-in"))


# one image


@pytest.fixture
def stored(member: Visitor, person: Person) -> dict[str, Any]:
    """An image of the member, as the API describes it."""
    return person.sign_in().upload(picture(1200, 800))


def test_an_image_opens_large_with_what_there_is_to_know_of_it(member: Visitor, stored: dict[str, Any]) -> None:
    page = member.open("/images")
    tiles(page).first.get_by_role("link").click()

    member.at(f"/images/{stored['id']}")
    image = page.get_by_role("figure").get_by_role("img")
    loaded(image)
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1200, 800]
    facts = page.get_by_role("complementary")
    expect(facts).to_contain_text("1200 × 800 pixels")  # noqa: RUF001 - the sign that people read
    expect(facts).to_contain_text("PNG")
    page.get_by_role("link", name="Open the file").click()
    expect(page).to_have_url(stored["url"])
    page.go_back()
    page.get_by_role("link", name="Back to the gallery").click()
    member.at("/images")


def test_an_image_becomes_the_profile_image_and_stops_being_it(member: Visitor, stored: dict[str, Any]) -> None:
    page = member.open(f"/images/{stored['id']}")
    member.press("Set as profile image")
    expect(page.get_by_role("status").first).to_contain_text("This is your profile image now.")
    expect(page.get_by_text("Your profile image", exact=True)).to_be_visible()

    member.open("/profile")
    avatar = page.get_by_alt_text("Your profile image")
    loaded(avatar)
    assert avatar.get_attribute("src") == stored["avatar_url"]
    expect(tiles(member.open("/images")).first).to_contain_text("Profile image")

    member.open(f"/images/{stored['id']}")
    member.press("Remove as profile image")
    member.at(f"/images/{stored['id']}")
    expect(page.get_by_role("button", name="Set as profile image")).to_be_visible()
    expect(member.open("/profile").get_by_alt_text("Your profile image")).to_have_count(0)


def test_an_image_is_deleted_only_after_a_question(member: Visitor, stored: dict[str, Any]) -> None:
    page = member.open(f"/images/{stored['id']}")
    dialog = page.get_by_role("dialog", name="Delete this image?")

    page.get_by_role("link", name="Delete", exact=True).click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Delete", exact=True).click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Delete", exact=True).click()
    dialog.get_by_role("button", name="Delete image").click()

    member.at("/images")
    expect(page.get_by_role("status").first).to_contain_text("The image is deleted.")
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    member.expect_status(404)
    expect(member.open(f"/images/{stored['id']}").get_by_role("heading", level=1)).to_have_text("There is nothing here")
    until(lambda: ask("GET", stored["card_url"]).status == 404, "its bytes are gone, too", seconds=60)


def test_another_persons_image_is_not_there(new_visitor: NewVisitor, stored: dict[str, Any]) -> None:
    other = new_visitor()
    other.sign_in(Person.new("Bo Lind").register())
    other.expect_status(404)

    for path in (f"/images/{stored['id']}", f"/images/{stored['id']}/delete"):
        expect(other.open(path).get_by_role("heading", level=1)).to_have_text("There is nothing here")
    assert stored["id"] not in other.open("/images").content()


def test_a_large_gallery_has_pages(member: Visitor, person: Person) -> None:
    person.sign_in()
    ids = [person.upload(picture(32, 24))["id"] for _ in range(26)]
    page = member.open("/images")
    expect(page.get_by_text("26 images", exact=True)).to_be_visible()
    first = [str(link.get_attribute("href")) for link in tiles(page).get_by_role("link").all()]

    page.get_by_role("link", name="Older images").click()

    expect(page.get_by_role("link", name="Back to the newest images")).to_be_visible()
    second = [str(link.get_attribute("href")) for link in tiles(page).get_by_role("link").all()]
    assert [href.rpartition("/")[2] for href in first + second] == ids[::-1]
    expect(page.get_by_role("link", name="Older images")).to_have_count(0)


def test_an_animation_is_marked_as_one(member: Visitor, person: Person) -> None:
    from io import BytesIO

    from PIL import Image

    frames = [Image.new("RGB", (64, 64), color) for color in ("navy", "teal", "white")]
    buffer = BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=200)
    page = member.page

    drop(page, file("waves.gif", buffer.getvalue(), "image/gif"))

    expect(page.locator("#upload-status")).to_have_text("1 stored")
    page.reload()
    expect(tiles(page).get_by_role("img", name=re.compile("^Animated image from"))).to_be_visible()
    assert url("files") in str(tiles(page).first.get_by_role("img").get_attribute("src"))
