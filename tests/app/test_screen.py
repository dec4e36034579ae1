"""The page's script, without a browser: what each control does to the answers."""

import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit")

from PIL import Image
from streamlit.testing.v1 import AppTest

from fused_clip.app.__main__ import SCRIPT
from fused_clip.app.controls import plain
from fused_clip.app.uploads import Upload
from fused_clip.method.classifier import StatA, ZeroShot
from tests.app.conftest import uploads
from tests.models import save_model

pytestmark = pytest.mark.slow


def opened(place: Path) -> AppTest:
    """The page as a visitor finds it."""
    page = AppTest.from_file(str(SCRIPT), default_timeout=120)
    page.secrets["model"] = {"place": str(place), "device": "cpu", "weights": ""}
    return sound(page.run())


def sound(page: AppTest) -> AppTest:
    assert [error.message for error in page.exception] == []
    return page


def give(page: AppTest, files: list[Upload], place: str = "files") -> AppTest:
    sent = [(upload.name, upload.read(), "image/png") for upload in files]
    return sound(page.file_uploader(key=place).set_value(sent).run())


def cards(page: AppTest) -> str:
    found = [element.proto.body for element in page.get("html") if "fc-cards" in element.proto.body]
    return found[0] if found else ""


def words(page: AppTest, kind: str) -> list[str]:
    return [element.value for element in getattr(page, kind)]


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("wordy"), classifier=ZeroShot(), held_out=60)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made without labels, and without calibration rows."""
    return save_model(tmp_path_factory.mktemp("bare"), calibrated=False)


def test_without_images_there_are_no_answers(run: Path) -> None:
    page = opened(run)
    assert cards(page) == ""
    assert page.error == page.success == []


def test_images_and_a_folder_are_answered_together(run: Path) -> None:
    page = give(opened(run), uploads(3))
    assert cards(page).count("<article") == 3
    below = [upload._replace(name=f"more/{upload.name}") for upload in uploads(2, seed=6)]
    page = give(page, [*below, Upload.of("more/notes.txt", b"notes")], "folder")
    assert cards(page).count("<article") == 5
    assert "**5 images answered**" in words(page, "markdown")
    assert "1 files of the folder are no images." in " ".join(words(page, "caption"))


def test_unreadable_images_are_counted_and_shown(run: Path) -> None:
    page = give(opened(run), [*uploads(1), Upload.of("b.svg", b"<svg/>")])
    assert "**1 image answered**, 1 unreadable" in words(page, "markdown")
    assert "it is no image of a kind that can be read" in cards(page)


def test_possible_targets_narrow_the_answers(run: Path) -> None:
    page = give(opened(run), uploads(6))
    assert "<b>green</b>" in cards(page)
    page = sound(page.multiselect(key="targets").set_value(["red", "blue"]).run())
    assert "<b>green</b>" not in cards(page)
    assert "--targets red,blue" in page.code[0].value


def test_groups_and_priors_change_the_answers(run: Path) -> None:
    page = give(opened(run), uploads(6))
    page = sound(page.text_area(key="groups").set_value("cold: [green, blue]").run())
    assert cards(page).count("<b>cold</b>") == 4
    page = sound(page.text_input(key="prior").set_value("red=.98, green=.01, blue=.01").run())
    assert "--prior red=0.98,green=0.01,blue=0.01" in page.code[0].value


@pytest.mark.parametrize(
    ("key", "kind", "text", "complaint"),
    [
        ("prior", "text_input", "red=.5", "every possible target needs one"),
        ("prior", "text_input", "nonsense", "must be name=number"),
        ("groups", "text_area", "cold: [green, purple]", "must name targets of the model"),
        ("groups", "text_area", "cold: [", "must be YAML"),
    ],
)
def test_what_does_not_fit_is_said_in_place_of_answers(
    key: str, kind: str, text: str, complaint: str, run: Path
) -> None:
    page = give(opened(run), uploads(2))
    page = sound(getattr(page, kind)(key=key).set_value(text).run())
    assert plain(complaint) in " ".join(words(page, "error"))
    assert cards(page) == ""
    assert cards(sound(getattr(page, kind)(key=key).set_value("").run()))


def test_sets_and_calls_of_unknown_with_their_guarantee(run: Path) -> None:
    page = give(opened(run), uploads(24, seed=8))
    assert page.success == []
    page = sound(page.toggle(key="sets").set_value(True).run())
    assert plain("Coverage 0.9.") in words(page, "success")[0]
    assert plain("Shift test: p =") in words(page, "success")[0]
    assert "Set:" in cards(page)
    sound(page.toggle(key="unknown_on").set_value(True).run())
    sound(page.radio(key="per").set_value("target").run())
    sound(page.slider(key="coverage").set_value(0.8).run())
    assert "--coverage 0.8 --coverage-per target --unknown 0.05" in page.code[0].value
    assert "per target" in words(page, "success")[0]


def test_other_images_withdraw_the_guarantee_in_red(run: Path) -> None:
    gray = []
    for n in range(24):
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (9 * n, 9 * n, 9 * n)).save(file, "PNG")
        gray.append(Upload.of(f"{n}.png", file.getvalue()))
    page = give(opened(run), gray)
    page = sound(page.toggle(key="sets").set_value(True).run())
    assert page.success == []
    (red,) = words(page, "error")
    assert red.startswith("**GUARANTEE WITHDRAWN")
    assert plain("p = 0.0005") in red


def test_a_target_is_added_by_a_sentence_and_taken_back(wordy: Path) -> None:
    page = give(opened(wordy), uploads(9))
    before = cards(page)
    page.text_input(key="new_name").set_value("gray")
    page.text_input(key="new_text").set_value("a gray picture")
    page = sound(page.button(key="add").click().run())
    assert page.session_state["added"] == {"gray": "a gray picture"}
    assert page.text_input(key="new_name").value == page.text_input(key="new_text").value == ""
    assert page.code == []
    page = sound(page.multiselect(key="targets").set_value(["gray"]).run())
    assert cards(page).count("<b>gray</b>") == 9
    page = sound(page.button(key="remove-gray").click().run())
    assert page.multiselect(key="targets").value == []
    assert cards(page) == before


def test_an_added_target_withdraws_the_guarantee_in_red(wordy: Path) -> None:
    page = give(opened(wordy), uploads(9))
    sound(page.toggle(key="sets").set_value(True).run())
    page.text_input(key="new_name").set_value("gray")
    page.text_input(key="new_text").set_value("a gray picture")
    page = sound(page.button(key="add").click().run())
    assert words(page, "error") == [
        "**GUARANTEE WITHDRAWN: a target that was added by a sentence has no calibration images.**"
    ]
    assert page.success == []
    assert "Set:" not in cards(page)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("red", "This is red", "must differ from the model's targets"),
        ("gray", "", "text: must not be blank"),
        ("", "gray", "name: must not be blank"),
        ("gray", "red", "must differ from the prompts"),
    ],
)
def test_a_refused_target_leaves_the_answers_and_the_text(
    name: str, text: str, complaint: str, wordy: Path
) -> None:
    page = give(opened(wordy), uploads(2))
    page.text_input(key="new_name").set_value(name)
    page.text_input(key="new_text").set_value(text)
    page = sound(page.button(key="add").click().run())
    assert plain(complaint) in words(page, "error")[0]
    assert cards(page).count("<article") == 2
    assert page.text_input(key="new_name").value == name
    assert words(sound(page.run()), "error") == []


def test_a_model_without_labels_has_margins_and_says_what_it_lacks(bare: Path) -> None:
    page = give(opened(bare), uploads(2))
    assert cards(page).count("margin ") == 2
    assert "<progress" not in cards(page)
    disabled = {
        "prior": page.text_input,
        "sets": page.toggle,
        "unknown_on": page.toggle,
        "threshold": page.slider,
    }
    assert all(find(key=key).disabled for key, find in disabled.items())
    assert "calibration.share=.2" in " ".join(words(page, "caption"))


def test_without_the_run_there_is_no_evidence_and_the_page_says_why(run: Path) -> None:
    page = give(opened(run), uploads(1))
    assert "<details" not in cards(page)
    assert plain("needs the directory of a run") in " ".join(words(page, "caption"))


def test_a_transductive_model_asks_for_a_second_image(tmp_path: Path) -> None:
    page = give(opened(save_model(tmp_path, classifier=StatA())), uploads(1))
    assert plain("must be two or more") in words(page, "error")[0]
    assert cards(give(page, uploads(3))).count("<article") == 3


def test_pages_of_24(run: Path) -> None:
    page = give(opened(run), uploads(26, seed=11))
    assert cards(page).count("<article") == 24
    page = sound(page.radio(key="order").set_value("least certain first").run())
    assert cards(page).count("<article") == 24


MARKDOWN = "![x](http://evil.example/x.png) **b** :red[x] $x$ <b>"


def test_names_are_shown_as_they_are(wordy: Path) -> None:
    page = give(opened(wordy), [uploads(1)[0]._replace(name=f"{MARKDOWN}.png")])
    page.text_input(key="new_name").set_value(MARKDOWN)
    page.text_input(key="new_text").set_value(MARKDOWN)
    page = sound(page.button(key="add").click().run())
    shown: list[Any] = [*words(page, "caption"), *words(page, "error"), *words(page, "markdown")]
    assert not [text for text in shown if "![x]" in text]
    assert any(plain(MARKDOWN) in text for text in shown)
    assert "<b>x" not in cards(page)
    assert "**b** :red[x] $x$ &lt;b&gt;" in cards(page)
