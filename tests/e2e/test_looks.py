"""Every page for every eye: accessible in light and dark, on a telephone and a desk, never wider than the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from tests.e2e.browsing import DESKTOP, PHONE, Visitor, visiting
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import NARROW, judge, load_axe, too_wide, violations
from tests.running import Person, picture

BAD_IMAGE: FilePayload = {"name": "photo.png", "mimeType": "image/png", "buffer": b"I am only a text"}
LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff" * 2 + " of Llanfairpwllgwyngyll"


@dataclass(frozen=True)
class Known:
    """Somebody with a gallery, an image of the profile, and a browser that is signed in."""

    person: Person
    cookies: Any
    image: str


@pytest.fixture(scope="module")
def known(browser: Browser) -> Known:
    person = Person.new(LONG_NAME).register(picture(400, 600)).sign_in()
    sizes = [(1200, 300), (300, 1200), (640, 480), (64, 64)]
    ids = [person.upload(picture(*size))["id"] for size in sizes]
    for _ in range(25):
        person.upload(picture(48, 32))
    with visiting(browser) as visitor:
        visitor.sign_in(person)
        return Known(person, visitor.context.storage_state(), ids[0])


@dataclass(frozen=True)
class Look:
    """A page as somebody gets to see it. `show` leads there from the page at `path`."""

    name: str
    path: str
    signed_in: bool = False
    statuses: tuple[int, ...] = ()
    show: Callable[[Visitor], object] = lambda visitor: None


def send_empty(button: str) -> Callable[[Visitor], object]:
    """Sends the page's form without an entry in it."""

    def show(visitor: Visitor) -> None:
        for field in visitor.page.get_by_role("main").locator("input:not([type=hidden], [type=file])").all():
            if field.is_editable():
                field.fill("")
        visitor.press(button)
        expect(visitor.page.get_by_role("alert")).to_be_visible()

    return show


def upload_some(visitor: Visitor) -> None:
    files = [BAD_IMAGE, {"name": "good.png", "mimeType": "image/png", "buffer": picture()}]
    visitor.page.get_by_label("Choose images").set_input_files(files)
    expect(visitor.page.locator("#upload-status")).to_have_text("1 stored, 1 not stored")


