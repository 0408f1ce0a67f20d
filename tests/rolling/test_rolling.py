"""Every process of every role is replaced while people use the system, and not one of their requests fails.

`make test` does it once, with a few thousand requests; `make test-rolling` again and again, with 20,000 at least. With
`-- -s` the figures are shown.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.rolling.fleet import REPLICAS, ROLES, Fleet
from tests.rolling.load import Load
from tests.running import until

REQUESTS = int(os.environ.get("SEAWALL_ROLLING_REQUESTS", "1500"))
RATE = float(os.environ.get("SEAWALL_ROLLING_RATE", "60"))  # a second, asked for
REQUIRED_RATE = float(os.environ.get("SEAWALL_ROLLING_REQUIRED_RATE", "0"))  # a second, reached
ROUNDS = int(os.environ.get("SEAWALL_ROLLING_ROUNDS", "1"))  # processes of each role that are replaced
SECONDS = 600.0  # for the requests that are left when every process has been replaced


@pytest.mark.timeout(1200)
def test_no_request_fails_while_every_role_is_replaced_process_by_process(tmp_path: Path) -> None:
    with Fleet.running(tmp_path) as fleet:
        with Load(fleet.url, RATE).running() as load:
            for _ in range(ROUNDS):
                for role in ROLES:
                    fleet.replace(role)
            until(lambda: load.total >= REQUESTS or load.failures, f"{REQUESTS} requests", SECONDS)

        rate = load.total / load.seconds
        print(f"\n{load.total} requests, {rate:.0f}/s, {fleet.replaced} of {REPLICAS * len(ROLES)} processes replaced")
        print(f"slowest {load.longest:.2f} s; {dict(load.answered.most_common())}")
        assert load.failures == [], Counter((one.call, one.status) for one in load.failures)
        assert fleet.complaints() == []
        assert load.total >= REQUESTS
        assert rate >= REQUIRED_RATE
        assert fleet.replaced == ROUNDS * len(ROLES)
