"""The answers of the page: those of ``fused-clip-predict``, and what a visitor asks beyond."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fused_clip.app.studio import Studio
from fused_clip.app.uploads import Upload
from fused_clip.app.wishes import Wishes
from fused_clip.method.classifier import NearestClassMean, StatA
from fused_clip.predict.__main__ import main
from fused_clip.support.errors import InputError
from tests.app.conftest import uploads
from tests.models import save_model


def written(folder: Path, files: list[Upload]) -> list[str]:
    for upload in files:
        (folder / upload.name).write_bytes(upload.read())
    return [upload.name for upload in files]


OPTIONS: list[tuple[Wishes, list[str]]] = [
    (Wishes(), []),
    (Wishes(targets=("red", "blue")), ["--targets", "red,blue"]),
    (Wishes(prior={"red": 0.7, "green": 0.2, "blue": 0.1}), ["--prior", "red=.7,green=.2,blue=.1"]),
    (Wishes(groups={"cold": ("green", "blue")}), ["--target-map", "groups.yaml"]),
    (Wishes(threshold=0.985), ["--threshold", "0.985"]),
    (Wishes(coverage=0.9), ["--coverage", ".9"]),
    (Wishes(coverage=0.8, per="target", unknown=0.1),
     ["--coverage", ".8", "--coverage-per", "target", "--unknown", ".1"]),
    (Wishes(targets=("red", "blue"), prior={"red": 0.5, "blue": 0.5}, unknown=0.2),
     ["--targets", "red,blue", "--prior", "red=.5,blue=.5", "--unknown", ".2"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wishes", "words"), OPTIONS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_the_table_is_that_of_the_command_line(
    wishes: Wishes,
    words: list[str],
    studio: Studio,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [*uploads(12), Upload.of("bad.png", b"no image")]
    Path("groups.yaml").write_text("cold: [green, blue]\n")
    main([str(run), *written(tmp_path, files), "--out", "out.csv", "--device", "cpu", *words])
    assert studio.answer(files, wishes).csv() == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize(("wishes", "words"), OPTIONS[1:])
def test_the_command_that_is_shown_gives_that_table(
    wishes: Wishes,
    words: list[str],
    studio: Studio,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    files = uploads(9)
    written(tmp_path / "photos", files)
    Path("groups.yaml").write_text("cold: [green, blue]\n")
    main(shlex.split(wishes.command(str(run)))[1:])
    below = [upload._replace(name=f"photos/{upload.name}") for upload in files]
    assert studio.answer(below, wishes).csv() == Path("answers.csv").read_bytes()


def test_changed_wishes_embed_nothing_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    files = uploads(5, seed=3)
    studio.answer(files, Wishes())
    backbone: Any = studio.model.require_backbone()
    monkeypatch.setattr(backbone, "encode_prepared", lambda _: pytest.fail("it embeds again"))
    for wishes, _ in OPTIONS:
        studio.answer(files, wishes)


def test_the_shift_is_tested_once_for_the_same_images_and_knowledge(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fused_clip.guarantee import promise

    calls: list[int] = []
    real = promise.shift_test
    monkeypatch.setattr(
        promise, "shift_test", lambda known, rows: calls.append(len(rows)) or real(known, rows)
    )
    files = uploads(7, seed=4)
    first = studio.answer(files, Wishes(coverage=0.9)).totals.shift
    assert studio.answer(files, Wishes(coverage=0.8, unknown=0.1)).totals.shift is first
    assert calls == [7]
    studio.answer(files[:6], Wishes(coverage=0.9))
    studio.answer(files, Wishes(unknown=0.1, prior={"red": 0.8, "green": 0.1, "blue": 0.1}))
    studio.answer(files, Wishes(coverage=0.9, targets=("red", "blue")))
    assert calls == [7, 6, 7, 7]


def test_other_images_withdraw_the_guarantee(studio: Studio) -> None:
    kept = studio.answer(uploads(30, seed=8), Wishes(coverage=0.9)).totals
    assert not kept.warning
    noise = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3), dtype=np.uint8)
    from tests.app.conftest import png

    other = studio.answer(
        [Upload.of(f"{n}.png", png(one)) for n, one in enumerate(noise)], Wishes(coverage=0.9)
    )
    assert other.totals.warning.startswith("GUARANTEE WITHDRAWN")
    table = list(csv.DictReader(io.StringIO(other.csv().decode())))
    assert {row["guarantee"] for row in table} == {"withdrawn"}


def test_images_that_are_all_unreadable_have_rows_and_no_table(studio: Studio) -> None:
    sheet = studio.answer([Upload.of("a.png", b"1"), Upload.of("b.png", b"2")], Wishes(coverage=0.9))
    assert [row["path"] for row in sheet.rows] == ["a.png", "b.png"]
    assert all("no image" in row["error"] for row in sheet.rows)
    assert (sheet.totals.counts["predicted"], sheet.totals.counts["bad"]) == (0, 2)
    assert len(sheet.csv().splitlines()) == 1


@pytest.mark.parametrize(
    ("wishes", "option"),
    [
        (Wishes(targets=("purple",)), "targets"),
        (Wishes(prior={"red": 1.0}), "prior"),
        (Wishes(coverage=0.999), "coverage"),
        (Wishes(added=(("red", "This is red"),)), "name"),
        (Wishes(added=(("x", " "),)), "text"),
        (Wishes(added=(("x", "This is x"),)), "target"),  # whose prompts say nothing of its images
    ],
)
def test_wishes_that_do_not_fit_are_input_errors_before_an_image_is_read(
    wishes: Wishes, option: str, studio: Studio
) -> None:
    unread = Upload("a", b"unread", lambda: pytest.fail("an image was read"))
    with pytest.raises(InputError) as error:
        studio.answer([unread], wishes)
    assert error.value.option == option


def test_a_model_without_labels_gives_margins(tmp_path: Path) -> None:
    bare = Studio.load(str(save_model(tmp_path, calibrated=False)), "cpu")
    rows = bare.answer(uploads(3), Wishes()).rows
    assert [row["probability"] for row in rows] == [None] * 3
    assert all(row["margin"] > 0 for row in rows)
    with pytest.raises(InputError, match="prior"):
        bare.answer(uploads(3), Wishes(prior={"red": 0.5, "green": 0.3, "blue": 0.2}))


def test_a_transductive_model_needs_two_images(tmp_path: Path) -> None:
    batch = Studio.load(str(save_model(tmp_path, classifier=StatA())), "cpu")
    with pytest.raises(InputError, match="two or more"):
        batch.answer(uploads(1), Wishes())
    assert len(batch.answer(uploads(4), Wishes()).rows) == 4


def test_a_target_that_a_sentence_adds_can_be_the_answer(words: Studio) -> None:
    files = uploads(9)
    sheet = words.answer(files, Wishes(added=(("gray", "gray"), ("dark", "dark")), targets=("gray", "dark")))
    assert {str(row["target"]) for row in sheet.rows} <= {"gray", "dark"}
    assert words.answer(files, Wishes()).rows != sheet.rows
    assert words.model.names == ("red", "green", "blue")


def test_an_added_target_withdraws_any_guarantee(words: Studio) -> None:
    assert words.answer(uploads(3), Wishes(coverage=0.9)).totals.guarantee
    with pytest.raises(InputError, match="coverage: needs a model with calibration images"):
        words.answer(uploads(3), Wishes(added=(("gray", "gray"),), coverage=0.9))


def test_a_classifier_without_use_for_a_text_takes_no_target(tmp_path: Path) -> None:
    means = Studio.load(str(save_model(tmp_path, classifier=NearestClassMean())), "cpu")
    with pytest.raises(InputError, match="can't be added to NearestClassMean"):
        means.answer(uploads(2), Wishes(added=(("gray", "gray"),)))
