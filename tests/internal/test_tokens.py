"""Access tokens are verified from a key set that outlives an outage; nothing forged or foreign gets through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from internal import context, tokens
from internal.errors import Unavailable
from internal.problems import ProblemError
from internal.tokens import JwksCache, KeySetDocument

ACCOUNT, SESSION = uuid4(), uuid4()


def new_key(key_id: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": key_id, "use": "sig"})


KEY = new_key("k1")


def document(*keys: OKPKey) -> KeySetDocument:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def token(key: OKPKey = KEY, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    now = int(time.time())
    standard = {
        "iss": "seawall",
        "aud": "seawall",
        "sub": str(ACCOUNT),
        "sid": str(SESSION),
        "iat": now,
        "exp": now + 600,
    }
    wanted = {name: value for name, value in (standard | claims).items() if value is not None}
    return jwt.encode({"alg": "Ed25519", "kid": key.kid} | (header or {}), wanted, key, algorithms=["Ed25519"])


class Source:
    """A key set source that counts, and that can be taken down."""

    def __init__(self, *keys: OKPKey) -> None:
        self.keys = keys
        self.down = False
        self.fetches = 0

    def __call__(self) -> KeySetDocument:
        self.fetches += 1
        if self.down:
            raise Unavailable("auth", "down")
        return document(*self.keys)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source(KEY)
    cache = JwksCache(source)
    monkeypatch.setattr(tokens, "key_set", lambda: cache)
    return source


@pytest.mark.usefixtures("source")
def test_a_good_token_yields_its_claims() -> None:
    claims = tokens.verify(token())
    assert (claims.subject, claims.session) == (ACCOUNT, SESSION)
    assert (claims.expires_at - claims.issued_at).total_seconds() == 600


def unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"iss": "seawall", "aud": "seawall", "sub": str(ACCOUNT), "sid": str(SESSION), "iat": now, "exp": now + 60}
    return f"{part({'alg': 'none', 'kid': 'k1'})}.{part(claims)}."


def signed_with_the_public_key() -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=")
    body = token().split(".")[1].encode()
    public = KEY.as_dict(private=False)["x"].encode()
    mac = base64.urlsafe_b64encode(hmac.new(public, head + b"." + body, hashlib.sha256).digest()).rstrip(b"=")
    return b".".join([head, body, mac]).decode()


FORGED = [
    "",
    "x",
    "a.b.c",
    "…",
    "e30.e30.e30",
    "A" * 5000,
    token()[:-4] + "AAAA",
    unsigned(),
    signed_with_the_public_key(),
    token(new_key("k1")),
    token(new_key("unknown")),
    token(iss="somebody else"),
    token(aud="somebody else"),
    token(sub="not a uuid"),
    token(sub=None),
    token(sid=None),
    token(sid=5),
    token(exp=None),
    token(exp="soon"),
    token(iat=None),
]


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("forged", FORGED, ids=[str(number) for number in range(len(FORGED))])
def test_a_forged_foreign_or_malformed_token_is_refused(forged: str) -> None:
    with pytest.raises(ProblemError) as caught:
        tokens.verify(forged)
    assert caught.value.problem.code == "invalid_token"


@pytest.mark.usefixtures("source")
def test_an_expired_token_is_told_so() -> None:
    with pytest.raises(ProblemError) as caught:
        tokens.verify(token(exp=int(time.time()) - 1))
    assert caught.value.problem.code == "token_expired"


def test_tokens_still_verify_while_auth_is_down_and_the_key_set_is_fetched_once(source: Source) -> None:
    tokens.verify(token())
    source.down = True
    for _ in range(50):
        tokens.verify(token())
    assert source.fetches == 1


def test_a_worker_that_has_warmed_up_makes_the_first_token_wait_for_nothing(source: Source) -> None:
    tokens.prefetch()
    source.down = True

    assert tokens.verify(token()).subject == ACCOUNT
    assert source.fetches == 1


def test_a_worker_warms_up_without_auth_and_asks_again_when_a_token_comes(source: Source, later: Later) -> None:
    source.down = True
    tokens.prefetch()
    source.down = False
    later.ahead = tokens.RETRY_SECONDS + 1

    assert tokens.verify(token()).subject == ACCOUNT


def test_unknown_key_ids_lead_to_a_bounded_number_of_fetches(source: Source) -> None:
    tokens.verify(token())
    for number in range(50):
        with pytest.raises(ProblemError):
            tokens.verify(token(new_key(f"unknown-{number}")))
    assert source.fetches == 1


def test_a_key_that_auth_has_added_is_found(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.verify(token())
    added = new_key("k2")
    source.keys = (KEY, added)
    now = time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + tokens.REFETCH_SECONDS + 1)
    assert tokens.verify(token(added)).subject == ACCOUNT


def test_a_key_that_auth_has_withdrawn_is_forgotten(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.verify(token())
    source.keys = (new_key("k2"),)
    now = time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + tokens.FRESH_SECONDS + 1)
    tokens.key_set().key("k1")  # starts the fetch, and may still be served from the old set
    deadline = time.time() + 5
    while tokens.key_set().key("k1") is not None:
        assert time.time() < deadline, "the withdrawn key is still accepted"
    with pytest.raises(ProblemError):
        tokens.verify(token())
    assert source.fetches == 2


class Later:
    """The clock of the key set, which tests can move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.perf_counter() + self.ahead


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    clock = Later()
    monkeypatch.setattr(tokens.time, "monotonic", clock)
    return clock


