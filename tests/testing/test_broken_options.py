"""The checks of options find what is wrong: each option here breaks one rule."""

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

import pytest

from fused_clip.support.errors import InputError
from fused_clip.support.plugins import installed, plugins
from fused_clip.testing import ContractError, check_option, options_of
from tests.installing import install

CODE = """
import itertools
import numpy as np
from fused_clip.dataset import ImageDataset, Labelled, Recipe
from fused_clip.dataset.images import ArrayImages
from fused_clip.method.classifier import Classifier, NearestClassMean, TargetScores
from fused_clip.method.fusion import Fusion
from fused_clip.method.prompt import Prompts
from fused_clip.testing.sample import SampleBackbone
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans

COUNT = itertools.count()

def add_in_place(images, texts):
    images += texts
    return images

def text_alone(images, texts):
    return np.atleast_2d(texts)[0]

def log_of_rows(images, texts):
    with np.errstate(all="ignore"):
        return np.log(images * 0)

def by_chance(images, texts):
    return np.random.default_rng(next(COUNT)).normal(size=images.shape)

class Centred(Fusion):
    row_wise = True
    def combine(self, images, texts):
        return images - images.mean(axis=0)

class Random(ClusterMixin, BaseEstimator):
    def __init__(self, n_clusters=2, random_state=None):
        self.n_clusters, self.random_state = n_clusters, random_state
    def fit_predict(self, X, y=None):
        return np.random.default_rng(next(COUNT)).integers(0, self.n_clusters, len(X))

class Many(Random):
    def fit_predict(self, X, y=None):
        return np.arange(len(X))

def rows_of_texts(texts):
    return texts[:2]

def cut_texts(texts):
    texts[:] = 0
    return texts + 1

def whole_texts(texts):
    return (100 * texts).astype(int)

def with_targets(texts, targets):
    return texts

def halves(images):
    return np.zeros(len(images))

def too_high(images, texts):
    return np.full(len(images), len(texts))

def any_prompt(images, texts):
    return np.random.default_rng(next(COUNT)).integers(0, len(texts), len(images))

class Base(Classifier):
    uses_labels, uses_clusters = True, False
    def fit(self, training):
        self.n_targets_ = training.n_targets
        self.texts_, self.targets_ = training.texts, np.arange(training.n_targets)
        return self
    def target_scores(self, X):
        return TargetScores(self.score(X))
    def score(self, X):
        return X @ self.texts_.T

class Untold(Base):
    def fit(self, training):
        super().fit(training)
        del self.targets_
        return self

class Transposed(Base):
    def score(self, X):
        return super().score(X).T

class NotANumber(Base):
    def score(self, X):
        return super().score(X) * np.nan

class Guessing(Base):
    def score(self, X):
        return np.random.default_rng(next(COUNT)).normal(size=(len(X), self.n_targets_))

class Wrong(Base):
    def score(self, X):
        return -super().score(X)

class OfTheBatch(Base):
    def score(self, X):
        return super().score(X) - X.mean()

class OfTheOrder(Base):
    transductive = True
    def score(self, X):
        return super().score(X) + np.arange(len(X))[:, None]

class Forgetful(Base):
    def fit(self, training):
        super().fit(training)
        self.scale = -1.0
        return self
    def score(self, X):
        return -getattr(self, "scale", 1.0) * super().score(X)

class Scaling(Base):
    def score(self, X):
        X *= 2
        return super().score(X)

class Needy(Base):
    def fit(self, training):
        if (training.targets < 0).any():
            raise ValueError("needs all labels")
        return super().fit(training)

class Stubborn(Base):
    def __init__(self, power=1):
        self.power = power
    def fit(self, training):
        return super().fit(training)
    def get_params(self, deep=True):
        return {"power": next(COUNT)}

def a_function(training=None):
    return KMeans()

def _prompts(dataset, texts=None, **changed):
    names = dataset.class_names
    each = np.arange(len(names))
    texts = tuple((name,) for name in names) if texts is None else texts
    made = {"target_names": names, "target_of_class": each, "prompt_of_target": each, **changed}
    return Prompts(texts, **made)

def same_texts(dataset):
    return _prompts(dataset, tuple(("a thing",) for _ in dataset.class_names))

def blank_texts(dataset):
    return _prompts(dataset, tuple((" " * i,) for i, _ in enumerate(dataset.class_names)))

def one_text(dataset):
    return _prompts(dataset, tuple(dataset.class_names))

def far_prompts(dataset):
    return _prompts(dataset, prompt_of_target=np.arange(len(dataset.class_names)) + 1)

def unused_prompt(dataset):
    return _prompts(dataset, prompt_of_target=np.zeros(len(dataset.class_names), int))

def another_each_time(dataset):
    number = next(COUNT)
    return _prompts(dataset, tuple((f"{name} {number}",) for name in dataset.class_names))

def no_index(dataset):
    return _prompts(dataset, prompt_of_target=None)

def other_target(dataset):
    return _prompts(dataset, target_of_class=np.zeros(len(dataset.class_names), int))

def needs_more(dataset, more):
    return _prompts(dataset)

def _images(recipe, seed=0, names=("train", "test"), shape=(12, 4, 4)):
    rng = np.random.default_rng(seed)
    def part(name):
        pixels = rng.integers(0, 255, shape).astype(np.uint8)
        return Labelled(ArrayImages(pixels, name), np.arange(shape[0]) % 2, ("cat", "dog"), "set")
    return recipe.make([part(name) for name in names], "somewhere")

def good_images(recipe):
    return _images(recipe)

def new_images(recipe):
    return _images(recipe, seed=next(COUNT))

def shared_names(recipe):
    return _images(recipe, names=("all", "all"))

class Floats(ArrayImages):
    def read(self, rows):
        return [image / 255 for image in super().read(rows)]

def float_images(recipe):
    images = Floats(np.zeros((12, 4, 4), np.uint8), "floats")
    more = ArrayImages(np.zeros((12, 4, 4), np.uint8), "test")
    labels = np.arange(12) % 2
    return recipe.make([Labelled(one, labels, ("cat", "dog"), "s") for one in (images, more)], "somewhere")

def deaf_images(recipe):
    return _images(recipe.model_copy(update={"n_train": None}), shape=(12, 4, 4))

def nameless(recipe):
    return [1, 2]

class Backbone(SampleBackbone):
    def prepare(self, images):
        return np.stack([np.resize(image[..., 0], 64) for image in images]).astype(np.float32) / 255

class Doubles(Backbone):
    def encode_texts(self, texts):
        return super().encode_texts(texts).astype(np.float64)

class OfItsBatch(Backbone):
    def encode_prepared(self, prepared):
        rows = super().encode_prepared(prepared)
        return rows - rows.mean(axis=0)

class Infinite(Backbone):
    def encode_prepared(self, prepared):
        return super().encode_prepared(prepared) * np.float32("inf")

class Blind(Backbone):
    def encode_prepared(self, prepared):
        return np.ones((sum(map(len, prepared)), self.dim), np.float32)

class Unstable(Backbone):
    @property
    def fingerprint(self):
        return str(next(COUNT))

class Absent(Backbone):
    def check(self):
        from fused_clip import InputError
        raise InputError("backbone", "needs a licence")
"""
TITLE = "title: t\nexplanation: e\nuses_labels: 'no'\n"
PARTIAL = "\n_partial_: true"
# Content of the YAML but for its `_target_`, and the rule that is broken.
BROKEN = {
    "fusion=add_in_place": (PARTIAL, "must not change the arrays that it is given"),
    "fusion=text_alone": (PARTIAL, "must give a row for each of 160 images"),
    "fusion=log_of_rows": (PARTIAL, "must give finite rows"),
    "fusion=by_chance": (PARTIAL, "must give the same rows twice"),
    "fusion=Centred": ("", "says row_wise = True"),
    "clusterer=Random": ("", "must give the same clusters"),
    "clusterer=Many": ("", "must find the 4 clusters of clear data, and found 160"),
    "text=rows_of_texts": (PARTIAL, r"must give rows of shape \(4, 32\)"),
    "text=cut_texts": (PARTIAL, "must not change the arrays"),
    "text=whole_texts": (PARTIAL, "must give float32 or float64 rows, not int64"),
    "text=with_targets": (PARTIAL, "its target needs targets, which nothing gives it"),
    "pairing=halves": (f"{PARTIAL}\nuses_labels: false", "must give whole numbers, not float64"),
    "pairing=too_high": (f"{PARTIAL}\nuses_labels: false", "must give prompts from 0 to 3"),
    "pairing=any_prompt": (f"{PARTIAL}\nuses_labels: false", "must give the same prompts"),
    "classifier=Untold": ("", "fit must set targets_"),
    "classifier=Transposed": ("", r"must give values of shape \(80, 4\)"),
    "classifier=NotANumber": ("", "target_scores must be finite"),
    "classifier=Guessing": ("", "must give the same scores"),
    "classifier=Wrong": ("", "must be right on clear data"),
    "classifier=OfTheBatch": ("", "must not depend on the other images"),
    "classifier=OfTheOrder": ("", "must not depend on the order of images"),
    "classifier=Forgetful": ("", "a saved model of it must give the same scores"),
    "classifier=Scaling": ("", "must not change the arrays|must give the same scores"),
    "classifier=Stubborn": ("", "its clone must have its parameters"),
    "prompt=same_texts": ("", "no two prompts may have the same texts"),
    "prompt=blank_texts": ("", "each prompt must have a text that is not blank"),
    "prompt=one_text": ("", "texts must be a tuple with a tuple"),
    "prompt=far_prompts": ("", "prompt_of_target must be from 0 to 3"),
    "prompt=unused_prompt": ("", "every prompt must stand for a target"),
    "prompt=another_each_time": ("", "must make the same prompts twice"),
    "prompt=no_index": ("", "prompt_of_target must be there"),
    "prompt=other_target": ("", "every target must have a class"),
    "prompt=needs_more": ("", "its target needs more, which nothing gives it"),
    "dataset=new_images": ("\nname: n", "must have the same fingerprint twice"),
    "dataset=shared_names": ("\nname: n", "each image must have a name of its own"),
    "dataset=float_images": ("\nname: n", r"images must be \(height, width, 3\) uint8 RGB"),
    "dataset=deaf_images": ("\nname: n", "must have 4 training images with dataset.n_train=4"),
    "backbone=Doubles": ("\nmodel: m", "must embed texts as float32, not float64"),
    "backbone=OfItsBatch": ("\nmodel: m", "rows of images must not depend on the batch"),
    "backbone=Infinite": ("\nmodel: m", "must embed images as finite rows"),
    "backbone=Blind": ("\nmodel: m", "different images must have different rows"),
    "backbone=Unstable": ("\nmodel: m", "must have the same fingerprint twice"),
}
REFUSED = {  # by the rules of a run
    "classifier=a_function": ("", "must make a classifier"),
    "prompt=absent": ("", "must name something importable"),
    "dataset=nameless": ("\nname: n", "must make a dataset"),
    "fusion=by_chance2": ("\nnormalise: true", "is not an option|must name something"),
}
RAISING = {"classifier=Needy": ("", "needs all labels")}  # in the part's own code
OTHERS = {
    "conf/clusterer/silent.yaml": "_target_: sklearn.cluster.Birch\n",
    "conf/clusterer/true.yaml": "# A name that is a value.\n_target_: sklearn.cluster.Birch\n",
    "conf/clusterers/birch.yaml": "# A group that is none.\n_target_: sklearn.cluster.Birch\n",
    "conf/clusterer/system.yaml": "# Runs a command.\n_target_: os.system\ncommand: echo\n",
    "conf/clusterer/odd.yaml": "# A key too many.\n_target_: sklearn.cluster.Birch\ntreshold: 1\n",
    "conf/reference/never.yaml": f"# @package reference.never\n# Of no run.\n{TITLE}"
    "replace: {prompt: custom}\n",
    "conf/dataset/good_images.yaml": "# Right.\n_target_: broken_options.parts.good_images\nname: good\n",
    "conf/backbone/Backbone.yaml": "# Right.\n_target_: broken_options.parts.Backbone\nmodel: m\n",
    "conf/backbone/Absent.yaml": "# Needs more.\n_target_: broken_options.parts.Absent\nmodel: m\n",
    "conf/classifier/Base.yaml": "# Right.\n_target_: broken_options.parts.Base\n",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installed package of options, each of which breaks a rule."""
    site = tmp_path_factory.mktemp("site")
    files = {"parts.py": CODE, **OTHERS}
    for option, (more, _) in (BROKEN | REFUSED | RAISING).items():
        group, _, name = option.partition("=")
        yaml = f"# It breaks a rule.\n_target_: broken_options.parts.{name}{more}\n"
        files[f"conf/{group}/{name}.yaml"] = yaml
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install(site, files, "broken_options", name="broken").parent)
        for one in (installed, plugins):
            one.cache_clear()
        yield site
    for one in (installed, plugins):
        one.cache_clear()
    for name in [name for name in sys.modules if name.startswith("broken_options")]:
        del sys.modules[name]


@pytest.mark.parametrize("option", BROKEN)
@pytest.mark.usefixtures("broken")
def test_an_option_that_breaks_a_rule_is_named_with_the_rule(option: str) -> None:
    with pytest.raises((ContractError, InputError), match=BROKEN[option][1]) as caught:
        check_option(option)
    assert option.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize("option", REFUSED)
@pytest.mark.usefixtures("broken")
def test_what_a_run_refuses_is_refused(option: str) -> None:
    with pytest.raises(InputError, match=REFUSED[option][1]):
        check_option(option)


@pytest.mark.parametrize("option", RAISING)
@pytest.mark.usefixtures("broken")
def test_an_error_of_the_parts_own_code_keeps_its_traceback(option: str) -> None:
    with pytest.raises(ValueError, match=f"^{RAISING[option][1]}$"):
        check_option(option)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("clusterer=silent", "its YAML needs a comment"),
        ("clusterers=birch", "must be of a group of fused_clip: backbone, classifier"),
        ("clusterer=odd", "its target has no parameter treshold"),
        ("reference=never", "must be made for a dataset with groups"),
    ],
)
@pytest.mark.usefixtures("broken")
def test_a_yaml_that_breaks_a_rule_is_named_with_the_rule(option: str, rule: str) -> None:
    with pytest.raises(ContractError, match=f"^{option}: .*{rule}"):
        check_option(option)


@pytest.mark.usefixtures("broken")
def test_a_yaml_may_name_its_own_package_alone() -> None:
    with pytest.raises(InputError, match=r"^clusterer\._target_: must be a part of the group clusterer"):
        check_option("clusterer=system")


@pytest.mark.usefixtures("broken")
def test_an_option_that_meets_its_contract_passes() -> None:
    for option in ("dataset=good_images", "backbone=Backbone", "classifier=Base"):
        check_option(option)


@pytest.mark.usefixtures("broken")
def test_an_option_that_can_not_be_tried_is_skipped_with_its_reason() -> None:
    with pytest.raises(SkipTest, match=r"^backbone=Absent: its YAML is right; .*needs a licence"):
        check_option("backbone=Absent")


@pytest.mark.usefixtures("broken")
def test_options_are_listed_as_on_the_command_line() -> None:
    assert {"clusterer=silent", "fusion=by_chance", "backbone=Absent"} <= set(options_of("broken"))
    with pytest.raises(InputError, match=r"^plugin: must be installed, got 'brokn'; .*mean 'broken'"):
        options_of("brokn")


@pytest.mark.parametrize("option", ["birch", "clusterer=", "=birch", "clusterer=brich"])
def test_an_option_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(InputError, match=r"must be a group and a name|must be an option of this package"):
        check_option(option)


def test_an_option_of_a_folder_is_checked(tmp_path: Path) -> None:
    (tmp_path / "fusion").mkdir()
    returned = {"in_a_folder": "images * texts", "broken_in_a_folder": "images.__imul__(texts)"}
    for name, value in returned.items():
        (tmp_path / "fusion" / f"{name}.yaml").write_text(
            f"# Mine.\n_target_: own_{name}.fuse\n_partial_: true\n"
        )
        (tmp_path / f"own_{name}.py").write_text(f"def fuse(images, texts):\n    return {value}\n")
    check_option("fusion=in_a_folder", config_dir=tmp_path)
    with pytest.raises(ContractError, match="fusion=broken_in_a_folder: "):
        check_option("fusion=broken_in_a_folder", config_dir=tmp_path)
    with pytest.raises(InputError, match="must be an option of this package, of a plugin or of config_dir"):
        check_option("fusion=in_a_folder")
