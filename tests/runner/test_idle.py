"""Overrides without effect: each is said, and said of no other."""

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from fused_clip.model.result import Result
from fused_clip.pipeline import run
from fused_clip.runner.build import prepare
from fused_clip.runner.config import check
from fused_clip.runner.idle import idle
from fused_clip.store import Store
from fused_clip.support.conf import axes_of, conf_dir
from tests.forks import QUICK, Commands
from tests.runner.test_config import composed

_BASE = (*QUICK, "tracking=none", "dataset.n_train=80", "dataset.n_test=30")
# Choices, an override, and whether it changes anything beside them.
PAIRS = (
    ("prompt=none", "text=rotated", False),
    ("prompt=task", "text=rotated", True),
    ("prompt=generic", "pairing=noisy", False),
    ("prompt=task", "pairing=noisy", True),
    ("prompt=none", "pairing=zero_shot", False),
    ("prompt=none", "fusion.alpha=0.9", False),
    ("prompt=none fusion=weighted", "fusion.normalize_inputs=true", True),
    ("fusion=mean", "fusion.alpha=0.9", False),
    ("fusion=weighted", "fusion.alpha=0.9", True),
    ("fusion=images", "text=rotated", False),
    ("fusion=images classifier=zero_shot", "text=rotated", True),
    ("fusion=images clusterer=kmeans_prompts", "text=rotated", True),
    ("prompt=generic", "text=permuted", False),
    ("prompt=task", "text=permuted", True),
    ("prompt=task", "text=best", False),
    ("prompt=templates", "text=best", True),
    ("prompt=templates text=zpe", "text.threshold=5.0", False),
    ("prompt=templates text=zpe text.selection=select", "text.threshold=5.0", True),
    ("text=prompt", "text.share=0.1", False),
    ("text=shrunk", "text.share=0.01", True),
    ("pairing=oracle", "pairing.fraction=0.9", False),
    ("pairing=noisy", "pairing.fraction=0.9", True),
    ("pairing=sinkhorn", "pairing.gamma=0.9", False),
    ("pairing=sinkhorn pairing.marginals=estimated", "pairing.gamma=1.0", True),
    ("clusterer=spectral", "clusterer.linkage=single", False),
    ("clusterer=agglomerative", "clusterer.linkage=single", True),
    ("clusterer=agglomerative", "clusterer.n_init=1", False),
    ("clusterer=kmeans", "+clusterer.n_clusters=3", False),
    ("clusterer=keep_classes", "clusterer.n_init=1", False),
    ("clusterer=hdbscan clusterer.min_cluster_size=3", "clusters_per_target=1", False),
    ("clusterer=kmeans", "clusters_per_target=1", True),
    ("prompt=task", "prompt.templates=['a {}']", False),
    ("prompt=custom \"prompt.templates=['the {}']\"", "prompt.templates=['a {}']", True),
    ("prompt=task", "prompt.replace_underscores=true", False),
    ("prompt=task", "prompt.targets=group", False),
    ("prompt=task", "dataset.captions.grouped='a {}'", False),
    ("prompt=grouped", "dataset.captions.grouped='a {}'", True),
    ("prompt=grouped", "dataset.captions.task='a {}'", False),
    ("prompt=waffle", "dataset.captions.task='a {}'", True),
    ("prompt=task", "dataset.swap=next", False),
    ("prompt=swapped", "dataset.swap=next", True),
    ("prompt=task", "dataset.image_column=x", False),
    ("prompt=task", "dataset.revision=x", False),
    ("prompt=task", "data_dir=/nowhere", False),
    ("prompt=task", "dataset.seed=5", True),
    ("prompt=task", "dataset.test_fraction=0.5", True),
    ("prompt=task", "labels.seed=5", False),
    ("labels.per_class=2", "labels.seed=5", True),
    ("prompt=task", "calibration.seed=5", False),
    ("calibration.share=.2", "calibration.seed=5", True),
    ("prompt=task", "references.draws=3", False),
    ("prompt=task", "reference=[zero_shot]", False),
    ("prompt=task", "figures.points=50", False),
    ("prompt=task", "tracking.experiment=other", False),
)


def _words(text: str) -> list[str]:
    return shlex.split(text)


def _notes(words: Sequence[str], given: str) -> list[str]:
    options = check(composed(*_BASE, *words, given))
    return list(idle(options, prepare(options), axes_of([given])))


def _result(words: Sequence[str], folder: Path) -> Result:
    options = check(composed(*_BASE, *words))
    made = prepare(options)
    return run(made.dataset, made.prompts, made.backbone, Store(folder), made.method, warn=False)


def _digest(result: Result) -> str:
    """Of what was clustered and predicted."""
    digest = hashlib.sha256()
    for split in (result.train, result.test):
        for rows in (split.rows, split.fused.round(4), split.clusters, split.predicted):
            digest.update(rows.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("words", "given", "works"), PAIRS)
def test_an_override_is_said_to_do_nothing_if_it_does_nothing(
    words: str, given: str, works: bool, tmp_path: Path
) -> None:
    notes = _notes(_words(words), given)
    if works:
        assert not notes
    else:
        (note,) = notes
        key, _, value = given.lstrip("+").partition("=")
        assert note.startswith(f"{key}={value} has no effect: ")
    before, after = (_result([*_words(words), *more], tmp_path) for more in ((), (given,)))
    assert (_digest(before) != _digest(after)) == works


# Another value of each key that the options of a group share.
_OTHER = {
    "text": ("text.share=0.01",),
    "pairing": ("pairing.fraction=0.9",),
    "fusion": ("fusion.alpha=0.9",),
    "clusterer": (
        "clusterer.n_neighbors=4",
        "clusterer.n_init=1",
        "clusterer.approximate=true",
        "clusterer.linkage=single",
        "clusterer.covariance_type=full",
        "clusterer.min_cluster_size=3",
    ),
}
_NEED_WORDS = ("tac", "coop", "upl")  # a backbone with a vocabulary, or with gradients
_SLOW = ("turtle",)


@pytest.mark.slow
@pytest.mark.parametrize("group", _OTHER)
def test_what_is_said_to_do_nothing_does_nothing_with_any_choice(group: str, tmp_path: Path) -> None:
    said = 0
    for file in sorted((conf_dir() / group).glob("*.yaml")):
        if file.stem in (*_NEED_WORDS, *_SLOW):
            continue
        size = ["clusterer.min_cluster_size=3"] if file.stem == "hdbscan" else []
        words = [f"{group}={file.stem}", "prompt=templates", *size]
        found = [given for given in _OTHER[group] if _notes(words, given)]
        if found:
            said += len(found)
            digest = _digest(_result(words, tmp_path))
            assert digest == _digest(_result([*words, *found], tmp_path)), found
    assert said


def test_a_sweep_says_each_once_and_a_run_too(tmp_path: Path, commands: Commands) -> None:
    words = [*_BASE, "prompt=none", f"output_dir={tmp_path}"]
    done = commands("run", *words, "text=rotated")
    assert done.code == 0, done.said
    assert done.said.count("text=rotated has no effect: there are no prompts (prompt=none).") == 1
    done = commands("run", "-m", *words, "text=rotated,isotropic", "seed=1,2")
    assert done.code == 0, done.said
    assert (
        done.said.count("text=rotated has no effect") == done.said.count("text=isotropic has no effect") == 1
    )
