"""What people see: the portal in a browser over HTTPS, and images whichever replica answers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests.cluster.front import IMAGES, PORTAL, Front
from tests.cluster.kubectl import Kubectl
from tests.cluster.load import Load, Somebody
from tests.cluster.system import NAMESPACES, System
from tests.e2e.browsing import FLAGS, Visitor, Watch, loaded
from tests.running import Person, picture
from tests.suites import chromium


@pytest.fixture
def context(front: Front, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that finds the hosts at the front door, and accepts the certificates that were verified before."""
    digests = [front.public_key_digest(host) for host in (PORTAL, IMAGES)]
    (https, http) = (f"{host}:{port}" for host, port in (front.https, front.http))
    flags = [
        *FLAGS,
        f"--host-resolver-rules=MAP *.local:443 {https}, MAP *.local:80 {http}",
        f"--ignore-certificate-errors-spki-list={','.join(digests)}",
    ]
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium(), args=flags, locale="en-GB", reduced_motion="reduce"
        )
        context.set_default_timeout(20_000)
        yield context
        context.close()


def test_somebody_registers_signs_in_uploads_and_sees_the_image(
    context: BrowserContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAWALL_TEST_CONSOLE", "https://console.local")  # browsing knows all addresses of a system
    expect.set_options(timeout=20_000)
    watch = Watch(frozenset({PORTAL, IMAGES}))
    watch.attach(context)
    visitor, person = Visitor(context, watch, f"https://{PORTAL}"), Person.new()

    page = visitor.open("/register")
    page.get_by_label("Name", exact=True).fill(person.name)
    page.get_by_label("Email", exact=True).fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)
    visitor.press("Register")
    visitor.at("/images")
    context.clear_cookies()
    visitor.sign_in(person)
    page.get_by_label("Choose images").set_input_files(
        {"name": "sea.png", "mimeType": "image/png", "buffer": picture()}
    )
    expect(page.locator("#upload-status")).to_have_text("1 stored")
    image = page.get_by_role("region", name="Images", exact=True).get_by_role("listitem").get_by_role("img").first
    loaded(image)

    assert str(image.get_attribute("src")).startswith(f"https://{IMAGES}/uploads/")
    assert watch.faults == []


def test_an_image_that_one_replica_wrote_is_read_from_another_on_the_other_node(
    kubectl: Kubectl, system: System, front: Front
) -> None:
    writer, reader = Load(front, 1), system.ready_pods("files")
    somebody = Somebody(writer, 0)
    somebody.arrive()
    somebody.leave()
    assert writer.failures == []
    ((_, path),) = somebody.images.items()
    written = front.get(IMAGES, path)[1]
    nodes = {str(pod["spec"]["nodeName"]) for pod in reader}

    read = {}
    for pod in reader:
        name = pod["metadata"]["name"]
        with kubectl.port_forward(f"pod/{name}", NAMESPACES["files"], 8003) as port:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Host": IMAGES, "X-Forwarded-Proto": "https"}
            )
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own loopback address
                read[name] = answer.read()

    assert len(nodes) > 1, "all pods of files are on one node: this cluster cannot show it"
    assert set(read.values()) == {written}
    assert len(read) == len(reader) > 1
