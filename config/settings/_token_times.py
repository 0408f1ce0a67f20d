"""How long access tokens and the keys that sign them live: auth issues tokens, the console's commands rotate the keys.

Both roles must be given the same, or a key would be withdrawn while tokens of it are valid.
"""

from __future__ import annotations

from config.env import Environment


def token_times(env: Environment) -> tuple[int, int, int]:
    """ACCESS_TOKEN_SECONDS, SIGNING_KEY_PUBLISH_SECONDS (see credentials.E004) and SIGNING_KEY_DAYS."""
    return (
        env.whole("ACCESS_TOKEN_SECONDS", "600", at_least=10, at_most=3600),
        env.whole("SIGNING_KEY_PUBLISH_SECONDS", "60", at_least=1, at_most=86_400),
        env.whole("SIGNING_KEY_DAYS", "30", at_least=1, at_most=365),
    )
