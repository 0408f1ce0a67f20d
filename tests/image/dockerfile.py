"""The Dockerfile as its stages, and what each target gets from them: files of the project, and locks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = PROJECT / "Dockerfile"
IGNORED = PROJECT / ".dockerignore"
TARGETS = ("gateway", "auth", "images", "console")
LEFT_BY_TOOLS = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".hypothesis", "node_modules"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, its options (`--from=…` as from: …) and the rest of its line."""

    word: str
    options: dict[str, str]
    rest: str


@dataclass
class Stage:
    """A stage, by its name: what it stands on (another stage's name, or an image) and its instructions in order."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.word == word]


@dataclass(frozen=True)
class Dockerfile:
    """Arguments that stand before the first stage, with their defaults, and the stages."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    def lineage(self, name: str) -> list[Stage]:
        """The stage, and those it stands on, the last of them on an image."""
        found = [self.stages[name]]
        while found[-1].base in self.stages:
            found.append(self.stages[found[-1].base])
        return found

    def sources(self, target: str) -> list[Stage]:
        """The stages that a target takes files from, with what those stand on."""
        copied = [copy.options["from"] for stage in self.lineage(target) for copy in stage.all("COPY")]
        return [stage for name in dict.fromkeys(copied) for stage in self.lineage(name)]

    def code(self, target: str) -> dict[PurePosixPath, Path]:
        """What lies in /seawall of a target, relative to it, and the project's file that it is."""
        files: dict[PurePosixPath, Path] = {}
        for stage in self.sources(target):
            for copy in stage.all("COPY"):
                if "from" in copy.options:
                    continue
                *sources, place = shlex.split(copy.rest)
                if not place.startswith("/"):
                    files |= _placed(sources, place)
        return files

    def locks(self, target: str) -> set[str]:
        """The names of the locks whose packages are installed for a target."""
        copied = [copy.rest for stage in self.sources(target) for copy in stage.all("COPY")]
        return {Path(name).stem for rest in copied for name in re.findall(r"requirements/\S+\.txt", rest)}


@lru_cache
def read(path: Path = DOCKERFILE) -> Dockerfile:
    """The Dockerfile. Raises ValueError for an instruction before the first stage that is not ARG."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in _logical_lines(path.read_text()):
        word, _, rest = line.partition(" ")
        options: dict[str, str] = {}
        while option := re.match(r"--([a-z]+)=(\S+) +", rest):
            options[option[1]] = option[2]
            rest = rest[option.end() :]
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages.setdefault(name, Stage(name, base))
        elif stage is not None:
            stage.instructions.append(Instruction(word, options, rest))
        elif word == "ARG":
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            raise ValueError(f"{word} stands before the first stage")
    return Dockerfile(arguments, stages)


def context() -> set[Path]:
    """The files that a build of the project's folder as it is now would get, relative to it."""
    return {path for path in _files(PROJECT) if is_let_in(path)}


def is_let_in(path: Path) -> bool:
    """Whether .dockerignore lets a file in: its last pattern that fits the file or a folder above it decides."""
    let_in = True
    for line in IGNORED.read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        expression = _expression(pattern.removeprefix("!"))
        if any(expression.fullmatch(str(each)) for each in (path, *path.parents[:-1])):
            let_in = pattern.startswith("!")
    return let_in


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*|\?|\[[^]]*\])", pattern)
    meaning = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(each, each if each.startswith("[") else re.escape(each)) for each in pieces))


def _logical_lines(text: str) -> Iterator[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            yield re.sub(r"\s+", " ", line).strip()


def _placed(sources: list[str], place: str) -> dict[PurePosixPath, Path]:
    """Where COPY puts files that .dockerignore lets in: a folder's contents in the place itself."""
    placed = {}
    for source in sources:
        whole = PROJECT / source
        for path in sorted(_files(whole)) if whole.is_dir() else [Path()]:
            if not is_let_in(Path(source) / path):
                continue
            within = PurePosixPath(place) / (path if whole.is_dir() else whole.name)
            placed[within] = whole / path
    return placed


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in LEFT_BY_TOOLS or path.name.startswith(".seawall"):
            continue
        if path.is_dir():
            yield from (Path(path.name) / inner for inner in _files(path))
        else:
            yield Path(path.name)
