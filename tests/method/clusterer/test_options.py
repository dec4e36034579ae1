from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from fused_clip.method.clusterer.wrapped import configured
from fused_clip.runner.config import ClustererOptions, build

CONF = Path(__file__).parents[3] / "conf"
OPTIONS = sorted((CONF / "clusterer").glob("*.yaml"))


def make(path, *overrides):
    merged = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
    return build(ClustererOptions.model_validate(OmegaConf.to_container(merged)))


def named(name):
    return CONF / "clusterer" / f"{name}.yaml"


def test_all_are_there():
    assert {"spectral", "spectral_sklearn", "kmeans", "agglomerative", "gmm", "hdbscan", "tac", "turtle"} <= {
        path.stem for path in OPTIONS
    }


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")
def test_finds_blobs(path):
    rows, group = make_blobs([80, 60, 70], n_features=6, cluster_std=0.4, random_state=0)
    texts = np.stack([rows[group == one].mean(axis=0) for one in range(3)])
    words = np.random.default_rng(0).normal(size=(50, 6))
    wanted = {"n_clusters": 3, "n_components": 3, "random_state": 0, "texts": texts, "votes": group}
    wanted["word_rows"] = words
    labels = configured(make(path), wanted).fit_predict(rows.astype(np.float32))
    assert adjusted_rand_score(group, labels) > 0.9


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_says_first_what_it_is(path):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("name", "override", "value"),
    [
        ("spectral", "n_neighbors", 7),
        ("spectral", "approximate", "true"),
        ("spectral_sklearn", "n_neighbors", 7),
        ("kmeans", "n_init", 2),
        ("agglomerative", "linkage", "average"),
        ("gmm", "covariance_type", "spherical"),
        ("hdbscan", "min_cluster_size", 9),
        ("kmeans_prompts", "max_iter", 3),
        ("keep_classes", "base.n_init", 3),
        ("tac", "n_init", 2),
    ],
)
def test_takes_its_shared_keys(name, override, value):
    taken = make(named(name), f"{override}={value}").get_params()[override.replace(".", "__")]
    assert taken == (True if value == "true" else value)


def test_approximate_is_yes_no_or_auto():
    assert make(named("spectral")).approximate == "auto"
    with pytest.raises(ValidationError, match="approximate"):
        make(named("spectral"), "approximate=often")


def test_the_paper_settings_are_the_defaults():
    params = make(named("spectral_sklearn")).get_params()
    assert params["affinity"] == "nearest_neighbors"
    assert params["assign_labels"] == "kmeans"
    assert params["n_neighbors"] == make(named("spectral")).n_neighbors == 10


def test_hdbscan_calls_stray_rows_noise():
    rows, _ = make_blobs([60, 60], n_features=2, cluster_std=0.2, random_state=0)
    labels = make(named("hdbscan")).fit_predict(np.vstack([rows, [[100, 100], [-100, 80]]]))
    np.testing.assert_array_equal(labels[-2:], -1)
