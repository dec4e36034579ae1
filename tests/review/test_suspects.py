"""A review of real runs with planted errors."""

import csv
import json
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fused_clip import review_labels
from fused_clip.dataset.embedded import read_mnist_5k
from fused_clip.review.evidence_sources import EXPLAINED
from fused_clip.review.suspects import LabelReview
from fused_clip.runner.training_rows import TrainingRows
from fused_clip.support.errors import InputError
from tests.forks import Commands
from tests.small_runs import small_run

pytestmark = pytest.mark.slow
PLANTED = (4, 40, 77, 130, 222, 299)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def planted(run: Path) -> TrainingRows:
    """The run's rows, six labels of which are wrong."""
    training = TrainingRows.of(run, "run")
    targets = training.targets.copy()
    targets[list(PLANTED)] = (targets[list(PLANTED)] + 3) % 10
    return replace(training, targets=targets)


@pytest.fixture(scope="module")
def review(planted: TrainingRows) -> LabelReview:
    return LabelReview.of(planted)


def test_planted_errors_come_first(review: LabelReview, planted: TrainingRows) -> None:
    assert set(review.order[:6].tolist()) == set(PLANTED)
    assert (np.diff(review.pool.wrong[review.order]) <= 0).all()
    assert review.influence.keys() == EXPLAINED.keys()
    assert sum(review.influence.values()) == pytest.approx(1)
    assert max(review.influence.values()) > 0.2
    assert review.pool.wrong[list(PLANTED)].min() > 0.5
    assert review.pool.wrong.sum() == pytest.approx(6, abs=2)


def test_suspects_say_what_the_evidence_says(review: LabelReview, planted: TrainingRows) -> None:
    names = planted.target_names
    for suspect in review.suspects(PLANTED):
        row = suspect.position
        truth = names[(planted.targets[row] - 3) % 10]
        assert (suspect.id, suspect.label) == (planted.ids[row], names[planted.targets[row]])
        assert suspect.suggested == truth
        assert suspect.disagrees
        assert suspect.answers.keys() == EXPLAINED.keys()
        assert suspect.answers["prompts"] == truth
        probabilities = np.exp(review.pool.log_probabilities[row])
        assert suspect.label_probability == round(float(probabilities[planted.targets[row]]), 6)
        assert suspect.suggested_probability == round(float(probabilities.max()), 6)
        assert suspect.wrong == round(float(review.pool.wrong[row]), 6)
    rest = np.setdiff1d(np.arange(300), PLANTED)
    assert sum(suspect.disagrees for suspect in review.suspects(rest)) < 15


def test_neighbors_are_other_images(review: LabelReview, planted: TrainingRows) -> None:
    unit = planted.images / np.linalg.norm(planted.images, axis=1, keepdims=True)
    for row, near in zip(PLANTED, review.neighbors(PLANTED), strict=True):
        cosines = unit.astype(np.float64) @ unit[row]
        cosines[row] = -1
        assert near == np.argsort(-cosines)[:3].tolist()
    twins = replace(planted, images=planted.images[[0] * 5 + list(range(5, 300))])
    (near,) = LabelReview(twins, review.evidence, review.pool).neighbors([2])
    assert len(near) == 3
    assert set(near) <= {0, 1, 3, 4}


