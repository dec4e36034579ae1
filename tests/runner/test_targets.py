"""What `_target_` may name."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from fused_clip.method.fusion import LinearFusion
from fused_clip.runner.config import Options, check
from fused_clip.runner.overrides import with_allowed
from fused_clip.runner.targets import check_allowed, check_targets, locate, make
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.runner.test_config import composed

REFUSED = [
    "builtins.eval", "builtins.print", "os.system", "os.path", "posix.system", "subprocess.run", "sys.exit",
    "pickle.loads", "_pickle.loads", "shutil.rmtree", "runpy.run_path", "importlib.import_module",
    "numpy.load", "torch.load", "joblib.load", "pandas.read_pickle", "yaml.unsafe_load", "hydra.utils.call",
    "sklearn.datasets.load_digits", "sklearn.datasets.fetch_openml", "sklearn.utils._testing.os.system",
    "sklearn.externals.joblib.load", "fused_clip.run.main", "fused_clip.store.__main__.main",
    "fused_clip.support.files.os.unlink", "fused_clip.backbone.torchscript.pickle.loads",
    "fused_clip.tracking.MlflowTracker", "tests.fakes.PixelBackbone", "setuptools.setup", "pip.main",
    "", ".", "a..b", "os", "my parts.x", "${oc.env:HOME}", 7, None, ["os.system"],
]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED, ids=str)
@pytest.mark.parametrize("nested", [False, True])
def test_a_name_is_refused_before_anything_is_imported(
    target: Any, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra.utils.get_object", None)
    for group in ("dataset", "clusterer", "fusion"):
        with pytest.raises(InputError, match=rf"^{group}\._target_: must be a part of the group {group}"):
            locate(group, target, nested=nested)


@pytest.mark.parametrize(
    "name", ["os", "builtins", "pickle", "numpy", "torch.serialization", "joblib", "sklearn"]
)
def test_these_can_not_be_allowed(name: str) -> None:
    with pytest.raises(InputError, match=r"^allow: must be modules of your own .*, got"):
        check(composed(f"allow=[{name}]"))
    with pytest.raises(InputError, match=r"^fusion\._target_: must be a part"):
        locate("fusion", f"{name}.load", [name])


@pytest.mark.parametrize("name", ["", "my parts", "a..b", "my_parts.", "a.__class__", "../mine"])
def test_a_module_that_is_allowed_has_a_name(name: str) -> None:
    with pytest.raises(InputError, match=r"^allow: must be names of modules, such as my_parts, got"):
        check_allowed([name])


def test_only_the_command_line_allows() -> None:
    cfg = composed("allow=[my_parts]")
    assert check(cfg, ["seed=0", "allow=[my_parts]"]).allow == ["my_parts"]
    assert check(cfg).allow == ["my_parts"], "the caller's own code"
    with pytest.raises(InputError, match=r"^allow: must be given on the command line, .* --allow my_parts$"):
        check(cfg, ["seed=0", "allow.0=other"])


def test_every_target_of_conf_may_be_named() -> None:
    seen = 0
    for path in conf_dir().glob("*/*.yaml"):
        node = yaml.safe_load(path.read_text())
        check_targets(path.parent.name, node)
        seen += "_target_" in (node or {})
    assert seen > 60


def test_a_part_belongs_to_its_group() -> None:
    assert locate("fusion", "fused_clip.method.fusion.mean")() == LinearFusion(0.5, 0.5)
    with pytest.raises(
        InputError, match=r"^dataset\._target_: must be a part of the group dataset, .*digits"
    ):
        locate("dataset", "fused_clip.method.fusion.mean")


def test_estimators_of_scikit_learn_are_clusterers_and_parts_of_parts() -> None:
    assert locate("clusterer", "sklearn.cluster.KMeans") is KMeans
    assert locate("classifier", "sklearn.linear_model.LogisticRegression", nested=True) is LogisticRegression
    with pytest.raises(InputError, match=r"^dataset\._target_: must be a part"):
        locate("dataset", "sklearn.cluster.KMeans")
    with pytest.raises(
        InputError, match=r"must name an estimator of scikit-learn, got 'sklearn\.utils\.Bunch'"
    ):
        locate("clusterer", "sklearn.utils.Bunch")


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's, with what it imports."""
    module = ModuleType("their_parts")
    code = "import os, functools\nimport numpy as np\nfrom pickle import loads\nfrom pathlib import Path\n"
    code += "def part(): return 1\nclass Part: ...\nhalf = functools.partial(part)\n"
    code += "worse = functools.partial(loads, b'')\nlist_ = []\nnumber = 3\n"
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "their_parts", module)
    return module


