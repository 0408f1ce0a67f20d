from __future__ import annotations

import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from internal.clients.images import IMAGE_LIMIT
from internal.errors import Unavailable
from internal.problems import Problem, image_fault, invalid_field
from tests.portal.fakes import FakeImages, stored_image
from tests.portal.pages import png, text_file, text_of
from tests.portal.signing_in import account_of

JSON = {"accept": "application/json"}
IMAGE = f"/images/{uuid.UUID(int=1)}"


def test_an_empty_gallery_says_what_to_do(anna: Client) -> None:
    page = anna.get("/images")

    assert page.status_code == 200
    assert "No images yet Add your first one above." in text_of(page)


def test_the_gallery_shows_cards_whose_size_is_known_beforehand(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image(1, width=1280, height=960), stored_image(2, is_profile_image=True, animated=True)]
    images.next_cursor = "a+b/c="

    html = anna.get("/images").content.decode()

    card = f"http://files.test:8003{images.items[0].card_path}"
    alt = "Image from 22 November 2026, 12:00, 1280 by 960 pixels"
    assert f'<img src="{card}" alt="{alt}" width="640" height="480" decoding="async">' in html
    assert "2 images" in html
    assert "Profile image" in html
    assert 'href="/images?cursor=a%2Bb%2Fc%3D">Older images</a>' in html


def test_only_the_first_images_are_loaded_at_once(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image(number) for number in range(1, 13)]

    assert anna.get("/images").content.decode().count('loading="lazy"') == 4


def test_an_older_page_leads_back(anna: Client, images: FakeImages) -> None:
    page = anna.get("/images?cursor=abc")

    assert images.called("list")[-1]["cursor"] == "abc"
    assert "Back to the newest images" in text_of(page)
    assert "upload-form" not in page.content.decode()


@pytest.mark.parametrize("cursor", ["%00", "nonsense", "%FF"])
def test_a_page_that_does_not_exist_is_not_found(anna: Client, images: FakeImages, cursor: str) -> None:
    images.rejects("list", invalid_field("cursor", "invalid", "This is no cursor."))

    assert anna.get(f"/images?cursor={cursor}").status_code == 404


def test_while_images_is_down_the_gallery_says_so(anna: Client, images: FakeImages) -> None:
    images.is_down()

    page = anna.get("/images")

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    words = text_of(page)
    assert "Failed to communicate with Image service" in words
    assert "Profile" in words
    assert "Sign out" in words
    assert anna.get("/sessions").status_code == 200


def test_several_files_are_stored_by_a_plain_form(anna: Client, images: FakeImages) -> None:
    page = anna.post("/images", {"image": [png("a.png"), png("b.png")]}, follow=True)

    assert page.redirect_chain == [("/images", 302)]
    assert "2 images are stored." in text_of(page)
    assert len(images.items) == 2


def test_a_plain_form_says_what_became_of_each_file(anna: Client, images: FakeImages) -> None:
    page = anna.post("/images", {"image": [png("a.png"), text_file("<b>.png"), png("c.png")]})

    assert page.status_code == 422
    words = text_of(page)
    assert "a.png Stored." in words
    assert "<b>.png This file is not an image that we can read." in words
    assert "c.png Stored." in words
    assert len(images.items) == 2


def test_a_plain_form_without_a_file_is_told_to_choose_one(anna: Client) -> None:
    page = anna.post("/images", {})

    assert page.status_code == 422
    assert "Choose at least one image." in text_of(page)


def test_a_plain_form_stores_ten_files_and_says_so_of_the_others(anna: Client, images: FakeImages) -> None:
    page = anna.post("/images", {"image": [png(f"{number}.png") for number in range(11)]})

    assert page.status_code == 422
    assert "10.png Not stored: up to 10 files at a time, please." in text_of(page)
    assert len(images.items) == 10


def test_after_the_image_store_has_failed_no_further_file_is_sent(anna: Client, images: FakeImages) -> None:
    images.fails("upload", Unavailable("images", "timed out"))

    page = anna.post("/images", {"image": [png("a.png"), png("b.png")]})

    assert page.status_code == 503
    words = text_of(page)
    assert "a.png Not stored: Failed to communicate with Image service." in words
    assert "b.png Not stored: Failed to communicate with Image service." in words
    assert len(images.called("upload")) == 1
    assert page.headers["Retry-After"] == "5"


def test_a_file_that_is_not_confirmed_may_be_stored(anna: Client, images: FakeImages) -> None:
    images.does_not_confirm("upload")

    words = text_of(anna.post("/images", {"image": [png("a.png"), png("b.png")]}))

    assert "a.png Failed to communicate with Image service. It may be stored all the same." in words
    assert "b.png Not stored: Failed to communicate with Image service." in words


def test_results_are_told_even_when_the_gallery_cannot_be_listed(anna: Client, images: FakeImages) -> None:
    images.is_down()

    page = anna.post("/images", {"image": [png("a.png")]})

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    assert "a.png Not stored: Failed to communicate with Image service." in text_of(page)


def test_a_long_file_name_is_shortened(anna: Client) -> None:
    page = anna.post("/images", {"image": [text_file("n" * 200 + ".png")]})

    assert "n" * 59 + "…" in text_of(page)
    assert "n" * 60 not in text_of(page)


def test_the_upload_script_gets_the_stored_image(anna: Client, images: FakeImages) -> None:
    response = anna.post("/images", {"image": png()}, headers=JSON)

    assert response.status_code == 201
    answer = response.json()["image"]
    assert (answer["page"], answer["card_width"], answer["card_height"]) == (IMAGE, 640, 480)
    assert answer["card_url"] == f"http://files.test:8003{images.items[0].card_path}"
    assert "no-store" in response.headers["Cache-Control"]


