"""Compares answers with the OpenAPI document: status, media type, headers and body must be as it promises."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs


class Contract:
    """The OpenAPI document, as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document: dict[str, Any] = json.loads(json.dumps(document, default=str))
        self._patterns = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), template) for template in self.document["paths"]
        ]

    def operations(self) -> dict[str, dict[str, Any]]:
        """Every operation by its label, such as `GET /profile`."""
        return {
            f"{method.upper()} {path}": operation
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        }

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """The operation that a path without prefix and query belongs to; None if the document has none."""
        for pattern, template in self._patterns:
            if pattern.fullmatch(path):
                operation: dict[str, Any] | None = self.document["paths"][template].get(method.lower())
                return operation
        return None

    def judge(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raises AssertionError where the answer is not what the document promises."""
        operation = self.operation(method, path)
        if operation is None:
            return
        where = f"{method} {path} answered {status}"
        assert str(status) in operation["responses"], f"{where}, which is not documented: {body[:300]!r}"
        response = operation["responses"][str(status)]
        for name, reference in response.get("headers", {}).items():
            header = self.resolve(reference)
            if name not in headers:
                assert not header.get("required"), f"{where} without the header {name}"
                continue
            value: Any = headers[name]
            if header["schema"]["type"] == "integer":
                value = int(value)
            self._validator(header["schema"]).validate(value)
        if "content" not in response:
            assert body == b"", f"{where} with a body"
            return
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in response["content"], f"{where} with the media type {media_type}"
        self._validator(response["content"][media_type]["schema"]).validate(json.loads(body))

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        """The component that a reference names; anything else as it is."""
        if "$ref" not in value:
            return value
        _, _, kind, name = value["$ref"].split("/")
        found: dict[str, Any] = self.document["components"][kind][name]
        return found

    def _validator(self, schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
        return jsonschema_rs.Draft202012Validator(
            {**schema, "components": self.document["components"]}, validate_formats=True
        )
