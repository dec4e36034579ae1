"""Evidence on the page, for a run whose training rows are there."""

from pathlib import Path

import pytest

from fused_clip.app.cards import cards, html, positions
from fused_clip.app.studio import Studio
from fused_clip.app.uploads import Upload
from fused_clip.app.wishes import Wishes
from fused_clip.dataset.embedded import read_mnist_5k
from fused_clip.predict.__main__ import main
from tests.app.conftest import png
from tests.small_runs import small_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits() -> list[Upload]:
    """Digits that are not among the run's."""
    images = read_mnist_5k()[0][3::500]
    return [Upload.of(f"{n}.png", png(image[..., None].repeat(3, axis=2))) for n, image in enumerate(images)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def explained(directory: Path) -> Studio:
    return Studio.load(str(directory), "cpu")


def test_answers_have_the_evidence_of_the_command_line(
    explained: Studio, directory: Path, digits: list[Upload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    monkeypatch.chdir(tmp_path)
    for upload in digits:
        Path(upload.name).write_bytes(upload.read())
    names = [upload.name for upload in digits]
    main([str(directory), *names, "--out", "out.jsonl", "--device", "cpu", "--explain", "--targets", "3,5,8"])
    told = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    sheet = explained.answer(digits, Wishes(targets=("3", "5", "8")))
    for row, expected in zip(sheet.rows, told, strict=True):
        evidence = {key: row[key] for key in ("neighbors", "composition", "prompt", "prompt_share")}
        assert json.loads(json.dumps(evidence)) == {key: expected[key] for key in evidence}


def test_neighbours_have_their_pictures(explained: Studio, digits: list[Upload]) -> None:
    sheet = explained.answer(digits, Wishes())
    shown = cards(sheet, range(len(digits)))
    pictures = explained.thumbnails(positions(shown))
    assert pictures.keys() == positions(shown)
    assert html(shown, pictures).count("<img") == len(digits) + 3 * len(digits)


def test_an_added_target_has_neighbours_and_its_sentence(explained: Studio, digits: list[Upload]) -> None:
    sentence = "This is a letter"
    added = Wishes(added=(("letter", sentence),))
    plain, more = (explained.answer(digits, wishes) for wishes in (Wishes(), added))
    only = explained.answer(digits, Wishes(added=added.added, targets=("letter",)))
    for before, after, alone in zip(plain.rows, more.rows, only.rows, strict=True):
        assert after["neighbors"] == before["neighbors"] == alone["neighbors"]
        assert after["prompt"] == (sentence if after["target"] == "letter" else None)
        assert (alone["target"], alone["prompt"], alone["cluster"]) == ("letter", sentence, -1)


def test_evidence_for_other_wishes_searches_the_same_index(explained: Studio, digits: list[Upload]) -> None:
    explainer = explained.explainer
    assert explainer is not None
    narrowed = explainer.with_model(explained.model.constrain(targets=["3", "5"]))
    rows = explained.model.embed([upload.read() for upload in digits])
    explainer.explain(rows, explainer.model.predict_embeddings(rows))
    assert vars(explainer)["_similar"] is vars(narrowed)["_similar"]
