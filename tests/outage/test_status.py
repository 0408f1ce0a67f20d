"""The status page of the real portal while its parts go and come, and what other pages say meanwhile."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import judge
from tests.outage.conftest import Member, status_document, stopped
from tests.running import until

ALL_WORKS = "Everything works."
SOME_FAIL = "Some things do not work at this moment."
GONE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")  # as the browser's console tells of it


def summary(page: Page) -> Locator:
    """The first thing that the page says."""
    return page.locator("#status-board .notice:visible h2")


def card(page: Page, title: str) -> Locator:
    """What the page says of one service."""
    return page.locator(".service").filter(has=page.get_by_role("heading", name=title))


def never_loaded_again(page: Page) -> None:
    """From now on, `still_the_same` tells whether the page has been loaded anew."""
    page.evaluate("window.mark = true")


def still_the_same(page: Page) -> bool:
    return bool(page.evaluate("window.mark === true"))


def missing() -> dict[str, list[str]]:
    """What each dependency lacks, as programs are told."""
    return {state["name"]: state["missing"] for state in status_document()["dependencies"]}


def test_the_page_follows_auth_by_itself_with_and_without_a_script(new_visitor: NewVisitor) -> None:
    plain = new_visitor(java_script_enabled=False).open("/status")
    expect(summary(plain)).to_have_text(ALL_WORKS)
    page = new_visitor().open("/status")
    expect(summary(page)).to_have_text(ALL_WORKS)
    expect(card(page, "Accounts and sign-in")).to_contain_text("Its databaseanswers")
    never_loaded_again(page)

    with stopped("auth"):
        expect(summary(page)).to_have_text(SOME_FAIL)
        expect(page.get_by_text("Nobody can sign in or register at this moment.")).to_be_visible()
        expect(card(page, "Accounts and sign-in")).to_contain_text("does not answer: it refuses connections")
        expect(card(page, "Accounts and sign-in").locator("time")).to_have_count(1)
        expect(card(page, "Images")).to_contain_text("Works")
        expect(page.get_by_role("status")).to_contain_text("Missing: signing in and registering.")
        assert missing() == {"auth": ["auth"], "images": []}
        judge(page)
        expect(summary(plain)).to_have_text(SOME_FAIL)
        expect(plain.get_by_text("Nobody can sign in or register at this moment.")).to_be_visible()

    expect(summary(page)).to_have_text(ALL_WORKS)
    expect(page.get_by_role("status")).to_have_text(ALL_WORKS)
    assert still_the_same(page)
    expect(summary(plain)).to_have_text(ALL_WORKS)


def test_a_database_that_is_gone_is_named(member: Member, visitor: Visitor) -> None:
    page = visitor.open("/status")
    with stopped("postgres") as outage:
        until(lambda: missing() == {"auth": ["database"], "images": ["database"]}, f"it is named: {missing()}")
        expect(page.get_by_text("Uploads are not possible at this moment.")).to_be_visible()
        expect(card(page, "Images")).to_contain_text("Its databasedoes not answer")
        expect(card(page, "Images")).to_contain_text("Its storeanswers")
        expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Profile")).to_be_visible()
        judge(page)

    outage.mended(lambda: missing() == {"auth": [], "images": []}, "nothing is missing")
    expect(summary(page)).to_have_text(ALL_WORKS)


def test_the_browser_itself_finds_out_whether_images_load(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    visitor.expect_status(*GONE)
    page = visitor.open("/status")
    expect(page.get_by_text("Images load in your browser.")).to_be_visible()
    never_loaded_again(page)
    without_script = new_visitor(java_script_enabled=False)
    without_script.expect_status(*GONE)
    plain = without_script.open("/status")
    probe = plain.get_by_alt_text("Images do not load.")
    loaded(probe)

    with stopped("files"):
        expect(summary(page)).to_have_text("Images do not load in your browser.")
        expect(card(page, "Image reads")).to_contain_text("Does not work")
        assert status_document()["state"] == "works"
        judge(page)
        plain.reload()
        expect(plain.locator("p:has(> .probe)")).to_contain_text("if they do not, it has words in it")
        until(lambda: probe.evaluate("image => image.complete && image.naturalWidth === 0"), "its words are shown")

    expect(page.get_by_text("Images load in your browser.")).to_be_visible()
    expect(summary(page)).to_have_text(ALL_WORKS)
    assert still_the_same(page)


def test_the_page_says_when_the_portal_itself_does_not_answer(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    visitor.expect_status(*GONE)
    page = visitor.open("/status")
    lost = page.get_by_role("heading", name="This portal itself does not answer")
    expect(lost).to_be_hidden()

    with stopped("gateway"):
        expect(lost).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("This portal itself does not answer.")
        judge(page)

    expect(lost).to_be_hidden()
    expect(summary(page)).to_have_text(ALL_WORKS)


def test_a_page_that_nobody_sees_asks_nothing(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    page = visitor.page
    page.add_init_script(
        "Object.defineProperty(document, 'visibilityState', { get: () => window.seen === true ? 'visible' : 'hidden' })"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visitor.open("/status")
    expect(page.locator("html.has-script")).to_have_count(1)
    asked.clear()

    page.wait_for_timeout(4_500)  # twice as long as between two questions
    assert asked == []

    with page.expect_request("**/status/board"):
        page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")


def test_pages_take_back_what_they_say_of_an_outage(new_visitor: NewVisitor, visitor: Visitor, member: Member) -> None:
    guest = new_visitor()
    visitor.expect_status(503)
    with stopped("images") as outage:
        until(lambda: missing()["images"] == ["images"], "it is known")
        page = guest.open("/sign-in")
        bar = page.get_by_role("complementary", name="Outage")
        expect(bar).to_contain_text("Some things do not work at this moment: galleries, uploads.")
        judge(page)
        bar.get_by_role("link", name="What works?").click()
        guest.at("/status")
        guest.open("/sign-in")
        page.get_by_label("Email", exact=True).fill("anna@example.org")
        gallery = visitor.open("/images")
        expect(gallery.get_by_role("heading", level=1)).to_have_text("Failed to communicate with Image service")
        expect(gallery.get_by_role("heading", name="Uploads have to wait")).to_be_visible()
        judge(gallery)

    outage.mended(lambda: not any(missing().values()), "nothing is missing")
    expect(bar.get_by_text("Everything works again. Reload this page to see all of it.")).to_be_visible()
    expect(bar.get_by_text("Some things do not work")).to_be_hidden()
    expect(page.get_by_label("Email", exact=True)).to_have_value("anna@example.org")
    judge(page)
    bar.get_by_role("link", name="Reload this page").click()
    expect(bar).to_have_count(0)
    # The gallery had nothing to lose, and comes back by itself.
    expect(gallery.get_by_role("heading", level=1)).to_have_text("Your gallery")
    expect(gallery.get_by_label("Choose images")).to_be_enabled()