def test_the_upload_script_gets_a_problem_document(anna: Client) -> None:
    response = anna.post("/images", {"image": text_file()}, headers=JSON)

    assert (response.status_code, response.headers["Content-Type"]) == (422, "application/problem+json")
    assert response.json()["code"] == "not_an_image"
    assert response.json()["errors"][0]["field"] == "image"
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("files", "code"), [([], "invalid_input"), ([png("a.png"), png("b.png")], "one_file_only")], ids=["none", "two"]
)
def test_the_upload_script_sends_exactly_one_file(anna: Client, files: list[SimpleUploadedFile], code: str) -> None:
    response = anna.post("/images", {"image": files}, headers=JSON)

    assert (response.status_code, response.json()["code"]) == (422, code)


def test_the_upload_script_is_told_that_the_store_is_down(anna: Client, images: FakeImages) -> None:
    images.is_down()

    response = anna.post("/images", {"image": png()}, headers=JSON)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert response.json()["code"] == "images_unavailable"
    assert response.json()["detail"] == "Failed to communicate with Image service"


def test_the_upload_script_is_told_that_nobody_is_signed_in(visitor: Client, images: FakeImages) -> None:
    renewal = visitor.post("/sign-in/renewal", headers=JSON)
    upload = visitor.post("/images", {"image": png()}, headers=JSON)

    assert [(r.status_code, r.json()["code"]) for r in (renewal, upload)] == [(401, "unauthenticated")] * 2
    assert images.calls == []


def test_the_upload_script_is_told_when_an_image_may_be_stored_all_the_same(anna: Client, images: FakeImages) -> None:
    images.does_not_confirm("upload")

    response = anna.post("/images", {"image": png()}, headers=JSON)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert response.json()["code"] == "images_unavailable"
    assert response.json()["errors"][0]["message"].startswith(
        "Failed to communicate with Image service. It may be stored all the same."
    )


def test_while_an_account_is_being_closed_nothing_is_added(anna: Client, images: FakeImages) -> None:
    images.rejects("upload", Problem("conflict", "This account is being closed."))

    page = anna.post("/images", {"image": png("a.png")})
    script = anna.post("/images", {"image": png("a.png")}, headers=JSON)

    said = "This account is being closed, so nothing can be added to it. To finish, close it once more."
    assert (page.status_code, script.status_code) == (409, 409)
    assert f"a.png {said}" in text_of(page)
    assert (script.json()["code"], script.json()["detail"]) == ("conflict", said)


def test_of_a_file_that_is_too_large_little_more_than_the_limit_is_kept(anna: Client, images: FakeImages) -> None:
    page = anna.post("/images", {"image": [png("a.png"), png("large.png", b"PNG" * 5_000_000)]})

    assert page.status_code == 302
    small, large = (call["size"] for call in images.called("upload"))
    assert small == 10
    assert isinstance(large, int)
    assert IMAGE_LIMIT < large <= IMAGE_LIMIT + 64 * 1024


def test_an_upload_is_never_accepted_without_a_form_of_ours(anna: Client, images: FakeImages) -> None:
    anna.handler.enforce_csrf_checks = True
    images.calls.clear()

    page = anna.post("/images", {"image": png()})
    script = anna.post("/images", {"image": png()}, headers=JSON)

    assert page.status_code == 403
    assert "This form has expired" in text_of(page)
    assert (script.status_code, script.json()["code"]) == (403, "forbidden")
    assert images.calls == []


def test_one_image_is_shown_large_with_its_details(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image()]

    page = anna.get(IMAGE)

    assert f'src="http://files.test:8003{images.items[0].path}"' in page.content.decode()
    words = text_of(page)
    for fact in (
        "22 November 2026, 12:00 UTC",
        "PNG",
        "1280 \N{MULTIPLICATION SIGN} 960 pixels",
        "200.0 KB",
        "Set as profile image",
    ):
        assert fact in words


def test_an_image_that_is_not_there_is_not_found(anna: Client) -> None:
    page = anna.get(IMAGE)

    assert page.status_code == 404
    assert "There is nothing here" in text_of(page)
    assert page.headers["X-Request-ID"] in text_of(page)


def test_an_image_becomes_the_profile_image(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image()]

    page = anna.post(f"{IMAGE}/profile-image", follow=True)

    assert page.redirect_chain == [(IMAGE, 302)]
    assert "Your profile image" in text_of(page)
    assert account_of(anna).avatar_path == images.items[0].avatar_path


def test_deleting_asks_first(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image(is_profile_image=True)]

    page = anna.get(f"{IMAGE}/delete")

    assert "It is removed for good, and you will have no profile image." in text_of(page)
    assert images.called("delete") == []


def test_a_deleted_image_is_gone_from_gallery_and_header(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image()]
    anna.post(f"{IMAGE}/profile-image")

    page = anna.post(f"{IMAGE}/delete", follow=True)

    assert page.redirect_chain == [("/images", 302)]
    assert "The image is deleted." in text_of(page)
    assert images.items == []
    assert account_of(anna).avatar_path is None


def test_a_full_quota_is_said_beside_the_file(anna: Client, images: FakeImages) -> None:
    images.rejects("upload", image_fault("image_quota_exceeded", "Your 500 images are used up."))

    page = anna.post("/images", {"image": [png("a.png")]})

    assert page.status_code == 409
    assert "a.png Your 500 images are used up." in text_of(page)
