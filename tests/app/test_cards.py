"""Cards as text: what they show, and that names stay text."""

from html.parser import HTMLParser
from typing import Any

import pytest

from fused_clip.app.cards import ORDERS, Card, html, order, positions
from tests.records import SCRIPT, png

ROW = {
    "path": "photos/cat.jpg",
    "target": "cat",
    "probability": 0.934,
    "probability_2": 0.05,
    "margin": 0.2,
    "runner_up": "dog",
    "cluster": 3,
    "abstained": False,
}
NEAR = {"id": "train/7", "target": "cat", "similarity": 0.8123, "position": 7}
WHY = {
    "neighbors": [NEAR, {**NEAR, "target": None, "position": 9}],
    "composition": {"cat": 0.9, "dog": 0.08, "car": 0.015, "ship": 0.005},
    "prompt": "This is a cat",
    "prompt_share": 0.25,
}


class Page(HTMLParser):
    """Collects texts, tags and attributes."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"] and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def drawn(row: dict[str, Any], thumbnail: bytes = b"WEBP", neighbors: dict[int, bytes] | None = None) -> Page:
    return Page(html([Card(row, thumbnail)], neighbors or {}))


def test_a_card_shows_answer_probability_second_and_name() -> None:
    page = drawn(ROW)
    assert page.text == "cat 93% 2nd 5% dog cat.jpg"
    assert ("value", "0.934") in page.attributes
    assert ("title", "photos/cat.jpg") in page.attributes
    assert ("src", "data:image/webp;base64,V0VCUA==") in page.attributes
    assert "details" not in page.tags


def test_without_probabilities_a_card_shows_the_margin() -> None:
    page = drawn({**ROW, "probability": None, "probability_2": None, "margin": 0.12345})
    assert page.text == "cat margin 0.123 2nd dog cat.jpg"
    assert "progress" not in page.tags


@pytest.mark.parametrize(
    ("members", "text"), [(["cat", "dog"], "Set: cat dog"), (["cat"], "Set: cat"), ([], "Set: empty")]
)
def test_a_set_is_shown_also_if_it_is_the_answer_alone_or_empty(members: list[str], text: str) -> None:
    assert text in drawn({**ROW, "set": members}).text


def test_unknown_and_abstained_call_for_attention() -> None:
    quiet, loud = (drawn({**ROW, "unknown": each, "abstained": each}) for each in (False, True))
    assert "unknown" not in quiet.text
    assert "unknown abstained" in loud.text
    assert ("class", "fc-card fc-doubtful") in loud.attributes
    assert ("class", "fc-card") in quiet.attributes


def test_an_unreadable_image_shows_its_reason() -> None:
    page = drawn({"path": "a.svg", "error": "it is no image"}, b"")
    assert page.text == "no picture Unreadable it is no image a.svg"
    assert "img" not in page.tags


def test_evidence_names_neighbours_cluster_and_prompt() -> None:
    page = drawn({**ROW, **WHY}, neighbors={7: b"SEVEN"})
    assert "cat 0.81 no label 0.81" in page.text
    assert "Labels in its cluster: 90% cat, 8% dog, 2% car" in page.text
    assert "“This is a cat” Its share of the evidence against dog: 25%." in page.text
    assert page.tags.count("img") == 2  # its own, and the one neighbour that has a picture
    assert positions([Card({**ROW, **WHY}, b""), Card(ROW, b"")]) == {7, 9}


def test_evidence_for_an_added_target_has_no_cluster() -> None:
    page = drawn({**ROW, "neighbors": [NEAR], "prompt": None})
    assert "Nearest training images" in page.text
    assert "cluster" not in page.text


def test_names_stay_text() -> None:
    near = {**NEAR, "id": SCRIPT, "target": SCRIPT}
    why = {**WHY, "neighbors": [near], "composition": {SCRIPT: 1.0}, "prompt": SCRIPT}
    row = {**ROW, **why, "path": SCRIPT, "target": SCRIPT, "runner_up": SCRIPT, "set": [SCRIPT]}
    for page in (drawn(row, neighbors={7: png()}), drawn({"path": SCRIPT, "error": SCRIPT}, b"")):
        plain = {
            "style",
            "div",
            "article",
            "img",
            "p",
            "b",
            "span",
            "progress",
            "details",
            "summary",
            "ul",
            "li",
        }
        assert set(page.tags) <= plain
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert SCRIPT.split("/")[-1] in page.text


def test_the_least_certain_come_first_after_the_unknown_and_before_the_unreadable() -> None:
    rows = [
        {**ROW, "probability": 0.9},
        {"path": "x", "error": "no image"},
        {**ROW, "probability": 0.4},
        {**ROW, "probability": 0.99, "unknown": True},
        {**ROW, "probability": 0.4},
    ]
    assert order(rows, ORDERS[0]) == [0, 1, 2, 3, 4]
    assert order(rows, ORDERS[1]) == [3, 2, 4, 0, 1]


def test_margins_order_answers_without_probabilities() -> None:
    rows = [{**ROW, "probability": None, "margin": margin} for margin in (0.3, -0.1, 0.2)]
    assert order(rows, ORDERS[1]) == [1, 2, 0]
