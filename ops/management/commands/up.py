"""Run the whole system on this machine in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.errors import OperatorError
from ops.layout import (
    CONSOLE,
    DEFAULT_PORT_BASE,
    FILES,
    GATEWAY,
    HIGHEST_PORT_BASE,
    POSTGRES,
    PROJECT,
    ROLES,
    Ports,
    Role,
    State,
)
from ops.progress import progress_for_stdout
from ops.secrets import DatabaseUrls
from ops.supervisor import Options, Supervisor


class Command(BaseCommand):
    """`manage.py up`. Exit status 0 when it was asked to stop, 1 when it could not come up."""

    help = "Run every role on this machine, in the foreground, until Ctrl-C. Data stays in the state folder."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port-base",
            type=_port_base,
            default=DEFAULT_PORT_BASE,
            metavar="N",
            help="first of the ports (default: %(default)s): N to N+4, N+432, N+1000 to N+1004",
        )
        parser.add_argument(
            "--only",
            nargs="+",
            choices=list(ROLES),
            metavar="ROLE",
            help=f"run only these ({', '.join(ROLES)}); what needs a database brings postgres along",
        )
        parser.add_argument("--state", metavar="DIR", help="the state folder (default: SEAWALL_STATE or .seawall)")
        parser.add_argument(
            "--postgres",
            choices=["embedded", "system", "url"],
            default="embedded",
            help="the PostgreSQL that make installs, one that this machine has, or databases that run already",
        )
        parser.add_argument(
            "--chores-every",
            type=_minutes,
            default=60.0,
            metavar="MINUTES",
            help="how often what is due is done: signing keys led on, old sessions and audit events deleted; 0 for "
            "never (default: 60)",
        )
        for name in ("auth", "images"):
            parser.add_argument(
                f"--{name}-database-url",
                metavar="URL",
                default=os.environ.get(f"{name.upper()}_DATABASE_URL"),
                help=f"with --postgres url: postgres://user:password@host:port/name, or {name.upper()}_DATABASE_URL "
                "in the environment, where other users of the machine cannot see it",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal."""
        state = State.at(options["state"]) if options["state"] else State.default()
        ports = Ports(options["port_base"])
        databases = _databases(options)
        roles = _roles(options["only"], own_postgres=databases is None)
        supervisor = Supervisor(
            Options(
                state=state,
                ports=ports,
                roles=roles,
                postgres=options["postgres"],
                databases=databases,
                chores_every=options["chores_every"] * 60,
            ),
            progress_for_stdout(),
        )
        try:
            asyncio.run(supervisor.run(lambda: welcome(state, ports, roles)))
        except OperatorError as error:
            raise CommandError(str(error)) from error


def welcome(state: State, ports: Ports, roles: tuple[Role, ...]) -> str:
    """The one screen that says where everything is."""
    portal = ports.url(GATEWAY)
    where = [
        (GATEWAY, "Portal", f"{portal}/"),
        (GATEWAY, "API", f"{portal}/api/v1/docs"),
        (CONSOLE, "Console", f"{ports.url(CONSOLE)}/"),
        (FILES, "Files", f"{ports.url(FILES)}/uploads/…"),
        (POSTGRES, "PostgreSQL", f"127.0.0.1:{ports.application(POSTGRES)}"),
    ]
    hint = "" if state == State.at(PROJECT / ".seawall") else f" --state {state.root}"
    manage = ".venv/bin/python manage.py"
    lines = ["", "Seawall is running.", ""]
    lines += [f"  {name:<12}{address}" for role, name, address in where if role in roles]
    lines += [
        f"  {'Logs':<12}{state.root / 'logs'}, or {manage} logs {roles[-1].name} -f{hint}",
        "",
        f"  {'Status':<12}{manage} status{hint}",
    ]
    if CONSOLE in roles:
        prefix = f"SEAWALL_STATE={state.root} " if hint else ""
        lines.append(f"  {'First staff':<12}{prefix}{manage} createsuperuser")
    example = POSTGRES.name if POSTGRES in roles else roles[0].name
    lines += [
        f"  {'Break it':<12}{manage} stop {example}{hint}   (and: start {example})",
        f"  {'Stop':<12}Ctrl-C",
        "",
    ]
    return "\n".join(lines)


def _roles(only: list[str] | None, *, own_postgres: bool) -> tuple[Role, ...]:
    roles = [role for name, role in ROLES.items() if not only or name in only]
    if not own_postgres:
        if only and POSTGRES.name in only:
            raise CommandError("--postgres url means that no PostgreSQL is started: leave postgres out of --only.")
        return tuple(role for role in roles if role != POSTGRES)
    if POSTGRES not in roles and any(role.needs_database for role in roles):
        roles.insert(0, POSTGRES)
    return tuple(roles)


def _databases(options: dict[str, Any]) -> DatabaseUrls | None:
    urls = {name: cast("str | None", options[f"{name}_database_url"]) for name in ("auth", "images")}
    if options["postgres"] != "url":
        return None
    missing = [f"--{name}-database-url" for name, url in urls.items() if not url]
    if missing:
        raise CommandError(f"--postgres url needs {' and '.join(missing)}: postgres://user:password@host:port/name")
    return DatabaseUrls(auth=urls["auth"] or "", images=urls["images"] or "")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= minutes <= 7 * 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {7 * 24 * 60}, the minutes of a week")
    return minutes


def _port_base(text: str) -> int:
    try:
        base = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 1024 <= base <= HIGHEST_PORT_BASE:
        raise argparse.ArgumentTypeError(f"{base} is not between 1024 and {HIGHEST_PORT_BASE}")
    return base
