"""Rows of models, written and found by statements that are put together once.

Django compiles each INSERT and SELECT anew, which takes some 0.4 ms of CPU: for the statements of a sign-in together a
tenth of what its hash takes. Here a model's columns are looked up once for a process. Meant for the few statements that
every sign-in carries out; no signal is sent and `save` is not called, so a model that needs either must not come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connections, models, router

Row = TypeVar("Row", bound=models.Model)


def insert(row: Row) -> Row:
    """Inserts the row, with its fields as they are; a primary key that the database gives is set on it.

    Raises:
        IntegrityError: a constraint forbids it.
    """
    statement, fields, generated = _insert_statement(type(row))
    using = router.db_for_write(type(row))
    with connections[using].cursor() as cursor:
        cursor.execute(
            statement,
            [field.get_db_prep_save(field.pre_save(row, add=True), cursor.db) for field in fields],
        )
        if generated is not None:
            setattr(row, generated, cursor.fetchone()[0])
    row._state.adding, row._state.db = False, using
    return row


def first(model: type[Row], condition: str, parameters: Sequence[Any]) -> Row | None:
    """The row of the table for which the condition holds; any one of them, or None.

    Args:
        model: whose row.
        condition: SQL of ours, with %s for each of the parameters; never made of input.
        parameters: the values.
    """
    select, names, converters = _select_statement(model)
    using = router.db_for_read(model)
    with connections[using].cursor() as cursor:
        cursor.execute(f"{select} WHERE {condition} LIMIT 1", parameters)
        found = cursor.fetchone()
        if found is None:
            return None
        values = list(found)
        for position, convert in converters:
            values[position] = convert(values[position], None, cursor.db)
    return model.from_db(using, names, values)


@cache
def _insert_statement(model: type[models.Model]) -> tuple[str, tuple[Any, ...], str | None]:
    fields = tuple(field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField))
    columns = ", ".join(f'"{field.column}"' for field in fields)
    places = ", ".join(["%s"] * len(fields))
    statement = f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({places})'  # noqa: S608 - names of ours
    key = model._meta.pk
    if not isinstance(key, models.AutoField):
        return statement, fields, None
    return f'{statement} RETURNING "{key.column}"', fields, key.attname


@cache
def _select_statement(model: type[models.Model]) -> tuple[str, tuple[str, ...], tuple[tuple[int, Any], ...]]:
    fields: list[Any] = list(model._meta.local_concrete_fields)
    columns = ", ".join(f'"{field.column}"' for field in fields)
    converters = tuple(
        (position, field.from_db_value) for position, field in enumerate(fields) if hasattr(field, "from_db_value")
    )
    statement = f'SELECT {columns} FROM "{model._meta.db_table}"'  # noqa: S608 - names of ours
    return statement, tuple(field.attname for field in fields), converters
