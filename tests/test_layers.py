"""How the package stands: who may import whom, and that names are found again."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fused_clip

PACKAGE = Path(fused_clip.__file__).parent
REPOSITORY = PACKAGE.parent
# From low to high: a layer imports those before it, and itself.
LAYERS = (
    {"support"},
    {"engine"},
    {"metrics"},
    {"dataset"},
    {"backbone"},
    {"store"},
    {"method"},
    {"estimator"},
    {"model"},
    {"guarantee"},
    {"audit"},
    {"pipeline"},
    {"figures"},
    {"tracking"},
    {"runner"},
    {"run", "predict", "report", "review", "app", "embed"},
    {"testing"},
)
FRONT = "__init__"  # of the package: names that it gives out
MOST_IN_THE_ROOT = 22
SHARED_NAMES = {"__init__", "__main__", "base"}


@cache
def modules() -> dict[str, Path]:
    """Path of each module of the package and of the experiments, by its dotted name."""
    found = {}
    for folder in (PACKAGE, REPOSITORY / "experiments"):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(name: str, node: ast.AST) -> Iterator[str]:
    """Modules of this repository that a node imports, wherever in the file it stands."""
    known = modules()
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names if alias.name in known)
        elif isinstance(statement, ast.ImportFrom):
            source = statement.module or ""
            if statement.level:
                package = name.split(".") if modules()[name].stem == "__init__" else name.split(".")[:-1]
                source = ".".join([*package[: len(package) - statement.level + 1], *filter(None, [source])])
            for alias in statement.names:
                whole = f"{source}.{alias.name}"
                yield from [whole] if whole in known else [source] if source in known else []


def layer(name: str) -> int | None:
    """Layer of a module; None for what is outside: the front of the package, and experiments."""
    parts = name.split(".")
    if parts[0] != "fused_clip" or len(parts) == 1:
        return None
    return next(index for index, names in enumerate(LAYERS) if parts[1] in names)


def test_no_import_goes_from_a_lower_to_a_higher_layer() -> None:
    """Imports inside functions and for type checkers included."""
    wrong = [
        f"{name} imports {other}"
        for name, path in sorted(modules().items())
        for other in set(imported(name, tree(path)))
        if (own := layer(name)) is not None and ((found := layer(other)) is None or found > own)
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_figures_and_tracking_do_not_know_each_other() -> None:
    for name, path in modules().items():
        for one, other in (("figures", "tracking"), ("tracking", "figures")):
            if name.startswith(f"fused_clip.{one}"):
                assert not [m for m in imported(name, tree(path)) if m.startswith(f"fused_clip.{other}")]


def test_no_import_is_circular() -> None:
    """A module also imports the packages that it stands in, but for those that give out its names."""
    graph = {name: set(imported(name, tree(path))) - {name} for name, path in modules().items()}
    for name in modules():
        for other in list(graph[name]):
            parts = other.split(".")
            packages = {".".join(parts[:end]) for end in range(2, len(parts))}
            graph[name] |= {package for package in packages if not f"{name}.".startswith(f"{package}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_the_root_of_the_package_is_small() -> None:
    entries = [
        path
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    ]
    assert len(entries) <= MOST_IN_THE_ROOT, sorted(path.name for path in entries)
    assert {path.stem for path in entries} == set.union(*LAYERS), "each entry has its layer"


def test_each_module_has_a_name_of_its_own() -> None:
    stems = Counter(path.stem for path in PACKAGE.rglob("*.py"))
    assert not {stem for stem, count in stems.items() if count > 1} - SHARED_NAMES


def test_each_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not sorted(name for name, count in names.items() if count > 1)


def _mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in {"dict", "list", "set", "defaultdict", "Counter", "OrderedDict", "deque"}
    return isinstance(value, (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp))


def test_no_module_keeps_state() -> None:
    """What is written in capitals is a constant; ``__all__`` is read by Python."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        wrong += [f"{place}: global" for node in ast.walk(tree(path)) if isinstance(node, ast.Global)]
        for node in tree(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and _mutable(node.value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                wrong += [f"{place}: {one}" for one in names if one != "__all__" and not one.isupper()]
    assert not wrong, "\n".join(wrong)
