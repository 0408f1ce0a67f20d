"""The client's address comes from the proxies that are ours, and from nothing that a client writes."""

from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from internal import addresses
from internal.addresses import client_address


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "expected"),
    [
        (0, "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        (1, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "10.0.0.1", "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (2, "10.0.0.1", "1.1.1.1, 198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (1, "10.0.0.1", "<script>", "10.0.0.1"),
        (1, "10.0.0.1", "2001:DB8::1", "2001:db8::1"),
        (3, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (0, "", "203.0.113.9", "0.0.0.0"),  # noqa: S104 - an address that stands for none
    ],
)
def test_the_address_is_the_one_that_our_own_proxies_saw(
    proxies: int, peer: str, forwarded: str, expected: str
) -> None:
    request = RequestFactory(REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded).get("/")
    with override_settings(TRUSTED_PROXY_COUNT=proxies):
        assert client_address(request) == expected


def test_a_long_text_is_no_address_and_is_not_remembered() -> None:
    before = addresses._normal.cache_info()

    assert addresses.normal("fe80::1%" + "a" * 8000) == ""
    assert addresses._normal.cache_info() == before
    assert addresses.normal("FE80::1%eth0") == "fe80::1%eth0"
