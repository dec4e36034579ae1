"""Files from elsewhere are data: payloads in whatever is read, and none of them is executed.

Each payload would make a file, the canary, wherever it was executed; readers without care show that it does.
"""

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fused_clip import load_model
from fused_clip.method.descriptions import _read as read_descriptions
from fused_clip.method.reference import read_references
from fused_clip.model.constraint_parsing import parse_target_map
from fused_clip.runner import artifacts
from fused_clip.runner.config import check
from fused_clip.support.errors import InputError
from fused_clip.tracking.records import read_config
from tests.attack.scale import record
from tests.forks import QUICK, Commands
from tests.runner.test_config import composed

EXECUTED: list[str] = []  # nothing, at the end


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def planted(folder: Path, canary: Path) -> None:
    """A module and pickles that make the canary when they are loaded."""
    (folder / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(canary)!r}).touch()\ndef part(*_, **__): ...\n"
    )
    (folder / "planted.pkl").write_bytes(pickle.dumps(Touch(canary)))
    torch.save({"state": Touch(canary)}, folder / "planted.pt")
    np.save(folder / "planted.npy", np.array([Touch(canary)], dtype=object), allow_pickle=True)


def calls(folder: Path, canary: Path) -> dict[str, dict[str, Any]]:
    """Options of a part that would call something: its name, and positional and named arguments."""
    touch, file = f"touch {canary}", str(folder / "planted.pkl")
    write = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    found: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("os.system", [touch], {}),
        ("posix.system", [touch], {}),
        ("os.popen", [touch], {}),
        ("subprocess.run", [["touch", str(canary)]], {}),
        ("subprocess.Popen", [["touch", str(canary)]], {}),
        ("subprocess.getoutput", [touch], {}),
        ("builtins.eval", [write], {}),
        ("builtins.exec", [write], {}),
        ("builtins.open", [str(canary), "w"], {}),
        ("pathlib.Path.touch", [canary], {}),
        ("shutil.copyfile", [file, str(canary)], {}),
        ("runpy.run_path", [str(folder / "planted.py")], {}),
        ("importlib.import_module", ["planted"], {}),
        ("planted.part", [], {}),
        ("pickle.loads", [pickle.dumps(Touch(canary))], {}),
        ("_pickle.loads", [pickle.dumps(Touch(canary))], {}),
        ("pandas.read_pickle", [file], {}),
        ("joblib.load", [file], {}),
        ("numpy.load", [str(folder / "planted.npy")], {"allow_pickle": True}),
        ("torch.load", [str(folder / "planted.pt")], {"weights_only": False}),
        ("yaml.unsafe_load", [f"!!python/object/apply:os.system ['{touch}']"], {}),
        ("logging.FileHandler", [str(canary)], {}),
        ("fused_clip.support.files.os.system", [touch], {}),
        ("fused_clip.backbone.torchscript.pickle.loads", [pickle.dumps(Touch(canary))], {}),
        ("sklearn.utils.fixes.sys.modules.__class__", [], {}),
        ("timeit.timeit", [write], {"number": 1}),
    ]
    return {name: {"_target_": name, "_args_": given, **named} for name, given, named in found}


NAMES = list(calls(Path(), Path()))
TAGS = {
    "apply": "!!python/object/apply:os.system ['touch {}']",
    "nested": "a: [1, {{b: !!python/object/apply:subprocess.getoutput ['touch {}']}}]",
    "new": "!!python/object/new:os.system ['touch {}']",
    "eval": 'a: !!python/object/apply:builtins.eval [\'__import__("os").system("touch {}")\']',
    "extended": "!!python/object/apply:os.popen\nargs: ['touch {}']",
    "alias": "a: &x !!python/object/apply:os.system ['touch {}']\nb: *x",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "config of a run": read_config,
    "target map": lambda path: parse_target_map(path.read_text()),
    "descriptions": lambda path: read_descriptions(str(path)),
    "reference": lambda path: read_references([path.parents[1]]),
}


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
)


def executed(canary: Path, name: str) -> bool:
    if canary.exists():
        EXECUTED.append(name)
    return canary.exists()


