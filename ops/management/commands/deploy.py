"""Put an overlay on a cluster and wait until it is ready."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.cluster.deployment import UNCHANGED, Deployment
from ops.cluster.kubectl import Kubectl
from ops.cluster.overlay import NoOverlay
from ops.cluster.preflight import NoContext
from ops.errors import OperatorError
from ops.layout import PROJECT
from ops.progress import progress_for_stdout

DEFAULT_OVERLAY = PROJECT / "kustomize" / "overlays" / "minikube"
DEFAULT_SECONDS = 600.0
INTERRUPTED = 130


class Command(BaseCommand):
    """`manage.py deploy [OVERLAY] --context NAME`.

    Exit status 0 when everything is ready (with `--check`: when everything that can be known before says that it will
    be taken), 1 when not, 2 for a wrong call, 130 when it was interrupted.
    """

    help = "Check that a cluster can take a kustomize overlay, apply it, and wait until everything is ready."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        usage_error = parser.error
        parser.error = lambda message: usage_error(f"{message}\n{UNCHANGED}")  # type: ignore[method-assign]
        parser.add_argument(
            "overlay",
            type=Path,
            nargs="?",
            default=DEFAULT_OVERLAY,
            metavar="OVERLAY",
            help="such as kustomize/overlays/production (default: kustomize/overlays/minikube)",
        )
        parser.add_argument(
            "--context", required=True, metavar="NAME", help="of your kubectl configuration: which cluster"
        )
        parser.add_argument(
            "--timeout",
            type=_seconds,
            default=DEFAULT_SECONDS,
            metavar="S",
            help="how long everything may take to become ready after it was applied (default: %(default).0f s)",
        )
        parser.add_argument("--check", action="store_true", help="only look whether it would work; change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what has come of it."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        listener = progress_for_stdout()
        deployment: Deployment | None = None
        try:
            deployment = Deployment(Kubectl(options["context"]), options["overlay"], listener)
            if options["check"]:
                deployment.check(options["timeout"])
            else:
                deployment.run(options["timeout"])
        except (NoContext, NoOverlay) as error:
            listener.close()
            raise CommandError(f"{error}\n{UNCHANGED}", returncode=2) from error
        except OperatorError as error:
            listener.close()
            raise CommandError(deployment.account(error) if deployment else f"{error}\n{UNCHANGED}") from error
        except KeyboardInterrupt as error:
            listener.close()
            changed = deployment.changed if deployment else UNCHANGED
            raise CommandError(f"Interrupted. {changed}", returncode=INTERRUPTED) from error
        listener.close()
        if options["check"]:
            listener.say(f"It can be deployed. {UNCHANGED}")
        else:
            listener.say(f"Everything of {options['overlay']} is ready.")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 1 <= seconds <= 24 * 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {24 * 3600}, the seconds of a day")
    return seconds
