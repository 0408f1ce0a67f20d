"""`calls/` tests the API by itself, its services faked; `live/` needs a running system, which the runner names."""

import os

collect_ignore = [] if "SEAWALL_TEST_GATEWAY" in os.environ else ["live"]
