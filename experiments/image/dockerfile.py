"""A Dockerfile as stages of instructions; an unknown instruction is an error, so that none is left out."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

_KNOWN = {
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "RUN",
    "STOPSIGNAL",
    "USER",
    "WORKDIR",
}


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``name text``, with the flags ``--key=value`` in front of the text."""

    name: str
    text: str
    flags: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """The text as words: a JSON list, or those of a shell."""
        return (
            [str(word) for word in json.loads(self.text)]
            if self.text.startswith("[")
            else shlex.split(self.text)
        )


@dataclass
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, name: str) -> Instruction | None:
        found = [one for one in self.instructions if one.name == name]
        return found[-1] if found else None


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """Read a Dockerfile: arguments in front of the first stage with their defaults, and the stages."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for one in _instructions(path.read_text(encoding="utf-8")):
        if one.name == "FROM":
            base, *rest = one.words
            stages.append(Stage(base, rest[1] if rest else ""))
        elif one.name not in _KNOWN:
            raise ValueError(f"{path.name}: {one.name} is not known here")
        elif stages:
            stages[-1].instructions.append(one)
        else:
            name, _, default = one.text.partition("=")
            arguments[name] = default
    return arguments, stages


def filled(text: str, values: Mapping[str, str]) -> str:
    """Fill in ``${NAME}``."""
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


def context(folder: Path) -> list[Path]:
    """Files that ``COPY . .`` takes: .dockerignore's later lines overrule earlier ones."""
    lines = (folder / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _ignored(path.relative_to(folder), rules)
    ]


def _ignored(path: Path, rules: list[str]) -> bool:
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        anywhere = "**/" in rule
        above = [PurePosixPath(*path.parts[:end]) for end in range(1, len(path.parts) + 1)]
        if any(
            fnmatch(part.name if anywhere else str(part), pattern) and (anywhere or "/" not in str(part))
            for part in above
        ):
            ignored = not rule.startswith("!")
    return ignored


def _instructions(text: str) -> list[Instruction]:
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = []
    for line in plain.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        flags = {}
        while match := re.match(r"--([\w-]+)=(\S+)\s+", rest := rest.strip()):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        found.append(Instruction(name.upper(), rest, flags))
    return found
