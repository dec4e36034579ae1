"""Overview of the documents for language models, in the format of https://llmstxt.org."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from fused_clip.support.errors import InputError

NAME = "llms.txt"
_SECTIONS = {"docs": "Documents", "experiments": "Studies", "": "Optional"}
_AT_THE_ROOT = {"README.md": "Documents", "CHANGELOG.md": "Optional", "CONTRIBUTING.md": "Optional"}
_LINKED = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE = re.compile(r"(?<=[.:?])(?<!Jr\.)\s")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LABEL = "**Question.** "  # of a study
_NOT_PROSE = ("|", "<", "#", "!", "-", ">", "$$")
_INTRODUCTION = """\
`fused-clip` is the command of a run and of a sweep. Every option is a Hydra override, such as
`dataset=cifar10`; docs/options.md lists them. docs/python.md has the Python interface."""


def overview(root: Path, documents: Iterable[Path]) -> str:
    """Return the text of ``llms.txt``: title, summary, and a link with one line to each document.

    Parameters
    ----------
    root : folder of the repository.
    documents : Markdown files below it.

    Raises
    ------
    InputError
        If a document has no title.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sections: dict[str, list[str]] = {}
    for path in documents:
        name = path.relative_to(root)
        if section := _section(name):
            sections.setdefault(section, []).append(_entry(name, path.read_text(encoding="utf-8")))
    lines = [f"# {project['name']}", "", f"> {project['description']}", "", _INTRODUCTION]
    order = [title for title in _SECTIONS.values() if title != "Optional"]
    others = sorted(sections.keys() - set(_SECTIONS.values()))
    for title in (*order[:1], *others, *order[1:], "Optional"):  # readers may skip the last
        lines += ["", f"## {title}", "", *sections.get(title, [])] if title in sections else []
    return "\n".join(lines) + "\n"


def _section(name: Path) -> str | None:
    """Section of a document; a folder of documents has a section of its own."""
    if name.parts[0] == "docs" and len(name.parts) > 2:
        return name.parts[1].replace("-", " ").replace("_", " ").capitalize()
    if name.parts[0] == "experiments" and name.name != "README.md":
        return None
    if len(name.parts) == 1:
        return _AT_THE_ROOT.get(name.name)
    return _SECTIONS.get(name.parts[0], "Optional")


def _entry(name: Path, text: str) -> str:
    titles = re.findall(r"^# (.+)$", _CODE.sub("", text), re.MULTILINE)
    if not titles:
        raise InputError(name.as_posix(), "needs a title: a line that starts with #")
    return f"- [{titles[0]}]({name.as_posix()}): {_line(text)}"


def _line(text: str) -> str:
    """First sentence of the introduction, and the headings."""
    text = _CODE.sub("", text)
    start, *_ = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)
    prose = [block for block in re.split(r"\n\s*\n", start) if not block.strip().startswith(_NOT_PROSE)]
    plain = " ".join(_LINKED.sub(r"\1", prose[0].replace(_LABEL, "")).split()) if any(prose) else ""
    sentence = _SENTENCE.split(plain, maxsplit=1)[0].rstrip(".:?")
    headings = "; ".join(re.findall(r"^## (.+)$", text, re.MULTILINE))
    parts = [part for part in (sentence[:1].upper() + sentence[1:], headings) if part]
    return ". ".join(parts) + "."
