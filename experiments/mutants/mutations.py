"""What may be changed in a module: mutmut's operators, applied to what decides a result."""

import ast
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation import mutators

from experiments.mutants.trials import ROOT

PATTERNS = (
    "fused_clip/method/**/*.py",
    "fused_clip/metrics/*.py",
    "fused_clip/model/*.py",
    "fused_clip/store/*.py",
    "fused_clip/report/studies/significance.py",
    "fused_clip/report/studies/text_contribution.py",
    "fused_clip/report/studies/pairs.py",
    "fused_clip/report/studies/tallies.py",
)
_NAMES_ALONE = frozenset(
    {"__init__.py", "catalogue.py", "facts.py", "curve.py"}
)  # no function decides anything
# Text for people: the tests look for parts of it alone.
_MESSAGES = frozenset({"InputError", "debug", "info", "warning", "warn", "error", "add_argument", "print"})
_NEVER = frozenset({"len", "isinstance", "cast", "TypeVar", "getLogger", "overload", "field_validator"})
_MODELS = frozenset({"BaseModel", "_Facts"})
_NOTHING_CHANGES = frozenset({"__all__", "log"})


@dataclass(frozen=True, eq=False)
class Mutant:
    """One change of one module.

    Parameters
    ----------
    path : file, relative to the root.
    place : function or class around the change; empty at the top of the module.
    before, after : the code of the change.
    count : how many equal changes stand before it in the same place.
    lines : first and last line of the statement around it.
    module, original, mutated : the code, a node of it, and what takes the node's place.
    """

    path: str
    place: str
    before: str
    after: str
    count: int
    lines: tuple[int, int]
    module: cst.Module
    original: cst.CSTNode
    mutated: cst.CSTNode

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is called in files: it survives edits of other places."""
        ordinal = f" ({self.count + 1})" if self.count else ""
        return self.path, self.place, self.before + ordinal, self.after

    @cached_property
    def source(self) -> str:
        """The module with the change."""
        changed: cst.Module = self.module.deep_replace(self.original, self.mutated)  # type: ignore[assignment]
        return changed.code


def modules() -> list[str]:
    """Paths of the modules that are changed, relative to the root."""
    found = {path for pattern in PATTERNS for path in ROOT.glob(pattern)}
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name not in _NAMES_ALONE)


def sample(count: int, seed: int) -> Iterator[Mutant]:
    """Draw mutants of all modules, of each in proportion to its lines.

    Parameters
    ----------
    count : how many; 0 for all.
    seed : of the draw.
    """
    paths = modules()
    lines = {path: (ROOT / path).read_text("utf-8").count("\n") for path in paths}
    total, done, passed = sum(lines.values()), 0, 0
    for path in paths:
        passed += lines[path]
        here = round(count * passed / total) - done
        done += here
        yield from mutants_of(path, here if count else None, seed)


def mutants_of(path: str, count: int | None = None, seed: int = 0) -> list[Mutant]:
    """Return mutants of a module, in the order of the file.

    Parameters
    ----------
    path : file, relative to the root.
    count : how many to draw; None for all.
    seed : of the draw.
    """
    code = (ROOT / path).read_text("utf-8")
    wrapper = MetadataWrapper(cst.parse_module(code))
    visitor = _Visitor()
    module = wrapper.visit(visitor)
    found = visitor.found
    if count is not None and count < len(found):
        drawn = random.Random(f"{seed} {path}").sample(range(len(found)), count)
        found = [found[index] for index in sorted(drawn)]
    spans = _spans(code)
    made = []
    for change in found:
        span = next((one for one in spans if one[0] <= change.line <= one[1]), (change.line, change.line))
        own = (change.place, change.before, change.after, change.count)
        made.append(Mutant(path, *own, span, module, change.original, change.mutated))
    return made


@dataclass(frozen=True)
class _Change:
    original: cst.CSTNode
    mutated: cst.CSTNode
    place: str
    before: str
    after: str
    count: int
    line: int


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Change] = []
        self._places: list[str] = []
        self._functions = self._models = 0
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_out(node):
            return False
        if isinstance(node, cst.SimpleStatementLine) and self._models and not self._functions:
            return False  # pydantic has made its validator of the fields by then
        if isinstance(node, cst.Assign) and not self._functions and _is_type(node.value):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._places.append(node.name.value)
            self._functions += isinstance(node, cst.FunctionDef)
            self._models += _is_model(node)
        for kind, operator in mutators.mutation_operators:
            if isinstance(node, kind):
                for mutated in operator(node):
                    self._add(node, mutated)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._places.pop()
            self._functions -= isinstance(original_node, cst.FunctionDef)
            self._models -= _is_model(original_node)

    def _add(self, node: cst.CSTNode, mutated: cst.CSTNode) -> None:
        if (
            isinstance(node, cst.Call)
            and "strict=True" in _code(node)
            and "strict=True" not in _code(mutated)
        ):
            return  # an assertion
        if isinstance(node, cst.BaseString) and (not self._functions or "XX" not in _code(mutated)):
            return  # at the top: names and explanations; other cases of letters: texts again
        around = node
        if not isinstance(node, cst.BaseExpression | cst.BaseSmallStatement):
            around = self.get_metadata(ParentNodeProvider, node)
        before = _code(around)
        after = _code(mutated if around is node else around.deep_replace(node, mutated))
        place = ".".join(self._places)
        line = self.get_metadata(PositionProvider, around).start.line
        key = (place, before, after)
        self.found.append(_Change(node, mutated, place, before, after, self._seen[key], line))
        self._seen[key] += 1


def _is_left_out(node: cst.CSTNode) -> bool:
    """Whether a change inside is seen by nobody, or only by who reads a message."""
    if isinstance(
        node, cst.Annotation | cst.Decorator | cst.Raise | cst.Import | cst.ImportFrom | cst.Assert
    ):
        return True
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.BaseString)
    if isinstance(node, cst.Assign):
        target = node.targets[0].target
        return isinstance(target, cst.Name) and target.value in _NOTHING_CHANGES
    if isinstance(node, cst.Call):
        name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        return isinstance(name, cst.Name) and name.value in _MESSAGES | _NEVER
    return isinstance(node, cst.Subscript) and _code(node.value) in ("Literal", "ClassVar", "Callable")


def _is_type(node: cst.BaseExpression) -> bool:
    union = isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.BitOr)
    return union or isinstance(node, cst.Subscript)


def _is_model(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.ClassDef) and any(_code(base.value) in _MODELS for base in node.bases)


def _code(node: cst.CSTNode) -> str:
    return " ".join(cst.Module([]).code_for_node(node).split())


def _spans(code: str) -> Sequence[tuple[int, int]]:
    """First and last line of each statement, of a compound one its head alone; the narrowest first."""
    spans = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = node.end_lineno or node.lineno
            spans.append((node.lineno, max(node.lineno, body[0].lineno - 1) if body else last))
    return sorted(spans, key=lambda span: span[1] - span[0])
