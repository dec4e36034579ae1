"""Clusterers, label-free pairings and chosen numbers of clusters in whole runs."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN, KMeans

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import fusion, pairing, prompt
from fused_clip.method.clusterer import KeepClasses, KMeansFromPrompts, SpectralClustering
from fused_clip.method.prompt import Prompts
from fused_clip.runner.build import make_method, prepare
from fused_clip.runner.config import check
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.runner.test_config import composed
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method, pipeline, run


def shared(dataset: ImageDataset) -> Prompts:
    """Two prompts for three targets."""
    own = prompt.task(dataset)
    return dataclasses.replace(own, texts=own.texts[:2], prompt_of_target=np.array([0, 1, 1]))


@pytest.mark.parametrize("option", ["kmeans_prompts", "keep_classes"])
@pytest.mark.parametrize("number", [1, 2])
def test_an_option_works_in_a_run_with_every_reference(
    toy: ImageDataset, blobs: Blobs, option: str, number: int
) -> None:
    parts = make_method(check(composed(f"clusterer={option}", f"clusters_per_target={number}")))
    result = run(toy, blobs, **{name: value for name, value in vars(parts).items() if name != "memory"})
    assert result.metrics["test/accuracy"] == 1
    assert result.metrics["missing_targets"] == 0
    without_text = "reference/image_only_accuracy" in result.metrics
    assert without_text == (option == "keep_classes"), "k-means from prompts has no image-only reference"
    assert "reference/rotated_text_accuracy" in result.metrics


@pytest.mark.parametrize("option", ["sinkhorn", "adaptive"])
def test_a_pairing_without_labels_works_in_a_run(toy: ImageDataset, blobs: Blobs, option: str) -> None:
    parts = make_method(check(composed(f"pairing={option}", "vote=prompt", "clusterer=kmeans")))
    result = run(toy, blobs, **vars(parts))
    assert not result.uses_labels
    assert result.metrics["test/accuracy"] > 0.9
    assert [curve.name for curve in result.curves] == (["pairing_rounds"] if option == "adaptive" else [])


def test_the_adaptive_pairing_is_given_the_clusters_of_the_method(toy: ImageDataset, blobs: Blobs) -> None:
    """Those of the rows fused as they are paired, and of the images alone where all have one prompt."""
    found: dict[str, Any] = {}

    def spy(images: Any, texts: Any, partition: Any) -> Any:
        index = pairing.zero_shot(images, texts)
        found.update(fused=partition(index), images=partition(np.zeros_like(index)))
        return index

    parts: dict[str, Any] = {"pairing": spy, "pairing_uses_labels": False, "references": ()}
    clusters = run(toy, blobs, vote="prompt", **parts).train.clusters
    np.testing.assert_array_equal(found["fused"], clusters)
    without = run(toy, blobs, prompt.none, references=()).train.clusters
    np.testing.assert_array_equal(found["images"], without)


@pytest.mark.parametrize(
    ("parts", "strategy", "message"),
    [
        (
            {"clusterer": KMeansFromPrompts()},
            prompt.none,
            "^clusterer: needs prompts, and prompt=none has none",
        ),
        ({"clusterer": KeepClasses(KMeansFromPrompts())}, prompt.none, "^clusterer: needs prompts"),
        (
            {"clusterer": KMeansFromPrompts(), "clusters_per_target": 1},
            shared,
            "from each of the 2 prompts, so that n_clusters must be a multiple of it, got 3",
        ),
        ({"clusterer": KMeansFromPrompts(), "clusters_per_target": "auto"}, shared, "got 3"),
        (
            {"clusterer": HDBSCAN(), "clusters_per_target": "auto"},
            prompt.task,
            "^clusters_per_target: 'auto' needs a clusterer that is given the number of clusters",
        ),
        (
            {"clusterer": KeepClasses(SpectralClustering(n_neighbors=200))},
            prompt.task,
            r"^clusterer\.n_neighbors: must be at most the 120 training images, got 200",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused_before_embedding(
    toy: ImageDataset, blobs: Blobs, parts: dict[str, Any], strategy: Any, message: str
) -> None:
    embedder = BlobEmbedder(blobs)
    with pytest.raises(InputError, match=message):
        pipeline.run(toy, strategy(toy), FakeBackbone(), embedder, method(**parts))
    assert embedder.asked == []


@pytest.mark.parametrize(
    "clusterer", [KMeansFromPrompts(), KeepClasses(KMeans(n_init=1)), SpectralClustering()]
)
def test_a_run_may_choose_the_number_of_clusters(toy: ImageDataset, blobs: Blobs, clusterer: Any) -> None:
    result = run(toy, blobs, clusterer=clusterer, clusters_per_target="auto", references=())
    assert result.metrics["chosen/clusters_per_target"] == 1
    assert result.metrics["test/accuracy"] == 1
    assert [curve.name for curve in result.curves] == ["clusters_per_target"]


def test_too_few_images_to_choose_a_number_are_refused(toy: ImageDataset, blobs: Blobs) -> None:
    five = dataclasses.replace(
        toy, train=dataclasses.replace(toy.train, rows=toy.train.rows[:5], labels=toy.train.labels[:5])
    )
    message = "makes 3 clusters, which need twice as many training images; there are 5, got 'auto'"
    with pytest.raises(InputError, match=message):
        run(five, blobs, clusters_per_target="auto", references=())


def test_several_clusters_of_a_shared_prompt_are_allowed(toy: ImageDataset, blobs: Blobs) -> None:
    result = run(toy, blobs, shared, clusterer=KMeansFromPrompts(), clusters_per_target=2, references=())
    assert result.metrics["n_clusters"] == 6


def test_options_are_refused_before_work() -> None:
    with pytest.raises(InputError, match=r"^clusters_per_target"):
        check(composed("clusters_per_target=many"))
    assert check(composed("clusters_per_target=auto")).clusters_per_target == "auto"
    with pytest.raises(InputError, match=r"^clusterer: needs prompts"):
        prepare(check(composed("clusterer=kmeans_prompts", "prompt=none")))
    with pytest.raises(InputError, match=r"^clusterer\.maxiter: is not an option"):
        make_method(check(composed("clusterer=kmeans_prompts", "+clusterer.maxiter=3")))


def test_no_vote_is_given_while_a_pairing_is_found(blobs: Blobs, toy: ImageDataset) -> None:
    """`KeepClasses` then leaves the base's partition as it is, unless prompts vote."""
    parts: dict[str, Any] = {
        "pairing": functools.partial(pairing.adaptive, rounds=2),
        "pairing_uses_labels": False,
        "clusterer": KeepClasses(KMeans(n_init=1)),
        "fusion": fusion.SphericalInterpolation(),
    }
    for vote in ("label", "prompt"):
        assert run(toy, blobs, references=(), vote=vote, **parts).metrics["test/accuracy"] > 0.9
