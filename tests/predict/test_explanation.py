"""Evidence for the answers of a real run, compared with what its files and images say."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fused_clip import load_model
from fused_clip.dataset.embedded import read_mnist_5k
from fused_clip.model.saved import SavedModel
from fused_clip.predict.explanation import Explainer, Explanation
from fused_clip.support.errors import InputError
from tests.small_runs import small_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with clusters of several digits."""
    return small_run(tmp_path_factory.mktemp("run"), "prompt=grouped", "clusters_per_target=3", "seed=1")


@pytest.fixture(scope="module")
def model(run: Path) -> SavedModel:
    return load_model(run, device="cpu")


@pytest.fixture(scope="module")
def explainer(run: Path, model: SavedModel) -> Explainer:
    return Explainer.of(run, model)


@pytest.fixture(scope="module")
def rows(model: SavedModel) -> np.ndarray:
    """Embeddings of digits that are not among the 300."""
    return model.embed([digit[..., None].repeat(3, axis=2) for digit in digits()[3::40]])


def digits() -> np.ndarray:
    return read_mnist_5k()[0]


def explained(explainer: Explainer, rows: np.ndarray) -> list[Explanation]:
    return explainer.explain(rows, explainer.model.predict_embeddings(rows))


def table(run: Path) -> pd.DataFrame:
    frame = pd.read_parquet(run / "predictions.parquet")
    return frame[frame["split"] == "train"].reset_index(drop=True)


def images_of(run: Path) -> np.ndarray:
    """Embeddings of the training images, made anew from the pixels that their ids name."""
    numbers = [int(name.rpartition("/")[2]) for name in table(run)["row_id"]]
    chosen = digits()[numbers]
    return load_model(run, device="cpu").embed([digit[..., None].repeat(3, axis=2) for digit in chosen])


def test_neighbors_are_the_most_similar_training_images(
    run: Path, explainer: Explainer, rows: np.ndarray
) -> None:
    trained = images_of(run).astype(np.float64)
    queries = rows.astype(np.float64)
    cosines = (queries @ trained.T) / np.outer(*(np.linalg.norm(one, axis=1) for one in (queries, trained)))
    frame = table(run)
    for similar, found in zip(cosines, explained(explainer, rows), strict=True):
        best = np.argsort(-similar)[:3]
        np.testing.assert_allclose(
            [one.similarity for one in found.neighbors], similar[best], atol=1e-4
        )  # embedded in batches of other sizes
        assert {one.position for one in found.neighbors} == set(best)
        for one in found.neighbors:
            assert (one.id, one.target) == (frame["row_id"][one.position], frame["target"][one.position])


def test_a_training_image_is_its_own_nearest(explainer: Explainer) -> None:
    some = explainer.training.images[[5, 17]]
    for position, found in zip((5, 17), explained(explainer, some), strict=True):
        assert found.neighbors[0].position == position
        assert found.neighbors[0].similarity == 1


def test_the_composition_counts_the_labels_of_the_clusters_rows(
    run: Path, explainer: Explainer, rows: np.ndarray
) -> None:
    frame = table(run)
    predicted = explainer.model.predict_embeddings(rows)
    assert len(set(predicted.clusters)) > 2
    for cluster, found in zip(predicted.clusters, explained(explainer, rows), strict=True):
        shares = frame["target"][frame["cluster"] == cluster].value_counts(normalize=True)
        assert dict(found.composition) == {name: round(share, 6) for name, share in shares.items()}
        assert list(found.composition.values()) == sorted(found.composition.values(), reverse=True)


