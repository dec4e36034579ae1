"""Plugins as they are found: what adds options, what is left out, and what is refused."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fused_clip.method.reference import known_references
from fused_clip.model.embed import embed_texts
from fused_clip.runner.in_process import composed
from fused_clip.runner.notebook import compose_options
from fused_clip.runner.overrides import check_hydras_parts
from fused_clip.runner.targets import folders_of, locate
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.named_parts import plugin_class
from fused_clip.support.plugins import full_version, installed, options_in, plugins
from fused_clip.support.versions import version_line
from tests.installing import install

BIRCH = {"conf/clusterer/birch.yaml": "# Birch.\n_target_: sklearn.cluster.Birch\n"}
REFERENCE = "title: theirs\nexplanation: one line\nuses_labels: 'no'\nreplace: {classifier: zero_shot}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of Python's path, in which packages are found as if installed."""
    monkeypatch.syspath_prepend(tmp_path)
    _forget()
    yield tmp_path
    _forget()
    for name in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[name]


def _forget() -> None:
    for one in (installed, plugins):
        one.cache_clear()


def test_without_plugins_nothing_is_added(site: Path) -> None:
    assert plugins() == ()
    assert full_version() == version_line()


def test_a_package_with_options_is_found_and_not_imported(site: Path) -> None:
    folder = install(site, {**BIRCH, "conf/config.yaml": "", "__init__.py": "raise RuntimeError('imported')"})
    (found,) = plugins()
    assert (found.name, found.version, found.conf) == ("their-options", "1.2", folder / "conf")
    assert list(found.options) == ["clusterer/birch"]
    assert options_in("clusterer")["birch"] == folder / "conf/clusterer/birch.yaml"
    assert full_version() == f"{version_line()}, with their-options 1.2"
    assert "their_options" not in sys.modules


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"value": "no_such_package"}, "its package must be importable, got 'no_such_package'"),
        ({"value": "their_options:conf"}, "must name a package of its own"),
        ({"value": "their_options.conf"}, "must name a package of its own"),
        ({"value": "os"}, "must name a package of its own"),
        ({"value": "torch"}, "must name a package of its own"),
        ({"value": "fused_clip"}, "must name a package of its own"),
        ({"name": "their options!"}, "its name must be letters"),
    ],
)
def test_a_plugin_that_can_not_be_read_is_left_out_with_a_line(
    site: Path, caplog: pytest.LogCaptureFixture, changed: dict[str, str], rule: str
) -> None:
    install(site, BIRCH, **changed)
    install(site, {"conf/clusterer/right.yaml": BIRCH["conf/clusterer/birch.yaml"]}, "their_own", name="own")
    with caplog.at_level(logging.WARNING):
        assert [one.name for one in plugins()] == ["own"]
    (line,) = caplog.messages
    assert rule in line
    assert changed.get("name", "their-options") in line
    assert "pip uninstall" in line


@pytest.mark.parametrize(
    "files", [{}, {"conf/README.md": ""}, {"conf/clusterer/birch.yml": ""}, {"conf": ""}]
)
def test_a_package_without_options_is_left_out_with_a_line(
    site: Path, caplog: pytest.LogCaptureFixture, files: dict[str, str]
) -> None:
    install(site, files)
    assert plugins() == ()
    assert "must have options, conf/<group>/<name>.yaml" in caplog.text