def test_prompts_that_are_swapped_get_no_weight(tmp_path: Path) -> None:
    run = small_run(tmp_path, "prompt=swapped")
    truthful = LabelReview.of(TrainingRows.of(run, "run"))
    assert truthful.influence["prompts"] == pytest.approx(0, abs=0.01)
    answers = truthful.suspects(range(300))
    agree = np.mean([suspect.answers["prompts"] == suspect.label for suspect in answers])
    assert agree < 0.2
    assert np.mean([suspect.suggested == suspect.label for suspect in answers]) > 0.9


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["prompt=none"], ""), (["prompt=generic"], ""), (["text=best"], "were learnt from the labels")],
)  # fmt: skip
def test_a_run_without_prompts_that_set_targets_apart(
    tmp_path: Path, words: list[str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    if "text=best" in words:
        words = [*words, "prompt=openai_mnist"]
    review = LabelReview.of(TrainingRows.of(small_run(tmp_path, *words), "run"))
    assert list(review.evidence) == [name for name in EXPLAINED if name != "prompts"]
    assert reason in caplog.text


def edit(directory: Path, group: str, **changes: object) -> None:
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config[group] |= changes
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "SHA256SUMS").unlink(missing_ok=True)


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """A copy of all outputs, whose store is the copy's."""
    outputs = run.parents[2]
    shutil.copytree(outputs, tmp_path / "copy")
    directory = tmp_path / "copy" / run.relative_to(outputs)
    text = (directory / "config.yaml").read_text().replace(str(outputs), str(tmp_path / "gone"))
    (directory / "config.yaml").write_text(text)
    (directory / "SHA256SUMS").unlink()
    return directory


def test_without_the_dataset_prompts_are_taken_in_order_and_pictures_are_left_out(
    copied: Path, commands: Commands, tmp_path: Path
) -> None:
    edit(copied, "dataset", _target_="fused_clip.dataset.digits")
    plain = LabelReview.of(TrainingRows.of(copied, "run"))
    assert "prompts" in plain.evidence
    done = commands("review", copied, "--out", tmp_path / "out.csv", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "No thumbnails of training images" in done.err
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "data:image/webp" not in page
    assert page.count('<span class="none">no picture</span>') > 3


def test_the_table_and_the_page(run: Path, commands: Commands, tmp_path: Path) -> None:
    done = commands("review", run, "--out", tmp_path / "out.csv", "--page", tmp_path / "p.htm", "--top", 2)
    assert done.code == 0, done.err
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out.csv", "p.htm"]
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    own = ["position", "id", "label", "suggested", "wrong", "label_probability", "suggested_probability"]
    assert list(rows[0]) == [*own, *EXPLAINED]
    frame = pd.read_parquet(run / "predictions.parquet")
    frame = frame[frame["split"] == "train"].reset_index(drop=True)
    assert sorted(int(row["position"]) for row in rows) == list(range(300))
    for row in rows:
        assert (row["id"], row["label"]) == tuple(frame.loc[int(row["position"]), ["row_id", "target"]])
    own_table = review_labels(run)
    own_table.to_csv(tmp_path / "python.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "python.csv"), pd.read_csv(tmp_path / "out.csv"))
    wrong = [float(row["wrong"]) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    contradicted = [row for row in rows if row["label"] != row["suggested"]]
    assert f"2 of {len(contradicted)} that the evidence contradicts" in done.out
    page = (tmp_path / "p.htm").read_text("utf-8")
    shown = re.findall(r'<p class="name" title="(.*?)">', page)
    assert shown == [row["id"] for row in contradicted[:2]]
    assert "The first 2 are shown." in page
    assert "the backbone was trained on labels of these classes" in page
    pictures = re.findall(r"data:image/webp;base64,", page)
    assert len(pictures) == 2 * 4, "the image and three neighbours"


def test_the_pictures_of_the_page_are_those_of_its_rows(
    run: Path, planted: TrainingRows, tmp_path: Path
) -> None:
    from base64 import b64decode

    from fused_clip.review import review_page

    review = LabelReview.of(planted)
    review_page.write(tmp_path / "page.html", review, list(PLANTED[:1]), str(run))
    page = (tmp_path / "page.html").read_text("utf-8")
    found = re.findall(r'base64,([^"]+)" alt="([^"]+)"', page)
    assert [name for _, name in found] == [
        planted.ids[row] for row in (PLANTED[0], *review.neighbors(PLANTED[:1])[0])
    ]
    digits = read_mnist_5k()[0]
    for encoded, name in found:
        with Image.open(BytesIO(b64decode(encoded))) as image:
            difference = np.abs(
                np.asarray(image.convert("L")).astype(float) - digits[int(name.split("/")[-1])]
            )
        assert difference.mean() < 12
    names = re.findall(r'<span class="certainty">(.*?)</span>', page)
    assert names == [planted.target_names[planted.targets[row]] for row in review.neighbors(PLANTED[:1])[0]]


def test_it_is_the_same_each_time(run: Path, commands: Commands, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert commands("review", run, "--out", tmp_path / f"{name}.csv").code == 0
    for suffix in ("csv", "html"):
        one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_labels_that_are_not_there(tmp_path: Path, commands: Commands) -> None:
    words = ("dataset.labels=none", "dataset.classes=['0','1','2','3','4','5','6','7','8','9']")
    run = small_run(tmp_path, *words, "pairing=zero_shot", "vote=prompt")
    done = commands("review", run, "--out", tmp_path / "out.csv")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("Error: run: needs labels: ")
    assert not (tmp_path / "out.csv").exists()


def test_one_target_alone(planted: TrainingRows) -> None:
    with pytest.raises(InputError, match="run: needs labels of two targets"):
        LabelReview.of(replace(planted, targets=np.full(300, 4)))


def test_what_is_missing_is_named(copied: Path, commands: Commands, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out.csv")
    shutil.rmtree(copied.parents[2] / "store")
    for place, words in (
        (copied, "run: needs the embeddings of the run's training images"),
        (copied / "nothing", "run: needs the directory of a run"),
        (copied / "model" / "model", "run: needs the directory of a run"),
    ):
        done = commands("review", place, *out, cwd=tmp_path)
        assert (done.code, done.traceback) == (1, False)
        assert words in done.err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "out.txt"], "out: must end in one of these, got 'out.txt'; choose from: .csv"),
        (["--out", "no/out.csv"], "out: must be in an existing folder"),
        (["--out", "there.csv"], "out: must not exist yet"),
        (["--out", "out.csv", "--page", "out.csv"], "page: must end in one of these"),
        (["--out", "there2.csv"], "page: must not exist yet"),
        (["--out", "out.csv", "--top", "0"], "must be at least 1, got 0"),
    ],
)
def test_wrong_places(run: Path, commands: Commands, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "there.csv").write_text("kept")
    (tmp_path / "there2.html").write_text("kept")
    before = sorted(tmp_path.iterdir())
    done = commands("review", run, *words, cwd=tmp_path)
    assert done.code in (1, 2)
    assert message in done.err
    assert sorted(tmp_path.iterdir()) == before


def test_overwrite_replaces(run: Path, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    (tmp_path / "out.html").write_text("old")
    assert commands("review", run, "--out", tmp_path / "out.csv", "--overwrite").code == 0
    assert (tmp_path / "out.csv").read_text().startswith("position,")
    assert "<html" in (tmp_path / "out.html").read_text()


def test_nothing_to_review(review: LabelReview, tmp_path: Path) -> None:
    from fused_clip.review import review_page

    review_page.write(tmp_path / "page.html", review, [], "outputs/runs/x")
    assert "The evidence contradicts no label." in (tmp_path / "page.html").read_text("utf-8")


def test_the_record_of_a_row_is_plain(review: LabelReview) -> None:
    (suspect,) = review.suspects([4])
    assert json.loads(json.dumps(suspect.record()))["position"] == 4
