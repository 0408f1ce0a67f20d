"""Visitors of the running portal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.browsing import Visitor, launch, visiting
from tests.running import Person

expect.set_options(timeout=10_000)

NewVisitor = Callable[..., Visitor]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def new_visitor(browser: Browser) -> Iterator[NewVisitor]:
    """Makes visitors, each with a browser context of their own; what their pages did wrong fails the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Visitor:
            return stack.enter_context(visiting(browser, **options))

        yield make


@pytest.fixture
def visitor(new_visitor: NewVisitor) -> Visitor:
    """Somebody who is not signed in."""
    return new_visitor()


@pytest.fixture
def person() -> Person:
    """Somebody with an account."""
    return Person.new().register()


@pytest.fixture
def member(visitor: Visitor, person: Person) -> Visitor:
    """Somebody who is signed in, at the gallery."""
    visitor.sign_in(person)
    return visitor