@pytest.mark.parametrize("name", ["part", "Part", "half"])
def test_what_an_allowed_module_defines_is_found(theirs: ModuleType, name: str) -> None:
    assert locate("prompt", f"their_parts.{name}", ["their_parts"]) is getattr(theirs, name)


@pytest.mark.parametrize(
    "name",
    ["os.system", "os", "loads", "np.load", "Path", "worse", "list_.append", "functools.partial", "number"],
)
@pytest.mark.usefixtures("theirs")
def test_what_an_allowed_module_imports_is_not(name: str) -> None:
    with pytest.raises(
        InputError, match=r"^prompt\._target_: names something of the module .*, which is not"
    ):
        locate("prompt", f"their_parts.{name}", ["their_parts"])


def test_a_longer_name_is_another_module(theirs: ModuleType) -> None:
    for allowed in ("their", "their_part", "their_parts.part.more"):
        with pytest.raises(InputError, match=r"add --allow their_parts$"):
            locate("prompt", "their_parts.part", [allowed])


@pytest.fixture
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder given by ``--config-dir``."""
    monkeypatch.setattr("fused_clip.runner.targets.user_folders", lambda: [tmp_path])
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("found_below"):
            del sys.modules[name]


def test_modules_below_the_config_folder_need_no_word(config_folder: Path) -> None:
    (config_folder / "found_below_a.py").write_text("from os import system\ndef part(): return 1\n")
    (config_folder / "found_below_b").mkdir()
    (config_folder / "found_below_b" / "parts.py").write_text("def part(): return 2\n")
    assert locate("prompt", "found_below_a.part")() == 1
    assert locate("prompt", "found_below_b.parts.part")() == 2
    with pytest.raises(InputError, match="names something of the module posix"):
        locate("prompt", "found_below_a.system")
    (config_folder / "os.py").write_text("")
    with pytest.raises(InputError, match="must be a part of the group prompt"):
        locate("prompt", "os.system")


def test_nested_parts_are_made_and_checked() -> None:
    node = {"a": [{"_target_": "sklearn.cluster.KMeans", "_args_": [3], "n_init": 2}], "b": {"c": "${x}"}}
    made = make("clusterer", node)
    assert (made["a"][0].n_clusters, made["a"][0].n_init, made["b"]) == (3, 2, {"c": "${x}"})
    later = make("clusterer", {"_target_": "sklearn.cluster.KMeans", "_partial_": True, "_convert_": "all"})
    assert isinstance(later, functools.partial)
    for bad in ({"_target_": "os.system"}, [[{"x": {"_target_": "os.system"}}]]):
        with pytest.raises(InputError, match=r"clusterer\._target_"):
            make("clusterer", {"a": bad})


def test_a_text_does_not_become_a_part() -> None:
    """Hydra's instantiate would resolve it once more."""
    text = "${oc.create:{_target_:os.system,_args_:[exit]}}"
    assert make("clusterer", {"base": text}) == {"base": text}


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("clusterer._target_=os.path", r"clusterer\._target_"),
        ("dataset._target_=sklearn.datasets.load_digits", r"dataset\._target_"),
        ("tracking._target_=builtins.print", r"tracking\._target_"),
        ("+clusterer.base={_target_: os.system}", r"clusterer\.base\._target_"),
        ("+text.x=[1,{y: {_target_: os.system}}]", r"text\.x\.1\.y\._target_"),
    ],
)
def test_the_options_are_checked_before_work(override: str, place: str) -> None:
    with pytest.raises(InputError, match=rf"^{place}: must be a part of the group "):
        check(composed(override))


def test_allowed_modules_decide_no_key() -> None:
    assert "allow" in Options.model_fields
    from fused_clip.support.conf import PLACES_AND_EXTRAS

    assert "allow" in PLACES_AND_EXTRAS


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["seed=1"], ["seed=1"]),
        (["--allow", "a", "seed=1"], ["seed=1", "allow=[a]"]),
        (
            ["-m", "seed=1", "x=2", "--allow=a,b.c", "--config-dir", "d"],
            ["-m", "seed=1", "x=2", "allow=[a,b.c]", "--config-dir", "d"],
        ),
        (["--allow", "a", "--allow", "b", "-m"], ["-m", "allow=[a,b]"]),
    ],
)
def test_the_short_form_becomes_an_override(words: list[str], read: list[str]) -> None:
    assert with_allowed(words) == read


@pytest.mark.parametrize("words", [["--allow"], ["--allow="], ["seed=1", "--allow", "a,"]])
def test_the_short_form_needs_a_name(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"^--allow: must be followed by names of modules, such as my_parts"):
        with_allowed(words)
