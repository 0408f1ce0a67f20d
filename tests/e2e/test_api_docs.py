"""The page that shows the API, and lets people try it."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.running import Person, ask, url

METHODS = {"get", "post", "put", "patch", "delete"}


def test_the_page_shows_every_call_of_the_document(visitor: Visitor) -> None:
    document = ask("GET", f"{url('gateway')}/api/v1/schema?format=json").json
    calls = [(method, path) for path, item in document["paths"].items() for method in item if method in METHODS]
    page = visitor.open("/api/v1/docs")

    expect(page.locator(".opblock")).to_have_count(len(calls))
    for method, path in calls:
        block = page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))
        expect(block.first).to_be_visible()


def test_a_call_can_be_tried_on_the_page(visitor: Visitor, person: Person) -> None:
    page = visitor.open("/api/v1/docs")
    block = page.locator(".opblock-post").filter(has=page.locator('[data-path$="/login"]'))
    block.get_by_role("button").first.click()
    block.get_by_role("button", name="Try it out").click()
    credentials = {"email": person.email, "password": person.password}
    block.locator("textarea").first.fill(json.dumps(credentials))

    block.get_by_role("button", name="Execute").click()

    expect(block.locator(".live-responses-table .response-col_status").nth(1)).to_contain_text("200")
    expect(block.locator(".live-responses-table")).to_contain_text("access_token")


def test_a_personal_call_is_made_with_the_token_that_was_given(visitor: Visitor, person: Person) -> None:
    person.sign_in()
    page = visitor.open("/api/v1/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").fill(person.access_token)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
    block = page.locator(".opblock-get").filter(has=page.locator('[data-path$="/profile"]'))
    block.get_by_role("button").first.click()
    block.get_by_role("button", name="Try it out").click()

    block.get_by_role("button", name="Execute").click()

    expect(block.locator(".live-responses-table")).to_contain_text(person.email)


def test_every_problem_has_a_place_that_its_type_points_to(visitor: Visitor) -> None:
    problem = ask("POST", f"{url('gateway')}/api/v1/login", json={}).json

    page = visitor.open(problem["type"])

    expect(page.locator(f"#{problem['code']}")).to_be_in_viewport()
    expect(page.locator(f"#{problem['code']}")).to_contain_text(str(problem["status"]))


def test_without_javascript_the_page_leads_to_the_document(visitor: Visitor) -> None:
    page = visitor.context.browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{url('gateway')}/api/v1/docs")

    expect(page.get_by_role("link", name="OpenAPI 3.1")).to_have_attribute("href", "/api/v1/schema")
    page.context.close()