def test_a_module_that_is_no_package_is_left_out_with_a_line(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (site / "their_module.py").write_text("")
    install(site, BIRCH, value="their_module")
    assert plugins() == ()
    assert "must have options" in caplog.text


def test_an_option_of_the_package_can_not_be_another(site: Path) -> None:
    install(site, {"conf/clusterer/kmeans.yaml": "# Mine.\n_target_: sklearn.cluster.Birch\n"})
    rule = (
        r"^clusterer: is an option of fused_clip and of their-options 1\.2, .* got 'kmeans'\. Rename .*yaml"
    )
    for ask in (plugins, known_references, lambda: compose_options("clusterer=kmeans")):
        with pytest.raises(InputError, match=rule):
            ask()


def test_two_plugins_with_one_option_are_named(site: Path) -> None:
    install(site, BIRCH)
    install(site, BIRCH, "their_others", name="others")
    with pytest.raises(InputError, match=r"is an option of others 1\.2 and of their-options 1\.2"):
        plugins()


def test_two_plugins_with_one_name_are_named(site: Path) -> None:
    install(site, BIRCH)
    other = install(site, {"conf/clusterer/b.yaml": ""}, "their_others", name="others")
    facts = other.parent / "others-1.2.dist-info/entry_points.txt"
    facts.write_text("[fused_clip.plugins]\ntheir-options = their_others\n")
    with pytest.raises(InputError, match="is the name of two plugins, of their-options and of others"):
        plugins()


def test_its_options_are_composed_behind_those_of_the_user(site: Path, tmp_path: Path) -> None:
    install(
        site, {**BIRCH, "conf/clusterer/theirs.yaml": "# B.\n_target_: sklearn.cluster.Birch\nthreshold: 2\n"}
    )
    mine = tmp_path / "mine" / "clusterer"
    mine.mkdir(parents=True)
    (mine / "birch.yaml").write_text("_target_: sklearn.cluster.Birch\nthreshold: 3\n")
    assert compose_options("clusterer=theirs").clusterer.model_extra["threshold"] == 2  # type: ignore[index]
    words = ("clusterer=birch", f"output_dir={tmp_path}/out")
    with composed(words, [str(conf_dir()), str(mine.parent)]) as config:
        assert config.clusterer.threshold == 3
        assert folders_of(config.hydra) == [mine.parent], "a plugin's folder is not the user's"


def test_a_part_of_its_own_package_needs_no_word(site: Path) -> None:
    yaml = "# Theirs.\n_target_: their_options.parts.{}\n_partial_: true\n"
    parts = "from os import system\nfrom functools import partial\n"
    parts += "def sum_of(images, texts):\n    return images + texts\nhalf = partial(sum_of)\nword = 'a'\n"
    names = ("sum_of", "half", "system", "word", "absent")
    files = {f"conf/fusion/{name}.yaml": yaml.format(name) for name in names}
    install(site, {**files, "parts.py": parts})
    assert locate("fusion", "their_options.parts.sum_of")(1, 2) == 3
    assert locate("fusion", "their_options.parts.half")(1, 2) == 3
    with pytest.raises(InputError, match=r"^fusion\._target_: names something of the module posix"):
        locate("fusion", "their_options.parts.system")
    with pytest.raises(InputError, match=r"names something of the module builtins"):
        locate("fusion", "their_options.parts.word")
    with pytest.raises(InputError, match=r"must name something importable"):
        locate("fusion", "their_options.parts.absent")
    with pytest.raises(InputError, match=r"^text\._target_: must be a part of the group text"):
        locate("text", "their_options.parts.sum_of")
    with pytest.raises(InputError, match=r"must be a part of the group fusion.*add --allow their_options"):
        locate("fusion", "their_options.other.part")


@pytest.mark.parametrize("target", ["os.system", "numpy.load", "fused_clip.run.main", "their_other.x"])
def test_its_yaml_may_name_nothing_else(site: Path, target: str) -> None:
    backbone = f"# B.\n_target_: {target}\nmodel: m\n"
    install(site, {"conf/fusion/bad.yaml": f"# F.\n_target_: {target}\n", "conf/backbone/bad.yaml": backbone})
    with pytest.raises(InputError, match=r"^fusion\._target_: must be a part of the group fusion"):
        compose_options("fusion=bad")
    with pytest.raises(InputError, match=r"^backbone\._target_: must be a part of the group backbone"):
        embed_texts("a cat", "bad")


def test_what_hydra_makes_of_its_yaml_is_checked_before(site: Path) -> None:
    yaml = "# @package _global_\n# E.\nhydra:\n  callbacks:\n    x: {_target_: os.system, command: echo}\n"
    install(site, {"conf/experiment/bad.yaml": yaml})
    for words in (["experiment=bad"], ["-m", "experiment='bad'"]):
        with pytest.raises(InputError, match=r"^hydra\.callbacks\.x\._target_: must be a part of Hydra"):
            check_hydras_parts(words)


@pytest.mark.slow
def test_a_backbone_is_known_by_name(site: Path) -> None:
    yaml = "# Theirs.\n_target_: fused_clip.backbone.OpenClipBackbone\nmodel: compact\nbatch_size: 2\n"
    install(site, {"conf/backbone/theirs.yaml": yaml})
    assert embed_texts("a cat", "theirs").shape == embed_texts("a cat").shape
    with pytest.raises(InputError, match=r"must name a backbone .*compact.*theirs"):
        embed_texts("a cat", "their")


def test_a_reference_is_known(site: Path) -> None:
    install(site, {"conf/reference/theirs.yaml": f"# @package reference.theirs\n# T.\n{REFERENCE}"})
    assert known_references()["theirs"].title == "theirs"


def test_a_yaml_that_can_not_be_read_leaves_other_options_as_they_are(site: Path) -> None:
    install(site, {**BIRCH, "conf/clusterer/bad.yaml": "a: [", "conf/fusion/bad.yaml": "\x00"})
    assert compose_options("clusterer=birch").clusterer.target == "sklearn.cluster.Birch"


@pytest.mark.parametrize(
    "name", ["parts:Base", "parts:Other", "evil:X", "parts:Base.x", "parts:", "parts.os:system"]
)
def test_a_model_finds_classes_of_its_parts_alone(site: Path, name: str) -> None:
    parts = "import os\nclass Base: ...\nclass Part(Base): ...\nclass Other: ...\n"
    yaml = "# C.\n_target_: their_options.parts.Part\n"
    files = {"conf/classifier/theirs.yaml": yaml, "parts.py": parts, "evil.py": "raise RuntimeError"}
    install(site, files)
    base = locate("classifier", "their_options.parts.Part").__base__
    found = plugin_class("classifier", "their_options.parts:Part", base)
    assert found is not None
    assert found.__name__ == "Part"
    expected = base if name == "parts:Base" else None
    assert plugin_class("classifier", f"their_options.{name}", base) is expected
    assert plugin_class("classifier", "os:system", base) is None
    assert "their_options.evil" not in sys.modules


def test_the_code_of_a_plugin_has_a_version(site: Path) -> None:
    folder = install(site, {**BIRCH, "inner/parts.py": "x = 1"})
    before = plugins()[0].code_version
    _forget()
    assert plugins()[0].code_version == before
    (folder / "inner/parts.py").write_text("x = 2")
    _forget()
    assert plugins()[0].code_version != before
