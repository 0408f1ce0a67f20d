"""The signing keys: look at them, and lead them from state to state."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auth import key_rotation
from auth.key_rotation import Changes, Times
from auth.models import SigningKey

State = SigningKey.State

HELP = """Look at the keys that access tokens are signed with, and lead them from state to state.

Exit status: 0 when everything is as was asked for (also if nothing had to be done), 1 when it was refused or a private
half could not be decrypted, 2 for a wrong call. Every change leaves an audit event."""

NEXT_STATE = {State.NEXT: "may sign from", State.ACTIVE: "due from", State.RETIRING: "retires from"}


class Command(BaseCommand):
    """`manage.py signing_keys`, under the console's settings or auth's. The work is in auth.key_rotation."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command for each step."""
        steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)

        listing = steps.add_parser("list", help="show every key, its state and when that may change")
        listing.add_argument("--json", action="store_true", help="for programs")

        steps.add_parser(
            "maintain",
            help="do what is due: for a job that runs every few minutes; harmless at any time and in parallel",
        )

        rotate = steps.add_parser("rotate", help="let the next key sign now, and the active one retire")
        rotate.add_argument(
            "--now",
            action="store_true",
            help="even if it has not been published for long enough. Costs: verifiers refuse tokens of the new key "
            "until they have fetched it, 2 s at most while they reach auth",
        )

        retire = steps.add_parser("retire", help="withdraw retiring keys of which no token can be valid any more")
        retire.add_argument("kid", nargs="?", metavar="KID", help="this one only")
        retire.add_argument(
            "--now",
            action="store_true",
            help="even if tokens of KID are still valid. Costs: they are refused, and people must refresh",
        )

        revoke = steps.add_parser(
            "revoke",
            help="a key was stolen: withdraw it at once and let another one sign. Access tokens of it are refused "
            "within seconds; sessions go on with their refresh tokens",
        )
        revoke.add_argument("kids", nargs="+", metavar="KID")

        steps.add_parser("reencrypt", help="encrypt every private half with the first of KEY_ENCRYPTION_KEYS")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the step."""
        if options["step"] == "retire" and options["now"] and options["kid"] is None:
            raise CommandError("retire --now needs the KID of one key.", returncode=2)
        try:
            match options["step"]:
                case "list":
                    self._list(as_json=options["json"])
                case "maintain":
                    self._say(key_rotation.maintain())
                case "rotate":
                    self._say(key_rotation.rotate(at_once=options["now"]))
                case "retire":
                    self._say(key_rotation.retire(kid=options["kid"], at_once=options["now"]))
                case "revoke":
                    self._say(key_rotation.revoke(options["kids"]))
                case "reencrypt":
                    self._reencrypt()
        except key_rotation.Refused as refusal:
            raise CommandError(str(refusal)) from None

    def _say(self, changes: Changes) -> None:
        for key in changes.keys:
            self.stdout.write(f"{key.kid} is {key.state} now.")
        if not changes.keys:
            self.stdout.write("Nothing had to be done.")

    def _list(self, *, as_json: bool) -> None:
        times = Times.of_settings()
        keys = sorted(SigningKey.objects.all(), key=_place)
        in_use = key_rotation.encryption_keys_in_use()
        if as_json:
            document = {
                "seconds": {
                    "published": times.published.total_seconds(),
                    "signing": times.signing.total_seconds(),
                    "verifying": times.verifying.total_seconds(),
                },
                "keys": [_described(key, times) for key in keys],
                "encryption_keys": [{"id": name, "private_halves": count} for name, count in in_use.items()],
            }
            self.stdout.write(json.dumps(document, indent=2))
            return
        rows = [("KEY", "STATE", "SINCE", "NEXT", "ENCRYPTED WITH")]
        for key in keys:
            changes_at = times.changes_at(key)
            then = f"{NEXT_STATE[State(key.state)]} {_minute(changes_at)}" if changes_at else "-"
            rows.append((key.kid, key.state, _minute(_since(key)), then, key.encryption_key_id or "-"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _reencrypt(self) -> None:
        result = key_rotation.reencrypt()
        for kid in result.done:
            self.stdout.write(f"{kid} is encrypted with {settings.KEY_ENCRYPTION_KEYS[0].id} now.")
        first, *others = key_rotation.encryption_keys_in_use().items()
        self.stdout.write(f"{first[0]} encrypts {first[1]} private halves.")
        for name, count in others:
            self.stdout.write(
                f"{name} is still needed for {count}." if count else f"{name} is not in use: it may be dropped."
            )
        if result.failed:
            raise CommandError("\n".join(result.failed))


def _described(key: SigningKey, times: Times) -> dict[str, str | None]:
    moments = {
        "created_at": key.created_at,
        "activated_at": key.activated_at,
        "retiring_at": key.retiring_at,
        "retired_at": key.retired_at,
        "changes_at": times.changes_at(key),
    }
    return {
        "kid": key.kid,
        "state": key.state,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
        "encryption_key_id": key.encryption_key_id or None,
    }


def _place(key: SigningKey) -> tuple[int, float]:
    """Keys in the order of their states, the newest of a state first."""
    return State.values.index(key.state), -_since(key).timestamp()


def _since(key: SigningKey) -> dt.datetime:
    return key.retired_at or key.retiring_at or key.activated_at or key.created_at


def _minute(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