@pytest.mark.parametrize("name", [name for name in NAMES if "modules" not in name])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_calls_leave_a_canary_where_they_are_executed(
    name: str, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next tests can fail."""
    monkeypatch.syspath_prepend(tmp_path)
    planted(tmp_path, canary)
    sys.modules.pop("planted", None)
    node = calls(tmp_path, canary)[name]
    made = resolve_name(node.pop("_target_"))(*node.pop("_args_"), **node)
    if hasattr(made, "wait"):
        made.wait()
    elif hasattr(made, "close"):
        made.close()
    assert canary.exists()


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_tags_leave_a_canary_where_they_are_executed(tag: str, canary: Path) -> None:
    made = yaml.unsafe_load(TAGS[tag].format(canary))
    if hasattr(made, "close"):
        made.close()
    assert canary.exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["part", "of a part", "option"])
def test_a_call_in_the_config_of_a_run_is_not_executed(
    name: str, where: str, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    planted(tmp_path, canary)
    node: dict[str, Any] = calls(tmp_path, canary)[name]
    if where == "of a part":
        node = {
            "_target_": "fused_clip.method.fusion.Concatenation",
            "x": [node],
        }
    if where == "option":
        with pytest.raises(InputError, match=r"^fusion\.x\._target_: must be a part of the group fusion"):
            check(composed(f"+fusion.x._target_={name}"))
    else:
        (tmp_path / "config.yaml").write_text(yaml.dump({"fusion": node}))
        with pytest.raises(InputError):
            artifacts._fused("train", tmp_path, {}, None, ())  # type: ignore[arg-type]
    assert not executed(canary, name)


@pytest.mark.parametrize(
    "text", ["${oc.create:{_target_:os.system,_args_:[touch CANARY]}}", "${oc.env:HOME}"]
)
def test_an_interpolation_in_the_config_of_a_run_is_a_text(text: str, canary: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        yaml.dump({"fusion": text.replace("CANARY", str(canary)), "a": text})
    )
    assert read_config(tmp_path / "config.yaml")["a"] == text
    with pytest.raises(InputError, match="fusion: must be a valid dictionary"):
        artifacts._fused("train", tmp_path, {}, None, ())  # type: ignore[arg-type]
    assert not executed(canary, text)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("reader", READERS)
def test_a_tag_of_python_is_not_followed(tag: str, reader: str, canary: Path, tmp_path: Path) -> None:
    file = tmp_path / "reference" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(TAGS[tag].format(canary))
    with pytest.raises(InputError):
        READERS[reader](file)
    assert not executed(canary, f"{tag} in {reader}")


@pytest.mark.parametrize("name", ["vectors", "labels"])
def test_a_pickle_among_vectors_is_not_loaded(name: str, canary: Path, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"vectors": np.eye(4), "labels": np.array(list("abab"))}
    arrays[name] = np.array([Touch(canary)] * 4, dtype=object)
    np.savez(tmp_path / "v.npz", **arrays)
    cfg = composed("dataset=embeddings", f"dataset.path={tmp_path / 'v.npz'}")
    with pytest.raises(InputError, match=r"dataset\.path: .*Object arrays cannot be loaded"):
        _dataset(cfg)
    assert not executed(canary, f"pickle as {name}")


def _dataset(cfg: Any) -> Any:
    from fused_clip.runner.build import make_parts

    return make_parts(check(cfg))


@pytest.fixture(scope="module")
def run_directory(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its model and its database."""
    root = tmp_path_factory.mktemp("run")
    done = commands("run", *QUICK, "study=mine", f"output_dir={root}")
    assert done.code == 0, done.said
    (directory,) = (path.parent for path in root.glob("runs/*/*/metrics.json"))
    return directory


def _model(run_directory: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    """A copy of its model, changed, with checksums that fit."""
    shutil.copytree(run_directory / "model", folder)
    change(folder)
    names = ("model.json", "arrays.safetensors", "README.md")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("option", ["classifier", "fusion"])
@pytest.mark.parametrize(
    "name", ["os:system", "planted:part", "subprocess:Popen", "builtins:eval", "numpy:load"]
)
def test_a_model_names_no_code(
    option: str, name: str, run_directory: Path, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    planted(tmp_path, canary)

    def change(folder: Path) -> None:
        facts = json.loads((folder / "model.json").read_text())
        facts[option] = {"name": name, "params": {"command": f"touch {canary}"}}
        (folder / "model.json").write_text(json.dumps(facts))

    with pytest.raises(InputError, match=f"needs the {option} {name}, which is no {option} of fused_clip"):
        load_model(_model(run_directory, tmp_path / "model", change))
    assert not executed(canary, name)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.json", "arrays.safetensors"])
@pytest.mark.parametrize("payload", ["planted.pkl", "planted.pt", "planted.npy"])
def test_a_pickle_in_a_model_is_not_loaded(
    file: str, payload: str, run_directory: Path, canary: Path, tmp_path: Path
) -> None:
    planted(tmp_path, canary)
    model = _model(run_directory, tmp_path / "model", lambda to: shutil.copy(tmp_path / payload, to / file))
    with pytest.raises(InputError, match=r"^model: "):
        load_model(model)
    assert not executed(canary, f"{payload} as {file}")


@pytest.mark.slow
def test_a_pickle_as_weights_is_not_loaded(commands: Commands, canary: Path, tmp_path: Path) -> None:
    planted(tmp_path, canary)
    shutil.copy(tmp_path / "planted.pt", tmp_path / "planted.safetensors")
    for name in ("planted.pt", "planted.pkl", "planted.safetensors"):
        words = ["dataset=digits", "backbone=vit_b_32", f"backbone.pretrained={tmp_path / name}"]
        done = commands("run", *words, f"output_dir={tmp_path / 'out'}")
        assert (done.code, done.traceback) == (1, False), done.said
        assert not executed(canary, name)


HYDRAS = {
    "callback": "callbacks: {x: {_target_: os.system, command: touch CANARY}}",
    "partial": "callbacks: {x: {_target_: functools.partial, _args_: [os.system]}}",
    "nested": "callbacks: {x: {_target_: hydra.experimental.callback.Callback, y: {_target_: planted.part}}}",
    "launcher": "launcher: {_target_: planted.part}",
    "sweeper": "sweeper: {_target_: planted.part}",
    "formatter": "job_logging: {formatters: {x: {(): planted.part}}}",
    "handler": "job_logging: {handlers: {x: {class: planted.part, level: INFO}}}",
    "own logger": "hydra_logging: {handlers: {x: {class: planted.part, level: INFO}}}",
    "external": "job_logging: {formatters: {x: {(): 'ext://planted.part'}}}",
}


SINGLE, SWEPT = "experiment=evil", "-m experiment=evil,default"
HOW = [
    *((name, SINGLE) for name in HYDRAS),
    *((name, f"-m seed=0,1 {SINGLE}") for name in ("callback", "sweeper", "own logger")),
    *((name, SWEPT) for name in ("formatter", "handler")),  # of the rest Hydra takes what is not swept
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), HOW)
def test_hydra_makes_nothing_else(
    name: str, how: str, commands: Commands, canary: Path, tmp_path: Path
) -> None:
    """A YAML among the user's own; the module lies in the working directory, and is not allowed."""
    planted(tmp_path, canary)
    evil = tmp_path / "mine" / "experiment" / "evil.yaml"
    evil.parent.mkdir(parents=True)
    hydra = HYDRAS[name].replace("CANARY", str(canary))
    evil.write_text(f"# @package _global_\nhydra:\n  {hydra}\n")
    words = ["--config-dir", tmp_path / "mine", *how.split(), *QUICK, f"output_dir={tmp_path / 'out'}"]
    done = commands("run", *words, "tracking=none", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert not executed(canary, name)
    assert (done.code, done.traceback) == (1, False), done.said
    assert ": must be a part of Hydra or of its plugins, a logger of Python" in done.err


@pytest.mark.slow
def test_a_pickled_config_is_not_run_again(commands: Commands, canary: Path, tmp_path: Path) -> None:
    planted(tmp_path, canary)
    done = commands("run", "--experimental-rerun", tmp_path / "planted.pkl")
    assert not executed(canary, "rerun")
    assert done.code == 1
    assert done.err.startswith("Error: --experimental-rerun: is left out: it loads a pickle")


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        TAGS["apply"],
        "fusion: {{_target_: os.system, command: touch {}}}",
        "[" * 100_000,
        ALIASES,
    ],
    ids=["tag", "target", "deep", "aliases"],
)  # fmt: skip
def test_a_report_executes_nothing(
    content: str, run_directory: Path, commands: Commands, canary: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(run_directory.parents[2], root)
    _moved(root, run_directory.parents[2])
    poisoned = [path for path in root.rglob("config.yaml") if ".hydra" not in path.parts]
    assert poisoned
    for path in poisoned:
        path.write_text(content.replace("{}", str(canary)).replace("{{", "{").replace("}}", "}"))
    done = commands("report", "--study", "mine", "--output-dir", root, timeout=30)
    assert not executed(canary, "report")
    assert done.code in (0, 1)
    assert not done.traceback, done.said


def _moved(root: Path, before: Path) -> None:
    """Let a copied database name the copy."""
    import sqlite3

    with sqlite3.connect(root / "mlflow.db") as database:
        database.execute(
            "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", (str(before), str(root))
        )
        database.execute(
            "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
            (str(before), str(root)),
        )
    database.close()


def test_links_bring_nothing_into_a_report(tmp_path: Path) -> None:
    from tests.records import Folder, make_record, png

    figures = tmp_path / "run" / "figures"
    figures.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png())
    (figures / "own.png").write_bytes(png())
    (figures / "secret.png").symlink_to(tmp_path / "secret.png")
    assert list(make_record(artifacts=Folder(tmp_path / "run")).figures) == ["own"]


def test_the_counts(request: pytest.FixtureRequest) -> None:
    """The last of this file."""
    tried = [item for item in request.session.items if item.path == request.path]
    payloads = [item for item in tried if "_leave_a_canary_" not in item.name and "counts" not in item.name]
    record("intruders", payloads=len(payloads), executed=len(EXECUTED))
    assert EXECUTED == []
