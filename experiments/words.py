"""Measure how plainly code and documents are written.

``python -m experiments.words`` prints four measures and exits with 1 if one misses its limit:

- each expression of ``words.yaml``, per 10,000 words, in docstrings and in all text (limit: below 1);
- the share of public parameters of `fused_clip` that their docstring describes (limit: all);
- the words of the README (limit: 900);
- comments per 100 lines of code (no limit).

``--where`` lists every occurrence and every parameter without a description, to be mended.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.docs import ROOT, documents

CODE = ("fused_clip", "experiments", "hydra_plugins")
KINDS = ("docstrings", "comments", "messages", "documents")
MAX_RATE = 1.0  # per 10,000 words
MAX_README_WORDS = 900
_GENERATED = re.compile(r"^<!-- (\w+)(?::.+?)? -->$.*?^<!-- /\1 -->$", re.MULTILINE | re.DOTALL)
_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_YAML_COMMENT = re.compile(r"(?:^|\s)#\s?(.*)$")
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pragma|mypy|ruff|!)")


class Passage(NamedTuple):
    """A piece of English in the repository.

    Parameters
    ----------
    kind : one of `KINDS`.
    path : file, relative to the root.
    line : line number of its start, from 1.
    text : the words.
    """

    kind: str
    path: Path
    line: int
    text: str


class Parameter(NamedTuple):
    """A parameter of a public function, method or class.

    Parameters
    ----------
    owner : dotted path of the function or class.
    name : of the parameter.
    described : whether the owner's docstring describes it.
    """

    owner: str
    name: str
    described: bool


def passages(root: Path = ROOT) -> Iterator[Passage]:
    """Yield docstrings, comments, messages and documents; tables written by ``make docs`` are left out.

    Parameters
    ----------
    root : folder of the repository.
    """
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            yield from _python(path.relative_to(root), path.read_text(encoding="utf-8"))
    for folder in ("conf", *CODE):
        for path in sorted((root / folder).rglob("conf/**/*.yaml" if folder in CODE else "*.yaml")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if comment := _YAML_COMMENT.search(line):
                    yield Passage("comments", path.relative_to(root), number, comment[1])
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        for pattern in (_GENERATED, _CODE_BLOCK):
            text = pattern.sub(lambda block: "\n" * block[0].count("\n"), text)
        yield Passage("documents", path.relative_to(root), 1, text)


def _python(path: Path, source: str) -> Iterator[Passage]:
    tree = ast.parse(source)
    docstrings = {id(one) for one in _docstrings(tree)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            fixed = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            text = "".join(map(str, fixed))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        kind = "docstrings" if id(node) in docstrings else "messages"
        if kind == "docstrings" or " " in text.strip():  # one word is a key or a path
            yield Passage(kind, path, node.lineno, text)
    yield from (Passage("comments", path, line, text) for line, text in _comments(source))


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string):
            yield token.start[0], token.string.lstrip("# ")


def comments_per_100_lines(root: Path = ROOT) -> float:
    """Count comments of `fused_clip` per 100 lines of code; docstrings and blank lines are no code.

    Parameters
    ----------
    root : folder of the repository.
    """
    comments, lines = 0, 0
    for path in (root / "fused_clip").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        comments += sum(1 for _ in _comments(source))
        lines += sum(bool(line.split("#")[0].strip()) for line in source.splitlines())
        lines -= sum(
            len(doc.value.splitlines()) - doc.value.count("\n\n") for doc in _docstrings(ast.parse(source))
        )
    return 100 * comments / lines if lines else 0.0


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node) is not None:
            yield node.body[0].value


def words_of(text: str) -> int:
    """Number of words in a text.

    Parameters
    ----------
    text : any text; a word is a run of letters.
    """
    return len(re.findall(r"[^\W\d_]+(?:'[a-z]+)?", text))


def occurrences(texts: Sequence[Passage], pattern: str) -> list[Passage]:
    """List each place where an expression stands as words of its own, upper or lower case.

    Parameters
    ----------
    texts : passages to search.
    pattern : regular expression; a space in it is any white space.
    """
    spaced = pattern.replace(" ", r"\s+")
    finder = re.compile(rf"\b(?:{spaced})\b", re.IGNORECASE)
    return [
        one._replace(line=one.line + one.text.count("\n", 0, found.start()), text=" ".join(found[0].split()))
        for one in texts
        for found in finder.finditer(one.text)
    ]


def parameters(root: Path = ROOT, package: str = "fused_clip") -> list[Parameter]:
    """List the parameters of every public function, method and class of a package, without importing it.

    Parameters
    ----------
    root : folder that contains the package.
    package : its name.
    """
    import griffe

    found = []
    loaded = griffe.load(package, search_paths=[root], try_relative_path=False)
    owners = list(_public(loaded))
    promised = {  # a method that implements a protocol needs no description of its own
        (owner.name, name)
        for owner in owners
        if owner.parent.is_class and any(str(base) == "Protocol" for base in owner.parent.bases)
        for name in _described(owner)
    }
    for owner in owners:
        described = _described(owner)
        if owner.parent.is_class:
            described |= {name for method, name in promised if method == owner.name}
        described |= {name for base in _overridden(owner) for name in _described(base)}
        own = [item.name for item in owner.parameters if item.name not in ("self", "cls")]
        found += [Parameter(owner.path, name, name.lstrip("*") in described) for name in own]
    return found


def _overridden(owner: Any) -> list[Any]:
    """Base classes of a class, or the methods of them that a method overrides."""
    if owner.is_class:
        return list(owner.mro())
    bases = owner.parent.mro() if owner.parent.is_class else []
    return [base.members[owner.name] for base in bases if owner.name in base.members]


def _described(owner: Any) -> set[str]:
    return {
        item.name.lstrip("*")
        for section in (owner.docstring.parse("numpy", warnings=False) if owner.docstring else [])
        if section.kind.value in ("parameters", "other parameters")
        for item in section.value
        if item.annotation or item.description  # "name : text" parses as a name and its type
    }


def _public(parent: Any) -> Iterator[Any]:
    for member in parent.members.values():
        if member.is_alias or member.name.startswith("_"):
            continue
        if member.is_function or (member.is_class and "__init__" in member.members):
            yield member
        if member.is_class or member.is_module:
            yield from _public(member)


def _rates(found: Sequence[Passage], totals: Mapping[str, int]) -> tuple[float, float]:
    """Rate per 10,000 words: in docstrings, and in everything."""
    counts = Counter(one.kind for one in found)
    docstrings = 1e4 * counts["docstrings"] / max(totals["docstrings"], 1)
    return docstrings, 1e4 * len(found) / max(sum(totals.values()), 1)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; give the exit code.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    root : folder of the repository.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.words", description=__doc__)
    parser.add_argument("--where", action="store_true", help="list every place to mend")
    where = parser.parse_args(arguments).where
    failed = [_check_words(root, where), _check_parameters(root, where), _check_readme(root)]
    print(f"comments per 100 lines of code: {comments_per_100_lines(root):.1f}")
    return int(any(failed))


def _check_words(root: Path, where: bool) -> bool:
    texts = list(passages(root))
    totals = Counter(dict.fromkeys(KINDS, 0))
    for one in texts:
        totals[one.kind] += words_of(one.text)
    failed = False
    print(f"{'per 10,000 words':20}{'docstrings':>11}{'all':>8}   " + ", ".join(KINDS))
    print(f"{'(words)':20}{totals['docstrings']:>11,}{sum(totals.values()):>8,}")
    for entry in yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8")):
        found = occurrences(texts, entry["pattern"])
        rates = _rates(found, totals)
        too_many = max(rates) >= MAX_RATE
        failed |= too_many
        counts = Counter(one.kind for one in found)
        parts = ", ".join(str(counts[kind]) for kind in KINDS)
        advice = f"   write: {entry['instead']}" if too_many else ""
        print(f"{entry['word']:20}{rates[0]:>11.1f}{rates[1]:>8.1f}   {parts}{advice}")
        if where:
            print(*(f"  {one.path}:{one.line}: {one.text} ({one.kind})" for one in found), sep="\n")
    return failed


def _check_parameters(root: Path, where: bool) -> bool:
    every = parameters(root)
    missing = [one for one in every if not one.described]
    print(f"public parameters described: {len(every) - len(missing)} of {len(every)}")
    if where:
        print(*(f"  {one.owner}: {one.name}" for one in missing), sep="\n")
    return bool(missing)


def _check_readme(root: Path) -> bool:
    count = len((root / "README.md").read_text(encoding="utf-8").split())
    print(f"words of the README: {count:,} (at most {MAX_README_WORDS:,})")
    return count > MAX_README_WORDS


if __name__ == "__main__":
    sys.exit(main())
