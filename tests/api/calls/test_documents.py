"""The OpenAPI document, the page to try it, and the list of problems."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import yaml
from django.contrib.staticfiles import finders
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from internal.problems import CATALOGUE
from tests.api.contract import Contract

DESIGN = {
    "POST /register",
    "POST /login",
    "POST /refresh",
    "POST /logout",
    "GET /profile",
    "PATCH /profile",
    "DELETE /profile",
    "PUT /profile/image",
    "DELETE /profile/image",
    "POST /password",
    "GET /sessions",
    "DELETE /sessions/{id}",
    "GET /images",
    "POST /images",
    "GET /images/{id}",
    "DELETE /images/{id}",
}
OPEN = {"POST /register", "POST /login", "POST /refresh", "POST /logout"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"}:
            self.inline += data.strip()


# --- the document ---


def test_the_document_is_valid_openapi_3_1(contract: Contract) -> None:
    assert contract.document["openapi"].startswith("3.1")
    validate_schema(contract.document)


def test_the_document_can_be_loaded_by_a_tool_that_tests_with_it(contract: Contract) -> None:
    schema = schemathesis.openapi.from_dict(contract.document)

    assert len([result.ok() for result in schema.get_all_operations()]) == len(DESIGN)


def test_the_document_is_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    GENERATOR_STATS.reset()
    SchemaGenerator().get_schema(request=None, public=True)

    assert not GENERATOR_STATS, capsys.readouterr().err


def test_the_operations_are_exactly_those_of_the_design(contract: Contract) -> None:
    labels = {re.sub(r"\{\w+_id\}", "{id}", label) for label in contract.operations()}

    assert labels == DESIGN


def test_every_operation_says_what_it_is(contract: Contract) -> None:
    operations = contract.operations().values()
    tags = {tag["name"] for tag in contract.document["tags"]}

    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert all(len(operation["tags"]) == 1 and operation["tags"][0] in tags for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_operation_needs_a_token_except_those_that_yield_one(contract: Contract) -> None:
    for label, operation in contract.operations().items():
        assert operation.get("security", []) == ([] if label in OPEN else [{"bearer": []}]), label
    assert contract.document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_operation_documents_its_errors_as_problems(contract: Contract) -> None:
    for label, operation in contract.operations().items():
        responses = operation["responses"]
        expected = {"406", "500", "503"} | (set() if label in OPEN else {"401"})
        if "requestBody" in operation:
            expected |= {"400", "411", "413", "415", "422"}
        assert expected <= set(responses), label
        for status, response in responses.items():
            assert response["description"], label
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


def test_every_example_is_an_example_of_its_schema(contract: Contract) -> None:
    seen = 0
    for operation in contract.operations().values():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (content for body in bodies for content in body.get("content", {}).values()):
            for example in content.get("examples", {}).values():
                seen += 1
                validator = jsonschema_rs.Draft202012Validator(
                    {**content["schema"], "components": contract.document["components"]}, validate_formats=True
                )
                validator.validate(contract.resolve(example)["value"])
    assert seen > 100


def test_every_code_of_an_example_has_its_own_status(contract: Contract) -> None:
    for operation in contract.operations().values():
        for status, response in operation["responses"].items():
            problems = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
            codes = [contract.resolve(example)["value"]["code"] for example in problems.values()]
            assert all(str(CATALOGUE[code][0]) == status for code in codes)


def test_inputs_have_their_limits(contract: Contract) -> None:
    schemas = contract.document["components"]["schemas"]
    registration = schemas["Registration"]["properties"]

    assert registration["name"]["maxLength"] == 100
    assert registration["email"] | {"description": ""} == {
        "type": "string",
        "format": "email",
        "maxLength": 254,
        "description": "",
    }
    assert (registration["password"]["minLength"], registration["password"]["maxLength"]) == (8, 1024)
    assert schemas["ImageUpload"]["properties"]["image"]["format"] == "binary"


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "*/*", "application/json"),
        ("", "application/json", "application/json"),
        ("", "application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
        ("", "application/yaml", "application/yaml"),
        ("", "application/vnd.oai.openapi", "application/vnd.oai.openapi"),
        ("?format=json", "*/*", "application/json"),
        ("?format=yaml", "*/*", "application/yaml"),
    ],
)
def test_the_document_comes_as_json_and_as_yaml(contract: Contract, query: str, accept: str, kind: str) -> None:
    response = Client().get(f"/api/v1/schema{query}", headers={"Accept": accept})

    assert response.status_code == 200
    assert response["Content-Type"].partition(";")[0] == kind
    assert response["Cache-Control"] == "public, max-age=300"
    assert response["Vary"] == "Accept"
    read: Any = yaml.safe_load if "json" not in kind else json.loads
    assert json.loads(json.dumps(read(response.content), default=str)) == contract.document


def test_the_document_in_another_form_is_not_to_be_had() -> None:
    response = Client().get("/api/v1/schema", headers={"Accept": "text/csv"})

    assert response.status_code == 406
    assert response.json()["code"] == "not_acceptable"


# --- the pages ---


@pytest.mark.parametrize(
    ("path", "accept"), [("/api/v1/docs", "text/html"), ("/api/v1/problems", "text/html,*/*;q=0.8")]
)
def test_a_page_has_nothing_inline_and_nothing_from_elsewhere(path: str, accept: str) -> None:
    response = Client().get(path, headers={"Accept": accept})
    page = Page(response.content.decode())

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    assert page.inline == ""
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for address in (attributes.get("src"), attributes.get("href")):
            assert address is None or address.startswith("/"), address
            if address and address.startswith("/static/"):
                assert finders.find(address.removeprefix("/static/")), address
    policy = response["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy


def test_the_docs_page_names_the_document() -> None:
    page = Page(Client().get("/api/v1/docs").content.decode())

    assert ("div", {"id": "swagger-ui", "data-schema-url": "/api/v1/schema"}) in page.elements


def test_the_script_of_the_docs_page_leaves_nothing_behind_and_asks_nobody_else() -> None:
    script = Path(str(finders.find("api/docs.js"))).read_text()

    assert "persistAuthorization: false" in script
    assert "validatorUrl: null" in script
    assert "http" not in script


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_docs_page_is_only_for_reading(method: str) -> None:
    assert getattr(Client(), method)("/api/v1/docs").status_code == 405


def test_every_problem_has_its_place_on_the_page() -> None:
    page = Page(Client().get("/api/v1/problems", headers={"Accept": "text/html"}).content.decode())

    assert {attributes.get("id") for tag, attributes in page.elements if tag == "tr"} - {None} == set(CATALOGUE)