def test_after_a_quiet_time_a_token_is_judged_by_no_old_key_set(source: Source, later: Later) -> None:
    tokens.verify(token())
    source.keys = (new_key("k2"),)
    later.ahead += tokens.STALE_SECONDS + 0.1

    with pytest.raises(ProblemError):
        tokens.verify(token())
    assert source.fetches == 2


def test_several_tokens_after_a_quiet_time_wait_for_one_fetch(
    source: Source, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.verify(token())
    source.keys = (new_key("k2"),)
    later.ahead += tokens.STALE_SECONDS + 0.1
    begun, go_on = threading.Event(), threading.Event()
    load = source.__call__

    def slowly() -> KeySetDocument:
        begun.set()
        assert go_on.wait(5)
        return load()

    monkeypatch.setattr(tokens.key_set(), "_load", slowly)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(tokens.key_set().key("k1"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join()

    assert (answers, source.fetches) == ([None] * 5, 2)


def test_while_tokens_come_nobody_waits_for_the_key_set(source: Source, later: Later) -> None:
    """The known key is served at once, while the fetch that began in the background hangs."""
    tokens.verify(token())
    cache = tokens.key_set()
    assert isinstance(cache, JwksCache)
    go_on = threading.Event()
    later.ahead += tokens.FRESH_SECONDS + 0.1
    fetch = cache._load

    def hang() -> KeySetDocument:
        assert go_on.wait(5)
        return fetch()

    cache._load = hang
    started = time.perf_counter()
    for _ in range(100):
        assert cache.key("k1") is not None
    assert time.perf_counter() - started < 1
    go_on.set()
    deadline = time.perf_counter() + 5
    while source.fetches < 2:
        assert time.perf_counter() < deadline
    with cache._lock:
        assert source.fetches == 2


def test_a_fetch_that_nobody_waits_for_has_more_time(source: Source, later: Later) -> None:
    """In a flood auth answers late, but it does: withdrawn keys must not live on because of that."""
    cache = tokens.key_set()
    assert isinstance(cache, JwksCache)
    fetch, given = cache._load, []

    def load() -> KeySetDocument:
        given.append(context.current_deadline().remaining())
        return fetch()

    cache._load = load
    tokens.verify(token())
    later.ahead += tokens.FRESH_SECONDS + 0.1
    tokens.verify(token())
    until(lambda: len(given) == 2)

    assert given[0] <= tokens.FETCH_SECONDS
    assert tokens.FETCH_SECONDS < given[1] <= tokens.BACKGROUND_FETCH_SECONDS


def test_a_fetch_that_failed_in_the_background_is_soon_made_again(source: Source, later: Later) -> None:
    tokens.verify(token())
    cache = tokens.key_set()
    assert isinstance(cache, JwksCache)
    source.down = True
    later.ahead += tokens.FRESH_SECONDS + 0.1
    tokens.verify(token())
    until(lambda: source.fetches == 2 and not cache._lock.locked())

    source.down = False
    later.ahead += tokens.RETRY_SECONDS + 0.1
    tokens.verify(token())
    until(lambda: source.fetches == 3)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 5
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.005)


def test_an_outage_of_hours_does_not_end_verification_and_asks_at_a_bounded_rate(source: Source, later: Later) -> None:
    tokens.verify(token())
    source.down = True
    cache = tokens.key_set()
    assert isinstance(cache, JwksCache)
    for _ in range(1000):
        later.ahead += 0.25
        assert tokens.verify(token()).subject == ACCOUNT
        with cache._lock:  # the background fetch is over
            pass
    assert 50 < source.fetches <= 250 / tokens.RETRY_SECONDS + 10  # the test itself takes a few seconds


def test_an_unknown_key_is_no_refusal_while_auth_cannot_be_asked(source: Source, later: Later) -> None:
    tokens.verify(token())
    added = new_key("k2")
    source.keys, source.down = (KEY, added), True
    later.ahead += tokens.REFETCH_SECONDS + 0.1
    for _ in range(2):
        with pytest.raises(Unavailable):
            tokens.verify(token(added))

    source.down = False
    later.ahead += tokens.REFETCH_SECONDS + 0.1
    assert tokens.verify(token(added)).subject == ACCOUNT


def test_without_any_key_set_verification_is_unavailable_and_not_a_refusal(source: Source) -> None:
    source.down = True
    with pytest.raises(Unavailable):
        tokens.verify(token())


def test_a_process_that_starts_during_an_outage_reads_the_last_good_key_set(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    assert JwksCache(Source(KEY), file).key("k1") is not None

    down = Source(KEY)
    down.down = True
    assert JwksCache(down, file).key("k1") is not None

    file.write_text("{")
    with pytest.raises(Unavailable):
        JwksCache(down, file).key("k1")


@pytest.mark.parametrize(
    "bad", [{}, {"keys": []}, {"keys": [{"kid": "x"}]}, {"keys": 3}, {"keys": [{"crv": "Ed25519"}]}]
)
def test_a_malformed_key_set_never_replaces_a_good_one(bad: Any) -> None:
    documents = [document(KEY), bad]
    cache = JwksCache(lambda: documents.pop(0))
    assert cache.key("k1") is not None
    cache._fetch()
    assert cache.key("k1") is not None


def test_the_fetch_of_keys_is_taken_from_the_time_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []

    def hangs() -> KeySetDocument:
        left.append(context.current_deadline().remaining())
        time.sleep(max(0.0, left[0]))
        raise Unavailable("auth", "no answer")

    cache = JwksCache(hangs)
    monkeypatch.setattr(tokens, "key_set", lambda: cache)
    with context.deadline_of(0.2) as deadline:
        with pytest.raises(Unavailable):
            tokens.verify(token())
        assert deadline.remaining() > -0.1

    assert left[0] <= 0.2


def test_nobody_waits_longer_for_the_fetch_of_another_than_for_their_own(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in the background may take two seconds. A key that is not known meanwhile is no forgery."""
    tokens.verify(token())
    cache = tokens.key_set()
    assert isinstance(cache, JwksCache)
    began = time.monotonic()
    with cache._lock, pytest.raises(Unavailable):
        tokens.verify(token(new_key("k2")))
    assert time.monotonic() - began < tokens.FETCH_SECONDS + 0.3
    assert source.fetches == 1
