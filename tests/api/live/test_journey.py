"""Everything that a person does with the API, from the first call to the last, against the running system."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from tests.api.live.conftest import PASSWORD, Person, picture


def test_a_person_registers_keeps_images_and_leaves(new_person: Callable[[], Person]) -> None:
    person = new_person()
    registered = person.register()
    assert registered.headers["Location"] == "/api/v1/profile"
    assert registered.json["email"] == person.email
    assert registered.json["image"] is None

    grant = person.sign_in().json
    assert grant["token_type"] == "Bearer"
    assert grant["expires_in"] == 600

    profile = person.call("GET", "/profile").json
    assert profile["id"] == person.id
    assert profile["last_sign_in_at"] is not None
    assert profile["limited"] == []

    first = person.call("POST", "/images", form={"image": ("a.png", picture(900, 700), "image/png")})
    assert first.status == 201
    assert first.headers["Location"] == f"/api/v1/images/{first.json['id']}"
    second = person.call("PUT", "/profile/image", form={"image": ("b.jpg", picture(kind="JPEG"), "image/jpeg")})
    assert second.status == 201
    assert second.json["is_profile_image"]

    assert person.call("GET", first.headers["Location"].removeprefix("/api/v1")).json == first.json
    assert person.call("GET", "/profile").json["image"] == second.json
    for address, longest in (("url", 900), ("card_url", 640), ("avatar_url", 256)):
        stored = person.fetch(first.json[address])
        assert stored.status == 200
        assert max(Image.open(io.BytesIO(stored.body)).size) == longest

    chosen = person.call("PUT", "/profile/image", json={"image_id": first.json["id"]})
    assert chosen.status == 200
    assert chosen.json["is_profile_image"]
    assert person.call("GET", "/profile").json["image"]["id"] == first.json["id"]
    assert person.call("DELETE", "/profile/image").status == 204
    assert person.call("GET", "/profile").json["image"] is None

    assert person.call("DELETE", f"/images/{second.json['id']}").status == 204
    assert person.call("GET", f"/images/{second.json['id']}").code == "not_found"
    assert [item["id"] for item in person.call("GET", "/images").json["items"]] == [first.json["id"]]

    renamed = person.call("PATCH", "/profile", json={"name": "Renamed"})
    assert renamed.json["name"] == "Renamed"
    without = person.call("PATCH", "/profile", json={"email": f"new-{person.email}"})
    assert without.status == 422
    assert [error["field"] for error in without.json["errors"]] == ["current_password"]
    moved = person.call("PATCH", "/profile", json={"email": f"new-{person.email}", "current_password": PASSWORD})
    assert moved.json["email"] == f"new-{person.email}"
    person.email = f"new-{person.email}"

    assert person.call("DELETE", "/profile").status == 204
    assert person.call("GET", "/sessions").status == 401
    assert (
        person.call("POST", "/login", json={"email": person.email, "password": PASSWORD}).code == "invalid_credentials"
    )


def test_registration_with_an_image_is_one_step(new_person: Callable[[], Person]) -> None:
    person = new_person()

    registered = person.register(image=("me.webp", picture(kind="WEBP"), "image/webp")).json
    person.sign_in()

    assert registered["image"]["is_profile_image"]
    assert registered["notice"] is None
    assert person.call("GET", "/profile").json["image"] == registered["image"]


def test_an_old_refresh_token_ends_the_session_for_whoever_holds_it(person: Person) -> None:
    tokens = [person.refresh_token]
    for _ in range(2):
        fresh = person.call("POST", "/refresh", json={"refresh_token": tokens[-1]})
        assert fresh.status == 200
        tokens.append(fresh.json["refresh_token"])
    assert len(set(tokens)) == 3

    assert person.call("POST", "/refresh", json={"refresh_token": tokens[0]}).code == "invalid_refresh_token"
    assert person.call("POST", "/refresh", json={"refresh_token": tokens[2]}).code == "invalid_refresh_token"
    assert person.call("GET", "/sessions").code == "invalid_token"


def test_signing_out_ends_the_session(person: Person) -> None:
    assert person.call("POST", "/logout", json={"refresh_token": person.refresh_token}).status == 204
    assert person.call("POST", "/logout", json={"refresh_token": person.refresh_token}).status == 204
    assert person.call("POST", "/refresh", json={"refresh_token": person.refresh_token}).status == 401
    assert person.call("GET", "/sessions").code == "invalid_token"


def test_a_session_elsewhere_can_be_ended(person: Person) -> None:
    here = person.token
    person.sign_in()
    elsewhere, person.token = person.token, here
    sessions = person.call("GET", "/sessions").json["items"]
    assert len(sessions) == 2
    (other,) = [session for session in sessions if not session["current"]]

    assert person.call("DELETE", f"/sessions/{other['id']}").status == 204
    assert person.call("GET", "/sessions", token=elsewhere).status == 401
    assert len(person.call("GET", "/sessions").json["items"]) == 1


def test_a_new_password_ends_every_other_session(person: Person) -> None:
    elsewhere = person.token
    person.sign_in()
    change = {"current_password": PASSWORD, "new_password": "another quiet lighthouse 9"}

    assert person.call("POST", "/password", json=change | {"current_password": "wrong"}).code == "wrong_password"
    assert person.call("POST", "/password", json=change).status == 204
    assert person.call("GET", "/sessions", token=elsewhere).status == 401
    assert len(person.call("GET", "/sessions").json["items"]) == 1
    assert person.call("POST", "/login", json={"email": person.email, "password": PASSWORD}).status == 401


def test_pages_of_images_have_every_image_once_newest_first(person: Person) -> None:
    stored = [
        person.call("POST", "/images", form={"image": ("x.png", picture(), "image/png")}).json["id"] for _ in range(5)
    ]

    seen: list[str] = []
    path = "/images?limit=2"
    pages = 0
    while path:
        page = person.call("GET", path)
        pages += 1
        assert page.json["total"] == 5
        seen += [item["id"] for item in page.json["items"]]
        link = page.headers.get("Link", "")
        assert bool(link) == bool(page.json["next_cursor"])
        path = link.partition(">")[0].removeprefix("<").removeprefix("/api/v1")

    assert pages == 3
    assert seen == stored[::-1]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_image_is_its_owners_alone(person: Person, other: Person, stranger: Person, method: str) -> None:
    image = person.call("POST", "/images", form={"image": ("x.png", picture(), "image/png")}).json

    assert other.call(method, f"/images/{image['id']}").code == "not_found"
    assert stranger.call(method, f"/images/{image['id']}").code == "unauthenticated"
    assert other.call("PUT", "/profile/image", json={"image_id": image["id"]}).code == "not_found"
    assert other.call("GET", "/images").json == {"items": [], "next_cursor": None, "total": 0}
    assert person.call("GET", f"/images/{image['id']}").json == image


def test_a_session_is_its_owners_alone(person: Person, other: Person, stranger: Person) -> None:
    (session,) = person.call("GET", "/sessions").json["items"]

    assert other.call("DELETE", f"/sessions/{session['id']}").code == "not_found"
    assert stranger.call("DELETE", f"/sessions/{session['id']}").code == "unauthenticated"
    assert len(person.call("GET", "/sessions").json["items"]) == 1


def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(person: Person, stranger: Person) -> None:
    wrong = stranger.call("POST", "/login", json={"email": person.email, "password": "not the one"})
    unknown = stranger.call("POST", "/login", json={"email": stranger.email, "password": "not the one"})

    assert wrong.code == unknown.code == "invalid_credentials"
    assert wrong.json | {"request_id": ""} == unknown.json | {"request_id": ""}
