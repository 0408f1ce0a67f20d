"""What a page must be for every eye: accessible in light and dark, on large and small screens, never too wide."""

from __future__ import annotations

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.e2e.browsing import DESKTOP, PHONE

NARROW = {"width": 320, "height": 640}


def load_axe(page: Page) -> None:
    """Brings axe into the page, where it stays until the next navigation."""
    page.evaluate(AXE_SCRIPT)


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page that it has been loaded into, each with the elements it is about."""
    found = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((results) => results.violations)")
    return [
        f"{item['id']} ({item['impact']}): {item['help']}: {[node['html'][:150] for node in item['nodes'][:5]]}"
        for item in found
    ]


def too_wide(page: Page) -> list[str]:
    """The elements that make the page wider than the screen."""
    return list(
        page.evaluate(
            """() => {
                const width = document.documentElement.clientWidth;
                if (document.documentElement.scrollWidth <= width) return [];
                const wide = [...document.querySelectorAll("body *")].filter(
                    (element) => element.getBoundingClientRect().right > width + 0.5);
                return [`${document.documentElement.scrollWidth} of ${width} pixels`,
                        ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 150))];
            }"""
        )
    )


def judge(page: Page) -> None:
    """Looks at the page in both color schemes and on screens of three sizes."""
    load_axe(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            found = violations(page)
            assert not found, f"{scheme}, {size['width']} pixels wide:\n" + "\n".join(found)
            assert not too_wide(page), f"{size['width']} pixels: {too_wide(page)}"
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not too_wide(page), too_wide(page)
