"""The logs of the running system: one request is found again in every role, and nobody's secret in any of them."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.running import ROLES, Person, ask, log_of, management_url, picture, port_of, state, until, url

API = "/api/v1"


def events(role: str, request_id: str) -> list[dict[str, Any]]:
    """The log's lines about a request."""
    found = (line for line in log_of(role).read_text().splitlines() if request_id in line)
    return [json.loads(line) for line in found]


def finished(role: str, request_id: str) -> list[dict[str, Any]]:
    return [event for event in events(role, request_id) if event["event"] == "request_finished"]


@pytest.fixture
def person() -> Person:
    return Person.new().register().sign_in()


def test_one_request_is_found_in_the_logs_of_all_three_roles(person: Person) -> None:
    request_id = secrets.token_hex(12)

    answer = person.call("GET", "/profile", headers={"X-Request-ID": request_id})

    assert answer.status == 200
    assert answer.headers["X-Request-ID"] == request_id
    lines = {
        role: until(lambda role=role: finished(role, request_id), f"a line about it in the log of {role}")
        for role in ("gateway", "auth", "images")
    }
    about = [line for found in lines.values() for line in found if line["route"] != "internal/v1/jwks"]
    assert [(line["method"], line["route"], line["status"]) for line in about] == [
        ("GET", "api/v1/profile", 200),
        ("GET", "internal/v1/account", 200),
        ("GET", "internal/v1/profile-image", 204),
    ]
    assert {line["account_id"] for line in about} == {person.id}


def test_an_upload_is_found_in_the_logs_with_what_came_of_it(person: Person) -> None:
    request_id = secrets.token_hex(12)

    answer = person.call("POST", "/images", form={"image": ("a.png", picture())}, headers={"X-Request-ID": request_id})

    assert answer.status == 201
    until(lambda: finished("images", request_id), "a line about it in the log of images")
    stored = [event for event in events("images", request_id) if event["event"] == "image_stored"]
    assert [(event["account_id"], event["content_type"]) for event in stored] == [(person.id, "image/png")]


def test_a_request_without_an_id_gets_one_and_one_with_a_bad_id_another(person: Person) -> None:
    given = [person.call("GET", "/sessions", headers=headers) for headers in ({}, {"X-Request-ID": "no good\tid"})]

    ids = [answer.headers["X-Request-ID"] for answer in given]
    assert len(set(ids)) == 2
    for request_id in ids:
        assert re.fullmatch("[0-9a-f]{32}", request_id)
        until(lambda request_id=request_id: finished("auth", request_id), "a line about it in the log of auth")


def test_a_problem_document_names_the_request_that_the_logs_know(person: Person) -> None:
    answer = person.call("GET", "/images/00000000-0000-0000-0000-000000000000")

    assert answer.status == 404
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    until(lambda: finished("images", answer.json["request_id"]), "a line about it in the log of images")


def test_the_next_request_of_a_thread_knows_nothing_of_the_one_before(person: Person) -> None:
    ids = []
    for _ in range(20):  # more than there are threads in a worker
        person.call("GET", "/profile")
        ids.append(ask("GET", f"{url('gateway')}{API}/problems").headers["X-Request-ID"])

    for request_id in ids:
        (line,) = until(lambda request_id=request_id: finished("gateway", request_id), "a line about it")
        assert "account_id" not in line


@pytest.mark.parametrize("role", ["gateway", "auth", "images", "console"])
def test_every_line_of_a_log_is_json_with_level_time_and_event(role: str) -> None:
    lines = [json.loads(line) for line in log_of(role).read_text().splitlines()]

    assert lines
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)


# what no log may hold


class Secrets:
    """Values that belong to somebody, each of them unlike anything else that is in the logs."""

    def __init__(self) -> None:
        self.person = Person.new(f"Nomen{secrets.token_hex(6)}")
        self.person.email = f"leak{secrets.token_hex(8)}@example.org"
        self.person.password = f"Leak{secrets.token_urlsafe(14)}"
        self.wrong_password = f"Wrong{secrets.token_urlsafe(14)}"
        self.new_password = f"New{secrets.token_urlsafe(14)}"
        self.new_email = f"fresh{secrets.token_hex(8)}@example.net"
        self.file_name = f"holiday{secrets.token_hex(6)}"
        self.values: dict[str, str] = {
            "name": self.person.name,
            "email": self.person.email.partition("@")[0],
            "new email": self.new_email.partition("@")[0],
            "password": self.person.password,
            "wrong password": self.wrong_password,
            "new password": self.new_password,
            "file name": self.file_name,
        }

    def keep_tokens(self, kind: str, tokens: Mapping[str, Any]) -> None:
        """The whole of a refresh token, and the signature of an access token: the part that makes it one."""
        self.values[f"{kind} refresh token"] = tokens["refresh_token"]
        self.values[f"{kind} access token"] = tokens["access_token"].rpartition(".")[2]
        self.values[f"payload of the {kind} access token"] = tokens["access_token"].split(".")[1]

    def found_in(self, text: str) -> list[str]:
        """The names of those that the text has, as they are or encoded as in an address or a header."""
        return [
            name
            for name, value in self.values.items()
            if any(form in text for form in {value, quote(value), base64.b64encode(value.encode()).decode()})
        ]


