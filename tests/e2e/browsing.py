"""A real browser at the portal. Whatever a page does that it must not do fails the test that opened it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright, Request, expect

from tests.running import Person, until, url
from tests.suites import chromium

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.effectiveDirective} ${event.blockedURI} at ${event.sourceFile}`));
"""
_FAILED_LOAD = re.compile(r"Failed to load resource: (?:the server responded with a status of (\d+)|net::(\w+))")
# A stored image, opened as a page of its own, may run nothing: not even what the browser shows it with.
_OWN_VIEWER = re.compile("Applying inline style violates|Blocked script execution in")


def launch(playwright: Playwright) -> Browser:
    """The browser of this machine."""
    return playwright.chromium.launch(executable_path=chromium(), args=FLAGS)


@dataclass
class Watch:
    """Listens to everything that the pages of a context do. `faults` is what they must not do.

    Attributes:
        expected: statuses (or names of network errors) of failed answers that the test provokes.
        hosts: who may be asked, as host:port.
    """

    hosts: frozenset[str]
    expected: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def attach(self, context: BrowserContext) -> None:
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"script error: {error.error}"))
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        place = str(message.location.get("url"))
        if _OWN_VIEWER.match(message.text) and urlsplit(place).path.startswith("/uploads/"):
            return
        if place == f"{url('console')}/favicon.ico":
            return  # Django's admin has none
        failed = _FAILED_LOAD.match(message.text)
        if failed and (failed[1] or failed[2]) in self.expected:
            return
        self.faults.append(f"console {message.type}: {message.text} ({place})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and parts.netloc not in self.hosts:
            self.faults.append(f"request to somebody else: {request.method} {request.url}")


class Visitor:
    """One person at one browser of their own: cookies, a page, and a watch over both."""

    def __init__(self, context: BrowserContext, watch: Watch, gateway: str) -> None:
        self.context = context
        self.watch = watch
        self.gateway = gateway
        self.page = context.new_page()

    def expect_status(self, *statuses: int | str) -> None:
        """Announces answers that are errors, and that the browser's console may tell of."""
        self.watch.expected |= {str(status) for status in statuses}

    def open(self, path: str) -> Page:
        """Goes to a page of the portal."""
        self.page.goto(self.gateway + path)
        return self.page

    def sign_in(self, person: Person) -> Page:
        """Signs in by the form, and ends up in the gallery."""
        page = self.open("/sign-in")
        page.get_by_label("Email", exact=True).fill(person.email)
        page.get_by_label("Password", exact=True).fill(person.password)
        self.press("Sign in")
        expect(page).to_have_url(f"{self.gateway}/images")
        page.wait_for_load_state()  # the address changes before the page's scripts have run
        return page

    def press(self, button: str) -> None:
        """Presses a button of the page's content."""
        self.page.get_by_role("main").get_by_role("button", name=button, exact=True).click()

    def at(self, path: str) -> None:
        """Waits until the page is that one."""
        expect(self.page).to_have_url(self.gateway + path)


@contextmanager
def visiting(browser: Browser, *, base: str | None = None, **options: Any) -> Iterator[Visitor]:
    """A visitor with a fresh browser context; raises AssertionError at the end for whatever its pages did wrong."""
    base = base or url("gateway")
    options = {"viewport": DESKTOP, "locale": "en-GB", "reduced_motion": "reduce"} | options
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    watch = Watch(frozenset(urlsplit(address).netloc for address in (base, url("files"))))
    watch.attach(context)
    try:
        yield Visitor(context, watch, base)
        assert not watch.faults, "\n".join(watch.faults)
    finally:
        context.close()


def loaded(image: Locator) -> None:
    """Waits until an image is there and has been decoded."""
    image.scroll_into_view_if_needed()
    until(
        lambda: image.evaluate("image => image.complete && image.naturalWidth > 0"),
        f"{image} is loaded: {image.get_attribute('src')}",
    )


def expect_fault_beside(field: Locator, text: str | re.Pattern[str]) -> None:
    """The field is marked as faulty, and what is wrong with it stands beside it for eyes and for screen readers."""
    expect(field).to_have_attribute("aria-invalid", "true")
    description = re.compile(re.escape(text)) if isinstance(text, str) else text
    expect(field).to_have_accessible_description(description)
    described_by = str(field.get_attribute("aria-describedby")).split()
    fault = field.page.locator(", ".join(f"#{name}" for name in described_by)).filter(has_text=text)
    expect(fault).to_be_visible()
    above, box = fault.bounding_box(), field.bounding_box()
    assert above
    assert box
    assert abs(above["y"] + above["height"] - box["y"]) < 60, "the error is not beside its field"
