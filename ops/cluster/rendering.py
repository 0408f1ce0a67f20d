"""nginx's configuration for the pods of files, from the templates in config/files: `python -m ops.cluster.rendering`.

It is committed, because kustomize runs no program and an operator needs nothing but kubectl.
"""

from __future__ import annotations

from pathlib import Path

from ops.layout import PROJECT
from ops.nginx import FOLDER, render

KUSTOMIZE = PROJECT / "kustomize"

VALUES = {
    "FILES_PORT": "8003",
    "FILES_MANAGEMENT_PORT": "9003",
    "FILES_LISTEN_ADDRESS": "0.0.0.0",  # noqa: S104 - NetworkPolicies say who reaches a pod
    "FILES_METRICS": "/metrics",
    "FILES_TEMP": "/tmp",  # noqa: S108 - a volume of the pod's own
    "FILES_PID": "/tmp/nginx.pid",  # noqa: S108
    # A pod has a tenth of a processor: one worker uses it up.
    "FILES_WORKERS": "1",
    "FILES_HTTPS_HOST": "$host",  # the Ingress passes on its own hosts only, and an overlay may have others
    "FILES_ROOT": "/images",
    "FILES_ORIGIN": "images.app-services.svc:8002",
    "FILES_CACHE": "/cache",
    "FILES_CACHE_SIZE": "1g",
}
"""What the volumes, ports and Services of the manifests are called."""

TARGETS = {"volume": KUSTOMIZE / "base/files/nginx", "origin": KUSTOMIZE / "components/s3/nginx"}
"""Where the three files of each source go."""


def rendered() -> dict[Path, str]:
    """Every file that belongs into the manifests, with its content. Raises NginxError, OSError."""
    files = {}
    for source, folder in TARGETS.items():
        for name in ("nginx.conf", f"{source}.http.conf", f"{source}.location.conf"):
            template = (FOLDER / f"{name}.template").read_text()
            files[folder / name] = render(template, VALUES | {"FILES_SOURCE": source})
    return files


def main() -> None:
    """Write what has changed, and say so."""
    for path, content in rendered().items():
        if path.is_file() and path.read_text() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        print(f"{path.relative_to(PROJECT)} is new.")


if __name__ == "__main__":
    main()