def ask_for_deletion(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Delete", exact=True).click()
    expect(visitor.page.get_by_role("dialog")).to_be_visible()


def go_back_in_time(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Older images").click()
    expect(visitor.page.get_by_role("link", name="Back to the newest images")).to_be_visible()


def send_bad_image(button: str, label: str) -> Callable[[Visitor], object]:
    def show(visitor: Visitor) -> None:
        visitor.page.get_by_label(label).set_input_files(BAD_IMAGE)
        visitor.press(button)
        expect(visitor.page.get_by_role("alert")).to_be_visible()

    return show


def set_the_profile_image(visitor: Visitor) -> None:
    visitor.press("Set as profile image")
    expect(visitor.page.get_by_role("status").first).to_contain_text("This is your profile image now.")


def without_csrf(visitor: Visitor) -> None:
    visitor.context.clear_cookies(name="csrf")
    visitor.press("Sign in")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("This form has expired")


def until_images_are_tried(visitor: Visitor) -> None:
    expect(visitor.page.get_by_text("Images load in your browser.")).to_be_visible()


VISITORS = [
    Look("the front page", "/"),
    Look("registration", "/register"),
    Look("registration with mistakes", "/register", statuses=(422,), show=send_empty("Register")),
    Look("sign-in", "/sign-in"),
    Look("sign-in with mistakes", "/sign-in", statuses=(422,), show=send_empty("Sign in")),
    Look("a form that has expired", "/sign-in", statuses=(403,), show=without_csrf),
    Look("no such page", "/nothing", statuses=(404,)),
    Look("a wrong method", "/sign-out", statuses=(405,)),
    Look("the status", "/status", show=until_images_are_tried),
    Look("the list of problems", "/api/v1/problems"),
]
MEMBERS = [
    Look("the gallery", "/images", signed_in=True),
    Look("the gallery after an upload", "/images", signed_in=True, statuses=(422,), show=upload_some),
    Look("older images", "/images", signed_in=True, show=go_back_in_time),
    Look("an image", "/images/{image}", signed_in=True),
    Look("the profile image", "/images/{image}", signed_in=True, show=set_the_profile_image),
    Look("the question before deletion", "/images/{image}", signed_in=True, show=ask_for_deletion),
    Look("the page of that question", "/images/{image}/delete", signed_in=True),
    Look("the profile", "/profile", signed_in=True),
    Look("the profile with mistakes", "/profile", signed_in=True, statuses=(422,), show=send_empty("Save changes")),
    Look(
        "the profile with a bad image",
        "/profile",
        signed_in=True,
        statuses=(422,),
        show=send_bad_image("Upload image", "New profile image"),
    ),
    Look("the password", "/password", signed_in=True),
    Look(
        "the password with mistakes", "/password", signed_in=True, statuses=(422,), show=send_empty("Change password")
    ),
    Look("sessions", "/sessions", signed_in=True),
    Look("closing the account", "/close-account", signed_in=True),
    Look(
        "closing the account with a mistake",
        "/close-account",
        signed_in=True,
        statuses=(422,),
        show=send_empty("Close my account"),
    ),
]


@pytest.mark.parametrize("look", [*VISITORS, *MEMBERS], ids=lambda look: look.name)
def test_a_page_is_accessible_and_never_wider_than_the_screen(
    new_visitor: NewVisitor, known: Known, look: Look
) -> None:
    visitor = new_visitor(storage_state=known.cookies) if look.signed_in else new_visitor()
    visitor.expect_status(*look.statuses)
    visitor.open(look.path.format(image=known.image))
    look.show(visitor)

    judge(visitor.page)


@pytest.mark.parametrize("path", ["/images", "/profile", "/sessions"])
def test_an_empty_page_is_accessible_too(member: Visitor, path: str) -> None:
    member.open(path)

    judge(member.page)


def test_a_page_without_javascript_is_never_wider_than_the_screen(new_visitor: NewVisitor, known: Known) -> None:
    visitor = new_visitor(storage_state=known.cookies, java_script_enabled=False, viewport=NARROW)

    image = f"/images/{known.image}"
    for path in ("/images", image, f"{image}/delete", "/profile", "/sessions", "/status"):
        page = visitor.open(path)
        assert not too_wide(page), (path, too_wide(page))


def test_every_page_can_be_used_with_the_keyboard_alone(new_visitor: NewVisitor, known: Known) -> None:
    visitor = new_visitor(storage_state=known.cookies)
    page = visitor.open("/images")

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    expect(page.get_by_label("Choose images")).to_be_focused()


def test_an_image_fits_the_screen_without_losing_its_shape(new_visitor: NewVisitor, known: Known) -> None:
    visitor = new_visitor(storage_state=known.cookies, viewport=PHONE)
    page = visitor.open(f"/images/{known.image}")

    box = page.get_by_role("figure").get_by_role("img").bounding_box()

    assert box
    assert box["width"] <= PHONE["width"]
    assert abs(box["width"] / box["height"] - 1200 / 300) < 0.05


def test_the_page_of_the_api_is_as_accessible_as_swagger_ui_is(visitor: Visitor) -> None:
    """What is left is inside of Swagger UI, which is not ours: a new release may shorten this list, nothing else."""
    page = visitor.open("/api/v1/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    load_axe(page)

    rules = {fault.partition(" ")[0] for fault in violations(page)}

    assert rules <= {"color-contrast", "heading-order", "nested-interactive", "region", "select-name"}
    for size in (DESKTOP, PHONE, NARROW):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert not too_wide(page), too_wide(page)


def test_pages_move_for_nobody_who_asked_for_stillness(new_visitor: NewVisitor) -> None:
    visitor = new_visitor(reduced_motion="reduce")
    page = visitor.open("/")

    moving = page.evaluate(
        """() => document.getAnimations().length
           + [...document.querySelectorAll("*")].filter((element) =>
               parseFloat(getComputedStyle(element).transitionDuration) > 0.01).length"""
    )

    assert moving == 0
