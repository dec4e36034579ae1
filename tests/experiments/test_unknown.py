"""The study of unknown images: its scores by hand, and tables that say what was measured."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.covariance import LedoitWolf

from experiments.guarantees.kept import measure_all
from experiments.guarantees.sets import FASHION, Altered, Places, pictures
from experiments.unknown import choice, report
from experiments.unknown.scores import Scorer
from fused_clip.dataset.images import ArrayImages
from fused_clip.guarantee.novelty import novelty
from fused_clip.method.fusion import unit_rows
from tests.conftest import Blobs
from tests.model.conftest import fitted


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "out", tmp_path / "fashion", tmp_path / "photos.parquet", tmp_path / "textures")


@pytest.fixture
def scorer(blobs: Blobs) -> Scorer:
    return Scorer(fitted(blobs), blobs.train, 0)


def test_scores_are_higher_for_images_that_are_far_away(blobs: Blobs, scorer: Scorer) -> None:
    """But for those that only compare targets with each other."""
    known, far = scorer.scores(blobs.test), scorer.scores(-blobs.test)
    for name in known.keys() - {"maximum probability", "relative Mahalanobis"}:
        assert np.median(far[name]) > np.median(known[name]), name


def test_scores_are_what_their_names_say(blobs: Blobs, scorer: Scorer) -> None:
    found = scorer.scores(blobs.test)
    probabilities = scorer.model.predict_proba(blobs.test)
    np.testing.assert_allclose(found["maximum probability"], -probabilities.max(axis=1))
    np.testing.assert_allclose(found["mean of 5 neighbours"], novelty(blobs.test, blobs.train), atol=1e-5)
    cosines = unit_rows(blobs.test) @ unit_rows(blobs.train).T
    np.testing.assert_allclose(found["neighbour 5"], 1 - np.sort(cosines, axis=1)[:, -5], atol=1e-5)
    np.testing.assert_array_equal(found["mean of 5 neighbours"], found["mean of 5 neighbours, 200 rows"])


def test_mahalanobis_distances_are_those_of_scikit_learn(blobs: Blobs, scorer: Scorer) -> None:
    """To the nearest of the predicted targets' means."""
    rows, new = unit_rows(blobs.train), unit_rows(blobs.test)
    kind = scorer.model.predict(blobs.train)
    means = np.stack([rows[kind == each].mean(axis=0) for each in range(3)])
    covariance = LedoitWolf(assume_centered=True).fit(rows - means[kind])
    distances = np.stack([covariance.mahalanobis(new - mean) for mean in means])
    np.testing.assert_allclose(scorer.scores(blobs.test)["Mahalanobis"], distances.min(axis=0))


def test_the_choice_puts_the_best_score_first() -> None:
    lines = [
        {
            "backbone": backbone,
            "known": "mnist",
            "unknown": unknown,
            "classifier": "zero_shot",
            "seed": seed,
            "score": score,
            "auroc": auroc + seed * {choice.PACKAGE: 0.1, "bad": 0.2}[score],
        }
        for backbone in ("compact", "open")
        for unknown, score, auroc in (
            ("other classes", choice.PACKAGE, 0.7),
            ("cifar10", choice.PACKAGE, 0.8),
            ("other classes", "bad", 0.75),
            ("cifar10", "bad", 0.2),
        )
        for seed in (0, 1)
    ]
    first, second = choice.table(lines)
    assert [first["score"], second["score"]] == [choice.PACKAGE, "bad"]
    assert first["compact, near"] == "0.750"
    assert first["open, far"] == "0.850"
    assert (first["mean"], first["difference"], first["worst"]) == ("0.8000", "+0.0000 ± 0.0000", "0.750")
    assert second["difference"] == "-0.2250 ± 0.0707"


def test_the_report_has_mean_and_spread_of_what_was_found() -> None:
    common = {"backbone": "open", "known": "cifar10", "unknown": "photos", "score": report.PRODUCT}
    calls = [
        {"images": 1_000, "auroc": a, "false_alarms": 0.05, "found": f} for a, f in ((0.9, 0.5), (1, 0.7))
    ]
    other = {**common, "score": "energy", "auroc": 0.1}
    (row,) = report.table([*({**common, **one} for one in calls), other])
    assert row == {
        "known": "cifar10",
        "unknown": "photos (1,000)",
        "backbone": "open",
        "AUROC": "0.950 ± 0.071",
        "known called unknown": "0.050 ± 0.000",
        "unknown found": "0.600 ± 0.141",
    }
    best, worst = report.scores_table(
        [other, {**common, **calls[0]}, {**other, "score": "ViM", "auroc": 0.9}]
    )
    assert best == {"score": "ViM", "cifar10 / photos, open": "0.900"}
    assert worst == {"score": "energy", "cifar10 / photos, open": "0.100"}


def test_fashion_is_read_from_the_files_of_its_authors(places: Places) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    labels = np.arange(7, dtype=np.uint8)
    places.fashion.mkdir()
    for name, header, content in (("images-idx3", 16, pixels), ("labels-idx1", 8, labels)):
        file = places.fashion / f"t10k-{name}-ubyte.gz"
        file.write_bytes(gzip.compress(bytes(header) + content.tobytes()))
    found = pictures("fashion", "open", places)
    (third,) = found.images.read(np.array([2]))
    np.testing.assert_array_equal(third[..., 0], pixels[2])
    assert found.labels.tolist() == list(range(7))
    assert found.names == FASHION


def test_textures_are_cut_into_patches_that_do_not_overlap(places: Places) -> None:
    places.textures.mkdir()
    whole = np.random.default_rng(0).integers(0, 256, (3, 130, 192), dtype=np.uint8)
    for image, name in zip(whole, ("brick", "grass", "gravel"), strict=True):
        Image.fromarray(image).save(places.textures / f"{name}.png")
    found = pictures("textures", "open", places)
    assert found.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    (patch,) = found.images.read(np.array([10]))
    np.testing.assert_array_equal(patch[..., 1], whole[1, 64:128, 64:128])


def test_altered_images_are_others_by_their_fingerprint() -> None:
    images = ArrayImages(np.full((2, 4, 4), 100, np.uint8), "grey")
    half = Altered(images, lambda image: image // 2, "half")
    (one,) = half.read(np.array([1]))
    assert (one == 50).all()
    assert (
        len({images.fingerprint, half.fingerprint, Altered(images, half.operation, "third").fingerprint}) == 3
    )
    assert half.ids(np.array([1])) == ["grey/1, half"]
    assert len(half) == 2


def test_measurements_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    asked = []

    def measure(task: str) -> list[dict[str, str]]:
        asked.append(task)
        return [{"of": task}]

    for _ in range(2):
        found = measure_all(measure, ["a", "b"], "{}.json".format, tmp_path / "kept", 1)
        assert found == [{"of": "a"}, {"of": "b"}]
    (tmp_path / "kept" / "b.json").unlink()
    measure_all(measure, ["a", "b"], "{}.json".format, tmp_path / "kept", 1)
    assert asked == ["a", "b", "b"]