class Portal:
    """A browser without a screen: keeps cookies and sends the token of the form."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))

    def post(self, path: str, fields: Mapping[str, str]) -> str:
        """Opens the page, fills in its form and sends it; returns the page that comes of it."""
        page = self.get(path)
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        return self._open(path, urlencode({"csrfmiddlewaretoken": token[1]} | dict(fields)).encode())

    def get(self, path: str) -> str:
        return self._open(path)

    def _open(self, path: str, body: bytes | None = None) -> str:
        base = url("console") if path.startswith("/login/") else url("gateway")
        request = Request(base + path, body, {"Referer": base + path})  # noqa: S310 - our own loopback address
        self._opener.addheaders = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")]
        try:
            with self._opener.open(request, timeout=15) as response:
                return str(response.read().decode())
        except OSError as error:  # an error's status is not what this test is about
            return str(getattr(error, "read", bytes)().decode())


def use_the_api(kept: Secrets) -> None:
    """The ordinary life of an account, with the mistakes that people make."""
    person = kept.person
    api = f"{url('gateway')}{API}"
    image = (f"{kept.file_name}.png", picture())
    person.register(picture())
    taken = {"name": person.name, "email": person.email.upper(), "password": person.password}
    assert ask("POST", f"{api}/register", json=taken).status == 409
    wrong = {"email": person.email, "password": kept.wrong_password}
    assert ask("POST", f"{api}/login", json=wrong).status == 401
    person.sign_in()
    kept.keep_tokens("first", {"access_token": person.access_token, "refresh_token": person.refresh_token})
    refreshed = ask("POST", f"{api}/refresh", json={"refresh_token": person.refresh_token})
    assert refreshed.status == 200
    kept.keep_tokens("second", refreshed.json)
    person.access_token, person.refresh_token = refreshed.json["access_token"], refreshed.json["refresh_token"]
    assert person.call("GET", "/profile").status == 200
    stored = person.call("POST", "/images", form={"image": image})
    assert stored.status == 201
    kept.values["address of an image"] = stored.json["id"]
    for address in ("url", "avatar_url", "card_url"):
        assert ask("GET", stored.json[address]).status == 200
        assert ask("GET", stored.json[address] + "x").status == 404
    assert person.call("GET", f"/images/{stored.json['id']}").status == 200
    assert person.call("PUT", "/profile/image", json={"image_id": stored.json["id"]}).status == 200
    assert person.call("DELETE", f"/images/{stored.json['id']}").status == 204
    assert person.call("POST", "/images", form={"image": (image[0], kept.person.password.encode())}).status == 422
    change = {"email": kept.new_email, "current_password": kept.wrong_password}
    assert person.call("PATCH", "/profile", json=change).status == 422
    change = {"email": kept.new_email, "current_password": person.password}
    assert person.call("PATCH", "/profile", json=change).status == 200
    passwords = {"current_password": kept.wrong_password, "new_password": kept.new_password}
    assert person.call("POST", "/password", json=passwords).status == 422
    passwords["current_password"] = person.password
    assert person.call("POST", "/password", json=passwords).status == 204


def use_the_portal(kept: Secrets) -> None:
    portal = Portal()
    email = f"other-{kept.new_email}"
    registration = {"name": kept.person.name, "email": email, "password": kept.person.password}
    assert "Welcome" in portal.post("/register", registration)
    cookies = {cookie.name: cookie.value for cookie in portal.cookies}
    kept.values["cookie"] = str(cookies["seawall-sign-in"]).rpartition(":")[2]
    assert kept.person.name in portal.get("/profile")
    assert "Error" in Portal().post("/register", registration)
    assert "Error" in Portal().post("/sign-in", {"email": email, "password": kept.wrong_password})
    passwords = {"current_password": kept.wrong_password, "new_password": kept.new_password}
    assert "Error" in portal.post("/password", passwords)
    assert "Error" in portal.post("/profile", {"name": kept.person.name, "email": kept.person.email})
    assert "Error" in portal.post("/close-account", {"email": kept.person.email})
    assert "closed" in portal.post("/close-account", {"email": email})
    Portal().post("/login/", {"username": kept.person.email, "password": kept.person.password})


def odd_requests(kept: Secrets) -> Iterator[int]:
    """Secrets where nobody expects them; yields the statuses of the answers."""
    person, api, portal = kept.person, f"{url('gateway')}{API}", url("gateway")
    email, password, token = person.email, person.password, person.access_token
    query = urlencode({"email": email, "password": password, "access_token": token, "next": f"/{password}"})
    for base in (f"{portal}/sign-in", f"{portal}/register", f"{api}/login", f"{api}/images", f"{portal}/images"):
        yield ask("GET", f"{base}?{query}").status
    for value in (email, password, token, person.refresh_token):
        for base in (portal, api, f"{api}/images", f"{portal}/images", f"{url('files')}/uploads", url("console")):
            yield ask("GET", f"{base}/{quote(value)}").status
        yield ask("GET", f"{portal}/sign-in", headers={"User-Agent": value, "Referer": f"{portal}/?{value}"}).status
        yield ask("GET", f"{api}/profile", headers={"Authorization": value}).status
        yield ask("GET", f"{api}/profile", headers={"Authorization": f"Bearer {value}x"}).status
        cookies = "; ".join(f"{name}={value}" for name in ("seawall-sign-in", "seawall", "csrf"))
        yield ask("GET", f"{portal}/images", headers={"Cookie": cookies}).status
        yield ask("GET", f"{portal}/images", headers={"X-Forwarded-For": value, "Accept-Language": value}).status
        yield ask("POST", f"{portal}/sign-in", body=value.encode()).status
        yield person.call("GET", f"/images?{urlencode({'cursor': value, 'limit': value})}").status
        yield person.call("DELETE", f"/sessions/{quote(value)}").status
        yield person.call("PUT", "/profile/image", json={"image_id": value}).status
        yield person.call("POST", "/images", form={value: value}).status
        yield ask("POST", f"{api}/refresh", json={"refresh_token": value}).status
        yield ask("POST", f"{api}/login", json={"email": value, "password": [value]}).status
        yield ask("POST", f"{api}/login", json=[value]).status
        yield ask(
            "POST", f"{api}/register", json={"name": value * 50, "email": value, "password": {value: value}}
        ).status
    basic = base64.b64encode(f"{email}:{password}".encode()).decode()
    yield ask("GET", f"{api}/profile", headers={"Authorization": f"Basic {basic}"}).status
    json_type = {"Content-Type": "application/json"}
    for broken in (
        f'{{"email": "{email}", "password": "{password}"',
        f'{{"email": "{email}", "password": "{password}",}}',
        f'{{"email": "{email}", "password": "{password}\\ud800"}}',
        f'{{"email": "{email}\\u0000", "password": "{password}\\u0000"}}',
        f"email={email}&password={password}",
    ):
        yield ask("POST", f"{api}/login", body=broken.encode(), headers=json_type).status
    yield ask(
        "POST", f"{api}/login", body=f'{{"password": "{password}\xff"}}'.encode("latin-1"), headers=json_type
    ).status
    yield ask(
        "POST", f"{api}/login", body=b"{}", headers={"Content-Type": f"application/json; charset={password}"}
    ).status
    yield ask("POST", f"{api}/login", body=b"{}", headers={"Content-Type": f"text/{password}"}).status
    boundary = {"Content-Type": f"multipart/form-data; boundary={password}"}
    yield ask("POST", f"{api}/register", body=f"--{password}\r\nbroken {email}".encode(), headers=boundary).status
    yield ask("POST", f"{portal}/register", body=f"--{password}\r\nbroken {email}".encode(), headers=boundary).status


def not_quite_http(kept: Secrets) -> None:
    """Requests that no server can read, such as an address with a space that somebody did not encode."""
    email, password = kept.person.email, kept.person.password
    for role in ROLES:
        for raw in (
            f"GET /sign-in?email={email}&password={password} and more HTTP/1.1\r\n\r\n",
            f"GET /?password={password} HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
            f"{password} {email}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{password}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX y: {password} {email}\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {password}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: {password}\r\n\r\n",
            f"GET /{'x' * 9000}?password={password} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {'x' * 9000}{password}\r\n\r\n",
        ):
            for address in (url(role), management_url(role)):
                with socket.create_connection(("127.0.0.1", port_of(address)), timeout=5) as client:
                    client.sendall(raw.encode())
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass


def test_no_log_ever_has_a_password_a_token_an_email_address_or_the_name_of_an_image() -> None:
    kept = Secrets()
    use_the_api(kept)
    use_the_portal(kept)
    statuses = list(odd_requests(kept))
    not_quite_http(kept)
    # Whoever is asked last has written everything down by the time of the answer.
    last = secrets.token_hex(12)
    kept.person.call("GET", "/profile", headers={"X-Request-ID": last})
    for role in ("gateway", "auth", "images"):
        until(lambda role=role: finished(role, last), f"the last request in the log of {role}")

    logs = {path.name: path.read_text(errors="replace") for path in (state() / "logs").iterdir()}
    assert {f"{role}.log" for role in (*ROLES, "postgres")} <= logs.keys()
    leaks = {
        name: [(secret, line) for line in text.splitlines() for secret in kept.found_in(line)]
        for name, text in logs.items()
        if kept.found_in(text)
    }
    assert leaks == {}
    assert [status for status in statuses if status >= 500] == []