def test_the_composition_of_a_mixed_cluster(explainer: Explainer, rows: np.ndarray) -> None:
    """Rows without a label do not count."""
    own = np.flatnonzero(explainer.training.clusters == 2)
    targets = np.full(len(explainer.training), -1)
    targets[own[:3]] = 0, 1, 1
    mixed = Explainer(replace(explainer.training, targets=targets), explainer.model)
    predicted = explainer.model.predict_embeddings(rows[:3])
    predicted = replace(predicted, clusters=np.array([2, 0, -1], dtype=np.int64))
    even, odd = explainer.training.target_names
    first, second, none = mixed.explain(rows[:3], predicted)
    assert list(first.composition.items()) == [(odd, 0.666667), (even, 0.333333)]
    assert second.composition == none.composition == {}
    labels = {near.position: near.target for one in (first, second, none) for near in one.neighbors}
    expected = {-1: None, 0: even, 1: odd}
    assert labels == {position: expected[targets[position]] for position in labels}


def test_the_prompt_is_the_answers(explainer: Explainer, rows: np.ndarray) -> None:
    predicted = explainer.model.predict_embeddings(rows)
    expected = [f"This is a digit {name}" for name in predicted.targets]
    assert [one.prompt for one in explained(explainer, rows)] == expected
    assert len(set(expected)) == 2


def test_the_prompt_of_a_group_is_that_of_its_best_target(explainer: Explainer, rows: np.ndarray) -> None:
    merged = explainer.model.constrain(target_map={"any": ["even", "odd"]})
    plain = explained(explainer, rows)
    found = explained(explainer.with_model(merged), rows)
    assert [one.prompt for one in found] == [one.prompt for one in plain]
    assert {one.prompt_share for one in found} == {None}, "no runner-up"
    only = explained(explainer.with_model(explainer.model.constrain(targets=["odd"])), rows)
    assert {one.prompt for one in only} == {"This is a digit odd"}


def test_batches_do_not_matter(explainer: Explainer, rows: np.ndarray) -> None:
    together = explained(explainer, rows)
    assert [one for part in np.array_split(rows, 7) for one in explained(explainer, part)] == together
    assert explained(explainer, rows[:0]) == []


def test_fewer_rows_than_neighbors(explainer: Explainer, rows: np.ndarray) -> None:
    names = ("ids", "targets", "clusters", "prompts", "images", "rows")
    first = {name: getattr(explainer.training, name)[:2] for name in names}
    two = Explainer(replace(explainer.training, **first), explainer.model)
    vars(two)["_attribution"] = None  # its clusters need their rows
    clusters = np.full(len(rows), -1, dtype=np.int64)
    found = two.explain(rows, replace(explainer.model.predict_embeddings(rows), clusters=clusters))
    assert {len(one.neighbors) for one in found} == {2}


def test_thumbnails_are_the_training_images(run: Path, explainer: Explainer) -> None:
    for position in (0, 123, 299):
        number = int(table(run)["row_id"][position].rpartition("/")[2])
        encoded = explainer.thumbnail(position)
        assert encoded is not None
        with Image.open(BytesIO(encoded)) as image:
            assert image.format == "WEBP"
            difference = np.abs(np.asarray(image.convert("L")).astype(float) - digits()[number])
        assert difference.mean() < 12, "WebP loses a little"
    assert explainer.thumbnails([123, 0, 123]).keys() == {0, 123}
    for position in (-1, 300):
        with pytest.raises(IndexError, match=f"no training row {position}"):
            explainer.thumbnail(position)


@pytest.fixture
def moved(run: Path, tmp_path: Path) -> Path:
    """A copy of all outputs, elsewhere."""
    outputs = run.parents[2]
    shutil.copytree(outputs, tmp_path / "moved")
    return tmp_path / "moved" / run.relative_to(outputs)


def edit(directory: Path, output_dir: str | None = None, **changes: object) -> None:
    """Change a run's config, of its dataset or where it writes; it has no checksum then."""
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["dataset"] |= changes
    config["output_dir"] = output_dir or config["output_dir"]
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "SHA256SUMS").unlink()


