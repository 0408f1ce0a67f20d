"""Make the secret files of an overlay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.cluster.overlay import NoOverlay
from ops.cluster.secrets import complete
from ops.errors import OperatorError
from ops.progress import PlainProgress


class Command(BaseCommand):
    """`manage.py secrets OVERLAY`. Exit status 0 when every secret is there, 1 when not, 2 for a wrong call."""

    help = "Make the secrets of a kustomize overlay: random values for what is missing; what exists stays as it is."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("overlay", type=Path, metavar="OVERLAY", help="such as kustomize/overlays/minikube")

    def handle(self, *args: Any, **options: Any) -> None:
        """Complete the files, and say what was done with each."""
        overlay: Path = options["overlay"]
        try:
            files = complete(overlay)
        except NoOverlay as error:
            raise CommandError(str(error), returncode=2) from error
        except OperatorError as error:
            raise CommandError(str(error)) from error
        say = PlainProgress().say  # which nobody has to read: the files are written
        for file in files:
            if not file.added:
                say(f"{file.path}: complete, nothing changed")
            elif file.is_new:
                say(f"{file.path}: made, with {', '.join(file.added)}")
            else:
                say(f"{file.path}: added {', '.join(file.added)}")
        if any(file.added for file in files):
            say(
                f"{files[0].path.parent} is the only copy of these values, and git ignores it in "
                "kustomize/overlays/*: keep a backup of it beside those of the data."
            )
