"""Multipart forms, in strict UTF-8 and with a limit on what is kept. (JSON bodies: internal.parsers.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, cast

from django.core.exceptions import (
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParser as DjangoMultipartParser
from django.http.multipartparser import MultiPartParserError
from rest_framework.parsers import BaseParser, DataAndFiles

from internal.problems import Problem, ProblemError, image_fault, unreadable_body
from internal.uploads import BoundedFiles


class MultipartParser(BaseParser):
    """Reads a multipart form (RFC 7578): text fields as a QueryDict, files as uploaded files.

    Django replaces bytes that are not UTF-8; an account whose name lost letters would be the result. So the form is
    read as Latin-1, which loses nothing, and each text is decoded strictly here.

    Raises:
        ProblemError: image_too_large (413) for a file over IMAGE_LIMIT; its body is read to the end all the same,
            because a client that is still sending would not see the answer. payload_too_large (413) when the text
            fields together pass Django's limit, or malformed_request (400).
    """

    media_type = "multipart/form-data"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> DataAndFiles[QueryDict, Any]:
        assert parser_context is not None
        request = parser_context["request"]
        meta = {**request.META, "CONTENT_TYPE": media_type}
        bounded = BoundedFiles()
        handlers = [bounded, *request.upload_handlers]
        try:
            form = DjangoMultipartParser(meta, cast(Any, stream), handlers, "latin-1")
            fields, files = form.parse()
        except UnreadablePostError as error:
            raise ProblemError(unreadable_body(error)) from None
        except (MultiPartParserError, TooManyFieldsSent, TooManyFilesSent):
            raise ProblemError(
                Problem(
                    "malformed_request",
                    "The body is not a complete multipart form of reasonable size.",
                )
            ) from None
        except RequestDataTooBig:
            detail = "The text fields of a form may have 64 KB together."
            raise ProblemError(Problem("payload_too_large", detail)) from None
        if bounded.exceeded:
            for _, uploaded in files.lists():
                for file in uploaded:
                    file.close()  # which removes it
            raise ProblemError(image_fault("image_too_large", "The file is larger than 10 MB. Choose a smaller one."))
        texts = QueryDict(mutable=True)
        try:
            for name, values in fields.lists():
                texts.setlist(_strict(name), [_strict(value) for value in values])
        except UnicodeDecodeError:
            raise ProblemError(Problem("malformed_request", "A text field of the form is not UTF-8 text.")) from None
        return DataAndFiles(texts, files)


def _strict(text: str) -> str:
    return text.encode("latin-1").decode("utf-8")