def test_moved_outputs_explain_the_same(
    moved: Path, model: SavedModel, explainer: Explainer, rows: np.ndarray
) -> None:
    elsewhere = Explainer.of(moved / "model", model)
    assert explained(elsewhere, rows) == explained(explainer, rows)
    assert str(elsewhere.training.directory) == str(moved)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"seed": 5, "n_train": None}, ""),
     ({"_target_": "fused_clip.dataset.digits"}, "no longer those of the run"),
     ({"_target_": "os.system"}, "dataset._target_"), ({"n_train": "many"}, "dataset.n_train")],
)  # fmt: skip
def test_pictures_that_are_gone_leave_the_text(
    moved: Path,
    model: SavedModel,
    explainer: Explainer,
    rows: np.ndarray,
    change: dict[str, object],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another draw of the same images still has the pictures, by their rows; other images do not."""
    edit(moved, **change)
    other = Explainer.of(moved, model)
    assert explained(other, rows) == explained(explainer, rows)
    assert other.thumbnail(0) == (None if reason else explainer.thumbnail(0))
    assert other.thumbnails([0, 1]).keys() == (set() if reason else {0, 1})
    assert caplog.text.count("No thumbnails of training images") == bool(reason)
    assert reason in caplog.text


def test_what_is_missing_is_named(run: Path, moved: Path, model: SavedModel, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "bare" / "model")
    for place in (tmp_path / "bare", tmp_path / "bare" / "model", tmp_path / "nothing"):
        with pytest.raises(
            InputError, match=r"explain: needs the directory of a run.*no predictions\.parquet"
        ):
            Explainer.of(place, model)
    with pytest.raises(InputError, match="explain: needs the model and the training rows of one run"):
        Explainer.of(run, replace(model, head=replace(model.head, target_names=("odd", "even"))))
    shutil.rmtree(moved.parents[2] / "store")
    assert len(Explainer.of(moved, model).training) == 300, "the store of the config's output_dir"
    checksums = (moved / "SHA256SUMS").read_bytes()
    edit(moved, output_dir=f"{tmp_path}/gone")
    with pytest.raises(InputError, match=r"explain: needs the embeddings .* Run again with the same options"):
        Explainer.of(moved, model)
    (moved / "SHA256SUMS").write_bytes(checksums)
    (moved / "predictions.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"explain: is damaged: predictions\.parquet"):
        Explainer.of(moved, model)


def test_rows_of_a_classifier_without_clusters_and_without_own_prompts(
    tmp_path: Path, rows: np.ndarray
) -> None:
    """The prompt comes from the run's options, the composition and the share are not defined."""
    run = small_run(tmp_path, "classifier=knn", "prompt=swapped")
    explainer = Explainer.of(run, load_model(run, device="cpu"))
    predicted = explainer.model.predict_embeddings(rows)
    found = explainer.explain(rows, predicted)
    assert [one.prompt for one in found] == [
        f"This is a digit {(int(name) - 1) % 10}" for name in predicted.targets
    ]
    assert {(tuple(one.composition), one.prompt_share) for one in found} == {((), None)}
    edit(run, _target_="fused_clip.dataset.digits")
    without = Explainer.of(run, explainer.model)
    assert {one.prompt for one in without.explain(rows, predicted)} == {None}


def test_a_run_without_text(tmp_path: Path, rows: np.ndarray) -> None:
    run = small_run(tmp_path, "prompt=none")
    found = explained(Explainer.of(run, load_model(run, device="cpu")), rows)
    assert {(one.prompt, one.prompt_share) for one in found} == {(None, None)}
    assert all(one.composition for one in found)


def test_records_are_json(explainer: Explainer, rows: np.ndarray) -> None:
    (found,) = explained(explainer, rows[:1])
    assert json.loads(json.dumps(found.record())) == {
        "neighbors": [vars(one) for one in found.neighbors],
        "composition": dict(found.composition),
        "prompt": found.prompt,
        "prompt_share": found.prompt_share,
    }
