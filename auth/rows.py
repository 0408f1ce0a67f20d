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
    values = _first_values(model, f"{_select_statement(model)} WHERE {condition} LIMIT 1", parameters)
    return None if values is None else _row(model, values)


def first_with(model: type[Row], parent: str, condition: str, parameters: Sequence[Any]) -> Row | None:
    """As `first`, with the row that the foreign key `parent` leads to; a row without it is not found.

    Args:
        model: whose row.
        parent: the name of a foreign key of the model.
        condition: as for `first`; columns that both tables have are written table.column.
        parameters: the values.
    """
    values = _first_values(model, f"{_select_statement(model, parent)} WHERE {condition} LIMIT 1", parameters)
    if values is None:
        return None
    own = len(model._meta.local_concrete_fields)
    row = _row(model, values[:own])
    setattr(row, parent, _row(_parent_of(model, parent), values[own:]))
    return row


def _first_values(model: type[models.Model], statement: str, parameters: Sequence[Any]) -> list[Any] | None:
    with connections[router.db_for_read(model)].cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchone()
    return None if found is None else list(found)


def _row(model: type[Row], values: list[Any]) -> Row:
    using = router.db_for_read(model)
    names, converters = _columns(model)
    for position, convert in converters:
        values[position] = convert(values[position], None, connections[using])
    return model.from_db(using, names, values)


def _parent_of(model: type[models.Model], parent: str) -> type[models.Model]:
    related = model._meta.get_field(parent).related_model
    assert isinstance(related, type)
    return related


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
def _select_statement(model: type[models.Model], parent: str | None = None) -> str:
    table = model._meta.db_table
    columns = [f'"{table}"."{field.column}"' for field in model._meta.local_concrete_fields]
    if parent is None:
        return f'SELECT {", ".join(columns)} FROM "{table}"'  # noqa: S608 - names of ours
    other = _parent_of(model, parent)._meta
    columns += [f'"{other.db_table}"."{field.column}"' for field in other.local_concrete_fields]
    foreign, key = model._meta.get_field(parent).column, other.pk.column  # type: ignore[union-attr]
    tables = f'"{table}" JOIN "{other.db_table}" ON "{table}"."{foreign}" = "{other.db_table}"."{key}"'
    return f"SELECT {', '.join(columns)} FROM {tables}"  # noqa: S608 - names of ours


@cache
def _columns(model: type[models.Model]) -> tuple[tuple[str, ...], tuple[tuple[int, Any], ...]]:
    """Names of the attributes, and what has to be converted by which function."""
    fields: list[Any] = list(model._meta.local_concrete_fields)
    converters = tuple(
        (position, field.from_db_value) for position, field in enumerate(fields) if hasattr(field, "from_db_value")
    )
    return tuple(field.attname for field in fields), converters
