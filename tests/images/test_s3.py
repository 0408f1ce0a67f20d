"""The S3 store when its server is away, slow, wrong, full, or another one; a real one wherever one can be that."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.files.base import ContentFile
from django.test import Client
from rest_framework.test import APIClient

from images import health, store
from images.models import Image
from images.store.base import StorageUnavailable
from images.store.s3 import BucketMissing, CredentialsRefused, S3ImageStorage, WrongAddress
from internal.problems import ProblemError
from tests.images.conftest import BODY_TYPE, Person, s3_entry
from tests.images.pictures import corners, photo, saved
from tests.internal.servers import Behaviour, Peer, answers, peer, reply
from tests.proxies import Mode, Proxy, proxy
from tests.relay import Relay
from tests.s3server import S3Server

pytestmark = pytest.mark.django_db(transaction=True)

PNG = saved(corners(), "PNG")
NAME = "uploads/0b1c2d3e-0000-4000-8000-000000000001.png"
DEADLINE = 5.0  # seconds that the callers in these tests wait
PATIENCE = 20.0  # seconds until something must have come back


def upload(person: Person, data: bytes = PNG) -> tuple[Any, float]:
    """The answer to an upload with a DEADLINE, and how long it took."""
    begun = time.monotonic()
    headers = {"X-Deadline-Ms": str(int(DEADLINE * 1000))}
    answer = person.client.post("/internal/v1/images", data=data, content_type=BODY_TYPE, headers=headers)
    return answer, time.monotonic() - begun


def assert_refused(answer: Any, status: int = 503, code: str = "storage_unavailable") -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    if status == 503:
        assert int(answer["Retry-After"]) > 0
    assert not Image.objects.exists()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.1)


def use(settings: Any, server: S3Server, **changes: str) -> S3ImageStorage:
    """Makes the store that of the environment with these changes."""
    settings.STORAGES = {**settings.STORAGES, "images": s3_entry(server, **changes)}
    storage = store.storage()
    assert isinstance(storage, S3ImageStorage)
    return storage


@pytest.fixture
def between(image_bucket: S3Server, settings: Any) -> Iterator[Proxy]:
    """A proxy in front of the server, used by the store."""
    with proxy(image_bucket.port) as middle:
        use(settings, image_bucket, S3_ENDPOINT_URL=middle.url)
        yield middle


@contextlib.contextmanager
def saying(settings: Any, server: S3Server, behaviour: Behaviour) -> Iterator[Peer]:
    """A server that answers as it is told, for what the real one cannot be made to say."""
    with peer(behaviour) as other:
        use(settings, server, S3_ENDPOINT_URL=other.url)
        yield other


def fault(status: int, code: str, *headers: str) -> bytes:
    document = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>about a-secret</Message></Error>"
    return reply(status, document.encode(), "application/xml", *headers)


def test_objects_are_private_typed_and_verified(image_bucket: S3Server) -> None:
    content = saved(photo(), "JPEG")
    store.put({NAME: ContentFile(content), NAME.replace(".png", ".card.webp"): ContentFile(b"card")})

    head = image_bucket.client().head_object(Bucket=image_bucket.bucket, Key=NAME)
    card = image_bucket.client().head_object(Bucket=image_bucket.bucket, Key=NAME.replace(".png", ".card.webp"))
    assert (head["ContentType"], head["ContentLength"]) == ("image/png", len(content))
    assert card["ContentType"] == "image/webp"
    assert head["ETag"].strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{image_bucket.url}/{image_bucket.bucket}/{NAME}", timeout=5)  # noqa: S310 - our own


def test_a_request_carries_a_digest_and_no_acl(image_bucket: S3Server, settings: Any) -> None:
    digest = hashlib.md5(b"content", usedforsecurity=False)
    with saying(
        settings, image_bucket, answers(reply(200, b"", "text/plain", f'ETag: "{digest.hexdigest()}"'))
    ) as other:
        store.put({NAME: ContentFile(b"content")})

    (request,) = other.requests
    head = request.partition(b"\r\n\r\n")[0].decode().lower()
    assert f"content-md5: {base64.b64encode(digest.digest()).decode().lower()}" in head
    assert "x-amz-acl" not in head
    assert "checksum" not in head
    assert request.endswith(b"\r\n\r\ncontent")


def test_a_server_that_wants_a_digest_with_a_list_of_names_removes_what_it_is_asked_to(
    image_bucket: S3Server, settings: Any
) -> None:
    def strict(connection: socket.socket, request: bytes) -> None:
        head = request.partition(b"\r\n\r\n")[0].lower()
        if head.startswith(b"post") and b"\r\ncontent-md5:" not in head:
            connection.sendall(fault(400, "MissingContentMD5"))
        else:
            connection.sendall(reply(204, b"", "text/plain"))

    names = {NAME.replace(".png", ending) for ending in (".png", ".avatar.webp", ".card.webp")}
    with saying(settings, image_bucket, strict) as other:
        assert store.remove(names) == {}

    lines = {request.partition(b"\r\n")[0].decode() for request in other.requests}
    assert lines == {f"DELETE /{image_bucket.bucket}/{name} HTTP/1.1" for name in names}
    assert not any(b"checksum" in request.lower() for request in other.requests)


def test_what_the_store_does_not_remove_is_returned_with_the_reason(image_bucket: S3Server, settings: Any) -> None:
    with saying(settings, image_bucket, answers(fault(400, "InvalidRequest"))):
        assert store.remove([NAME]) == {NAME: "InvalidRequest (400)"}
    with saying(settings, image_bucket, answers(fault(404, "NoSuchKey"))):
        assert store.remove([NAME]) == {}
    with saying(settings, image_bucket, answers(fault(404, "NoSuchBucket"))):
        assert set(store.remove([NAME])) == {NAME}


@pytest.mark.parametrize("tag", ['ETag: "00000000000000000000000000000000"', "X-Nothing: 1"])
def test_what_is_not_confirmed_is_not_stored(image_bucket: S3Server, settings: Any, tag: str) -> None:
    with saying(settings, image_bucket, answers(reply(200, b"", "text/plain", tag))), pytest.raises(ProblemError) as no:
        store.put({NAME: ContentFile(b"content")})

    assert no.value.problem.code == "storage_unavailable"


def test_the_tag_of_an_encrypted_object_is_no_digest(image_bucket: S3Server, settings: Any) -> None:
    tag = ('ETag: "00000000000000000000000000000000"', "x-amz-server-side-encryption: aws:kms")
    with saying(settings, image_bucket, answers(reply(200, b"", "text/plain", *tag))):
        store.put({NAME: ContentFile(b"content")})


def test_a_crashed_store_costs_an_upload_no_deadline_and_is_back_without_a_restart(
    image_bucket: S3Server, person: Person, stored: Any
) -> None:
    first = upload(person)[0].json()
    image_bucket.stop(at_once=True)
    try:
        Image.objects.all().delete()
        for _ in range(5):
            answer, seconds = upload(person)
            assert_refused(answer)
            assert seconds < DEADLINE
        uncached = Client().get(first["path"])
        assert (uncached.status_code, uncached.json()["code"]) == (503, "storage_unavailable")
        status = APIClient().get("/internal/v1/status")
        assert (status.json()["storage"], status.json()["database"]) == ("down", "up")
    finally:
        image_bucket.start()

    until(lambda: upload(person)[0].status_code == 201)
    assert APIClient().get("/internal/v1/status").json()["storage"] == "up"
    assert b"".join(Client().get(first["path"])) == b"".join(Client().get(first["path"]))
    assert len(stored()) == 3 + 3 * Image.objects.count()


def test_a_store_that_was_started_anew_between_two_requests_is_no_fault(image_bucket: S3Server, person: Person) -> None:
    assert upload(person)[0].status_code == 201
    image_bucket.stop()
    image_bucket.start()

    assert upload(person)[0].status_code == 201


@pytest.mark.parametrize("mode", ["hang", "drip", "cut"])
def test_a_slow_store_is_given_up_in_time(between: Proxy, s3: S3Server, person: Person, mode: Mode) -> None:
    assert upload(person)[0].status_code == 201
    Image.objects.all().delete()
    before = s3.keys()
    between.mode = mode

    answer, seconds = upload(person)

    assert_refused(answer)
    assert seconds < DEADLINE + 1
    between.mode = "pass"
    until(lambda: s3.keys() == before)
    until(lambda: upload(person)[0].status_code == 201)


@pytest.mark.parametrize("mode", ["hang", "drip", "cut"])
def test_reads_and_the_status_do_not_wait_for_a_slow_store(between: Proxy, person: Person, mode: Mode) -> None:
    image = upload(person)[0].json()
    between.mode = mode

    for method in ("get", "head"):
        begun = time.monotonic()
        answer = getattr(Client(), method)(image["path"])
        assert answer.status_code == 503
        assert time.monotonic() - begun < 4
    begun = time.monotonic()
    assert APIClient().get("/internal/v1/status").json()["storage"] == "down"
    assert time.monotonic() - begun < 2


def test_an_outage_does_not_cost_every_request_its_patience(
    between: Proxy, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    between.mode = "hang"
    for _ in range(3):
        upload(person)
    caplog.clear()

    for _ in range(5):
        assert_refused(upload(person)[0])

    refused = [record for record in caplog.records if "image_store_unavailable" in record.getMessage()]
    not_asked = [record for record in refused if "is not asked just now" in record.getMessage()]
    assert len(refused) == 5
    assert len(not_asked) >= 3  # the others tried whether it is back


def test_a_body_that_stops_coming_is_an_error_and_not_an_end(between: Proxy) -> None:
    store.put({NAME: ContentFile(b"x" * 20_000_000)})
    found = store.find(NAME)
    assert found is not None

    with found[0] as file:
        file.read(100_000)
        between.mode = "cut"
        with pytest.raises(OSError, match=r"ended early|Error"):
            file.read()


def test_many_threads_share_the_store(image_bucket: S3Server, stored: Any) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            path = f"uploads/0b1c2d3e-0000-4000-8000-{number:06}{turn:06}.png"
            store.put({path: ContentFile(path.encode() * 1000)})
            found = store.find(path)
            if found is None:
                return
            with found[0] as file:
                if file.read() == path.encode() * 1000:
                    done.append(path)

    done: list[str] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(done) == 40
    assert stored() == set(done)


@pytest.mark.parametrize(
    ("changes", "kind", "advice"),
    [
        ({"S3_SECRET_ACCESS_KEY": "wrong-secret"}, CredentialsRefused, "SignatureDoesNotMatch .* S3_SECRET_ACCESS_KEY"),
        ({"S3_ACCESS_KEY_ID": "wrong-key"}, CredentialsRefused, "InvalidAccessKeyId .* S3_ACCESS_KEY_ID"),
        ({"S3_BUCKET": "somebody-elses"}, CredentialsRefused, "AccessDenied .* rights"),
    ],
)
def test_wrong_credentials_are_the_operators_business(
    image_bucket: S3Server,
    settings: Any,
    person: Person,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, str],
    kind: type[StorageUnavailable],
    advice: str,
) -> None:
    use(settings, image_bucket, **changes)

    answer, _ = upload(person)

    assert_refused(answer)
    assert "S3" not in answer.content.decode()
    assert "redentials" not in answer.content.decode()
    with pytest.raises(kind, match=advice):
        health.storage()
    assert not health.storage_is_up()
    logged = caplog.text
    assert "image_store_unavailable" in logged
    assert "image_store_refuses_us" in logged
    for secret in (image_bucket.secret_key, "wrong-secret"):
        assert secret not in logged


def test_a_missing_bucket_is_the_operators_business_and_no_missing_image(
    image_bucket: S3Server, settings: Any, person: Person
) -> None:
    access_key, secret_key = image_bucket._admin
    admin = {"S3_ACCESS_KEY_ID": access_key, "S3_SECRET_ACCESS_KEY": secret_key}
    use(settings, image_bucket, S3_BUCKET="no-such-bucket", **admin)

    assert_refused(upload(person)[0])
    for method in ("get", "head"):
        assert getattr(Client(), method)(f"/{NAME}").status_code == 503
    with pytest.raises(BucketMissing, match=r"NoSuchBucket .* S3_BUCKET"):
        health.storage()


def test_the_role_is_ready_while_the_store_is_away_and_stays_so_once_it_was_let_in(
    image_bucket: S3Server, settings: Any
) -> None:
    image_bucket.stop(at_once=True)
    try:
        health.storage()
    finally:
        image_bucket.start()
    until(health.storage_is_up)
    health.storage()
    storage = store.storage()
    storage._client.meta.events.register_first("before-send.s3", lambda **_: pytest.fail("it asked again"))  # type: ignore[attr-defined]

    health.storage()


@pytest.mark.parametrize(
    ("answered", "status", "code"),
    [
        (fault(500, "InternalError"), 503, "storage_unavailable"),
        (fault(503, "SlowDown"), 503, "storage_unavailable"),
        (fault(400, "BadDigest"), 503, "storage_unavailable"),
        (fault(409, "OperationAborted"), 503, "storage_unavailable"),
        (reply(502, b"<html>bad gateway</html>", "text/html"), 503, "storage_unavailable"),
        (reply(418, b"", "text/plain"), 503, "storage_unavailable"),
        (b"not even HTTP\r\n\r\n", 503, "storage_unavailable"),
        (fault(507, "InsufficientStorage"), 507, "storage_full"),
        (fault(507, "XMinioStorageFull"), 507, "storage_full"),
        (fault(403, "QuotaExceeded"), 507, "storage_full"),
    ],
)
def test_what_the_store_says_decides_the_answer(
    image_bucket: S3Server,
    settings: Any,
    person: Person,
    caplog: pytest.LogCaptureFixture,
    answered: bytes,
    status: int,
    code: str,
) -> None:
    with saying(settings, image_bucket, answers(answered)):
        answer, seconds = upload(person)

    assert_refused(answer, status, code)
    assert seconds < DEADLINE
    logged = caplog.text
    if b"<Code>" in answered:
        assert answered.partition(b"<Code>")[2].partition(b"</Code>")[0].decode() in logged
    assert "a-secret" not in logged
    assert image_bucket.secret_key not in logged
    assert "uploads/" not in logged


def test_a_failure_that_passes_is_tried_once_more(image_bucket: S3Server, settings: Any) -> None:
    tag = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    good = reply(200, b"", "text/plain", f'ETag: "{tag}"')
    with saying(settings, image_bucket, answers(fault(503, "SlowDown"), good)) as other:
        store.put({NAME: ContentFile(b"content")})

    assert [request.endswith(b"content") for request in other.requests] == [True, True]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_signed_request_follows_nobody_to_another_place(image_bucket: S3Server, settings: Any, status: int) -> None:
    with peer(answers(reply(200, b""))) as elsewhere:
        moved = fault(status, "PermanentRedirect", f"Location: {elsewhere.url}/", "x-amz-bucket-region: eu-west-1")
        with saying(settings, image_bucket, answers(moved)) as other:
            with pytest.raises(ProblemError) as refused:
                store.put({NAME: ContentFile(b"content")})
            with pytest.raises(WrongAddress, match="S3_ENDPOINT_URL or S3_REGION"):
                health.storage()

    assert refused.value.problem.code == "storage_unavailable"
    assert elsewhere.requests == []
    assert len(other.requests) == 3  # the file, its removal, the question of readiness


def test_other_variables_of_the_machine_change_nothing(
    image_bucket: S3Server, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")

    amazon = use(settings, image_bucket, S3_ENDPOINT_URL="", S3_REGION="eu-west-1")
    assert amazon.connection.meta.client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"

    use(settings, image_bucket)
    store.put({NAME: ContentFile(b"content")})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(1), now + dt.timedelta(1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_over_tls_the_certificate_is_checked_and_deadlines_hold(
    image_bucket: S3Server, settings: Any, person: Person, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with proxy(image_bucket.port) as middle, contextlib.closing(Relay(middle.port, context)) as front:
        use(settings, image_bucket, S3_ENDPOINT_URL=front.url)
        assert_refused(upload(person)[0])

        use(settings, image_bucket, S3_ENDPOINT_URL=front.url, S3_CA_FILE=str(certificate))
        answer, _ = upload(person, saved(photo(1200, 900), "PNG"))
        assert answer.status_code == 201, answer.content
        Image.objects.all().delete()
        middle.mode = "drip"
        answer, seconds = upload(person)
        assert_refused(answer)
        assert seconds < DEADLINE + 1
