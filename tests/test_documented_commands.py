"""Commands in the documents are what the program takes."""

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fused_clip.runner.notebook import compose_options

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CODE = re.compile(
    r"`([^`\n]+)`|^((?:fused-clip|python -m )(?:\\\n|[^\n])+)$", re.MULTILINE
)  # in a line, or a line of its own
RUN = re.compile(r"(?:fused-clip|python -m fused_clip\.run) ")
ADDED = re.compile(r"`('?[a-z_]+[=./][^`\n]*)`")  # words to add to a command
PHOTOS = ["dataset=imagefolder", "dataset.root=photos"]
OTHERS = {
    script.name for script in entry_points(group="console_scripts") if script.name.startswith("fused-clip-")
}
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]+")


def lines_of_code() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        for found in CODE.finditer(path.read_text("utf-8")):
            yield path.name, (found[1] or found[2]).replace("\\\n", " ").strip()


def commands() -> set[tuple[str, str]]:
    return {
        (page, text)
        for page, text in lines_of_code()
        if RUN.match(text) and "…" not in text and not FLAG.search(text)
    }


def additions() -> set[str]:
    rows = (
        line for line in (ROOT / "docs/choose.md").read_text("utf-8").splitlines() if line.startswith("|")
    )
    return {found[1] for row in rows for found in ADDED.finditer(row.rsplit(" | ", 1)[-1])}


def flags() -> set[tuple[str, str]]:
    """Each command but the main one, with each flag that a document gives it."""
    started = ((text.split()[0], text) for _, text in lines_of_code() if text)
    return {(name, flag) for name, text in started if name in OTHERS for flag in FLAG.findall(text)}


def words_of(text: str) -> list[str]:
    """Words of a run; those of a sweep with their first values."""
    words = [word for word in shlex.split(text, comments=True) if word != "-m"]
    return [re.sub(r"^([\w./]+=)([\w.]+),.*", r"\1\2", word) for word in words]


@pytest.mark.parametrize(("page", "text"), sorted(commands()), ids=lambda value: value)
def test_a_command_composes(page: str, text: str) -> None:
    assert compose_options(*words_of(RUN.sub("", text, count=1)))


@pytest.mark.parametrize("text", sorted(additions()))
def test_words_to_add_compose(text: str) -> None:
    words = words_of(text)
    assert compose_options(*([] if words[0].startswith("dataset=") else PHOTOS), *words)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_flags_are_those_of_the_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = entry_points(group="console_scripts", name=name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        script.load()()
    assert {flag for owner, flag in flags() if owner == name} <= set(FLAG.findall(capsys.readouterr().out))


def test_there_are_commands() -> None:
    assert len(commands()) > 30
    assert len(additions()) > 20
    assert len(flags()) > 10
