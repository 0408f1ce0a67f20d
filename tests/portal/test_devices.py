from __future__ import annotations

import pytest
from django.test import RequestFactory

from portal.devices import device_of, in_words
from portal.problems import wait_in_words
from tests.portal.fakes import FIREFOX, IPHONE

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        (CHROME, "Chrome on Windows"),
        (f"{CHROME} Edg/140.0", "Edge on Windows"),
        (f"{CHROME} OPR/120.0", "Opera on Windows"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("curl/8.5.0", "curl"),
        ("python-requests/2.32", "A program"),
        ("Something (Windows)", "A browser on Windows"),
        ("", "An unknown device"),
    ],
)
def test_devices_are_told_in_plain_words(device: str, words: str) -> None:
    assert in_words(device) == words


def test_a_device_is_kept_short_and_printable() -> None:
    request = RequestFactory().get("/", headers={"user-agent": "Evil\x1b[31m\r\nX: y" + "z" * 500})

    device = device_of(request)

    assert device.startswith("Evil[31mX: yzz")
    assert len(device) == 200


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "Please try again in a moment."),
        (1, "Please try again in 1 second."),
        (45, "Please try again in 45 seconds."),
        (301, "Please try again in 6 minutes."),
        (7200, "Please try again in 2 hours."),
    ],
)
def test_waiting_times_are_told_in_plain_words(seconds: int | None, words: str) -> None:
    assert wait_in_words(seconds) == words
