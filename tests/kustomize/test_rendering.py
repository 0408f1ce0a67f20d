"""nginx's configuration in the manifests is what the templates say, for the volumes and ports that the pods have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ops.cluster.rendering import KUSTOMIZE, TARGETS, VALUES, main, rendered
from ops.nginx import find_nginx


def test_what_is_committed_is_what_the_templates_give() -> None:
    expected = rendered()
    folders = [folder for folder in TARGETS.values() if folder.is_dir()]
    committed = {path: path.read_text() for folder in folders for path in folder.iterdir()}

    assert committed == expected, "run `make manifests`"


def test_every_file_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cluster.rendering.PROJECT", tmp_path)
    monkeypatch.setattr("ops.cluster.rendering.TARGETS", {source: tmp_path / source for source in TARGETS})

    main()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    main()

    assert sorted(path.name for path in written) == sorted(path.name for path in rendered())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")} == written


def test_the_configuration_names_the_ports_and_folders_of_the_pods() -> None:
    deployment = (KUSTOMIZE / "base/files/deployment.yaml").read_text()
    mounted = set(re.findall(r"mountPath: (\S+)", deployment))
    ports = set(re.findall(r"containerPort: (\d+)", deployment))
    environment = dict(line.split("=") for line in (KUSTOMIZE / "base/files/files.env").read_text().split())

    assert {VALUES["FILES_ROOT"], VALUES["FILES_METRICS"], VALUES["FILES_TEMP"]} <= mounted
    assert ports == {VALUES["FILES_PORT"], VALUES["FILES_MANAGEMENT_PORT"]}
    assert environment == {name: VALUES[name] for name in environment}


@pytest.mark.parametrize("source", TARGETS)
def test_nginx_takes_it(source: str, tmp_path: Path) -> None:
    here = {VALUES[name]: tmp_path / name for name in ("FILES_METRICS", "FILES_TEMP", "FILES_ROOT", "FILES_CACHE")}
    for folder in here.values():
        folder.mkdir()
    beginning = re.compile(rf'"({"|".join(map(re.escape, here))})(?=["/])')
    for path, text in rendered().items():
        if path.parent == TARGETS[source]:
            # The pod's folders and the cluster's names are none of this machine's.
            text = beginning.sub(lambda match: f'"{here[match[1]]}', text).replace(
                VALUES["FILES_ORIGIN"], "127.0.0.1:8002"
            )
            (tmp_path / path.name).write_text(text)

    done = subprocess.run(
        [find_nginx(), "-t", "-q", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
