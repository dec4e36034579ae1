"""Evidence for answers and against labels, as a reader meets it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from fused_clip.dataset.thumbnails import thumbnail_of_file
from fused_clip.predict.gallery import write as write_gallery
from fused_clip.review.suspects import Suspect
from fused_clip.support import web
from tests.browser.test_pages import COUNT_PARTS, PAYLOADS, visit
from tests.records import SCRIPT

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
LONG = "a target with a name of many words, such as a caption of a photograph"


def picture(colour: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (50, 40), colour).save(file, "PNG")
    return thumbnail_of_file(file.getvalue())


def item(number: int, **changes: Any) -> dict[str, Any]:
    near = [
        {"id": f"train/{place}", "target": f"t{place}", "similarity": 0.9 - place / 10, "position": place}
        for place in range(3)
    ]
    record = {
        "path": f"{number}.png",
        "target": "cat",
        "probability": 0.5,
        "margin": 0.1,
        "runner_up": "dog",
        "probability_2": 0.4,
        "cluster": 7,
        "abstained": False,
        "neighbors": near,
        "composition": {"cat": 0.75, LONG: 0.25},
        "prompt": "a photo of a cat",
        "prompt_share": 0.125 * number,
    }
    return record | changes


def write(path: Path, *items: dict[str, Any], neighbors: dict[int, bytes] | None = None) -> Path:
    colours = {0: picture("red"), 1: picture("green")} if neighbors is None else neighbors
    blue = picture("blue")
    write_gallery(path, items, lambda paths: dict.fromkeys(paths, blue), neighbors=lambda wanted: colours)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    plain = item(3, prompt=None, prompt_share=None, composition={})
    return write(folder / "page.html", item(1), item(-2), plain)


@pytest.fixture
def sized(browser: Chrome) -> Any:
    """Sets the size of the window's inside, for one test."""

    def resize(width: int, height: int = 900) -> Chrome:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return browser

    yield resize
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def elements(browser: Chrome, selector: str) -> list[Any]:
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.CSS_SELECTOR, selector)


def opened(browser: Chrome) -> list[Any]:
    return elements(browser, ".why:popover-open")


@pytest.mark.parametrize("width", [400, 1400])
def test_a_click_on_a_picture_opens_its_evidence(sized: Any, page: Path, width: int) -> None:
    browser = sized(width)
    visit(browser, page)
    assert not opened(browser)
    (button, *_) = elements(browser, "#target-1 button")
    assert button.accessible_name == "Why cat: 1.png"
    button.click()
    (shown,) = opened(browser)
    assert shown.is_displayed()
    assert len(elements(browser, ".why:popover-open .near img")) == 2, "the third has no picture"
    lines = shown.text.splitlines()
    for line in ("Nearest training images", "t0", "cosine 0.900", "t2", "train/2", "Labels in cluster 7"):
        assert line in lines
    assert "a photo of a cat" in shown.text
    assert "Its share of the evidence against dog: 12%." in lines
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", shown)
    assert box["left"] >= 0
    assert box["right"] <= width
    assert box["bottom"] <= 900
    inside = browser.execute_script("return arguments[0].scrollWidth - arguments[0].clientWidth", shown)
    assert inside <= 0, "long names are broken"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []


def test_bars_are_as_long_as_the_shares(sized: Any, page: Path) -> None:
    browser = sized(1400)
    visit(browser, page)
    elements(browser, "#target-1 button")[0].click()
    meters = elements(browser, ".why:popover-open meter")
    assert [float(meter.get_attribute("value")) for meter in meters] == [0.75, 0.25]
    assert all(meter.size["width"] > 30 for meter in meters)
    labels = [one.text for one in elements(browser, ".why:popover-open .shares dd")]
    assert labels == ["75.0 %", "25.0 %"]


@pytest.mark.parametrize("way", ["button", "escape", "outside"])
def test_it_closes(sized: Any, page: Path, way: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = sized(1400)
    visit(browser, page)
    elements(browser, "#target-1 button")[0].click()
    assert len(opened(browser)) == 1
    if way == "button":
        elements(browser, ".why:popover-open .close")[0].click()
    elif way == "escape":
        ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    else:
        (heading,) = elements(browser, "h1")
        ActionChains(browser).move_to_element_with_offset(heading, 0, 0).click().perform()
    assert not opened(browser)


def test_keys_open_it_and_one_is_open_at_a_time(sized: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = sized(1400)
    visit(browser, page)
    first, second, third = elements(browser, "#target-1 button")
    first.send_keys(Keys.ENTER)
    browser.execute_script("arguments[0].click()", second)
    (shown,) = opened(browser)
    assert "It speaks for dog, and the image overrules it: -25% of the evidence." in shown.text
    browser.execute_script("arguments[0].click()", third)
    (shown,) = opened(browser)
    assert not {"Prompt", "Labels in cluster 7"} & set(shown.text.splitlines())


def test_pictures_of_targets_and_of_clusters_open_the_same(sized: Any, page: Path) -> None:
    browser = sized(1400)
    visit(browser, page)
    by_target, by_cluster = (
        {one.get_attribute("popovertarget") for one in elements(browser, f"#{part}-1 button")}
        for part in ("target", "cluster")
    )
    assert by_target == by_cluster == {one.get_attribute("id") for one in elements(browser, ".why")}


def test_names_of_explanations_stay_text(browser: Chrome, tmp_path: Path) -> None:
    near = [
        {"id": payload, "target": payload, "similarity": 0.5, "position": place}
        for place, payload in enumerate(PAYLOADS)
    ]
    items = [
        item(number, neighbors=near[number : number + 3], composition={payload: 1.0}, prompt=payload)
        for number, payload in enumerate(PAYLOADS[:-2])
    ]
    page = write(tmp_path / "page.html", *items, item(99, target=SCRIPT, runner_up=SCRIPT))
    visit(browser, page)
    elements(browser, "#target-1 button")[0].click()
    found = browser.execute_script(COUNT_PARTS)
    assert found == {"ran": 0, "scripts": 0, "handlers": 0, "foreign": 0}
    assert browser.get_log("browser") == []


def test_a_page_of_labels_fits_and_shows_its_pictures(sized: Any, tmp_path: Path) -> None:
    page = labels_page(tmp_path / "page.html", picture("blue"))
    for width in (400, 1400):
        browser = sized(width)
        visit(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        cards = elements(browser, ".suspects > li")
        assert len(cards) == 2
        assert cards[0].text.splitlines()[:3] == [
            "cat → dog",
            "wrong with probability 87.5%",
            "evidence: cat under 0.1%, dog 99.0%",
        ]
        tops = [card.location["y"] for card in cards]
        assert (tops[0] == tops[1]) == (width == 1400)
        widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
        assert len(widths) == 5
        assert min(widths) > 0
        for box in elements(browser, ".suspects img, .suspects .none, .suspects p"):
            assert box.location["x"] + box.size["width"] <= width
        assert browser.get_log("browser") == []
    (summary,) = elements(browser, "summary")
    assert "similar images: 75%" not in elements(browser, "main")[0].text
    summary.click()
    assert "labels of the most similar images: 75%" in elements(browser, "main")[0].text


def test_names_of_labels_stay_text(browser: Chrome, tmp_path: Path) -> None:
    page = labels_page(tmp_path / "page.html", picture("blue"), *PAYLOADS)
    visit(browser, page)
    assert browser.execute_script(COUNT_PARTS) == {"ran": 0, "scripts": 0, "handlers": 0, "foreign": 0}
    assert browser.get_log("browser") == []


def labels_page(path: Path, thumbnail: bytes, *names: str) -> Path:
    """A page of two suspects, the second without a picture, or of one for each name."""
    suspects = [suspect(0, "cat", "dog"), suspect(1, "dog", LONG)]
    suspects = [suspect(0, name, name) for name in names] or suspects
    web.render(
        "review.html",
        path,
        styles=("base.css", "gallery.css", "review.css"),
        title="Labels to review",
        place=names[0] if names else "outputs/runs/x",
        facts={name: name for name in names},
        sources=[("neighbors", "labels of the most similar images", 0.75)],
        suspects=[(one, [0, 2, 3]) for one in suspects],
        contradicted=2,
        likely=1,
        expected=1.25,
        total=100,
        names=(list(names) * 4)[:4] if names else ["cat", "dog", LONG, "cat"],
        ids=(list(names) * 4)[:4] if names else ["train/0", "train/" + "x" * 80, "train/2", "train/3"],
        thumbnails={0: thumbnail, 2: thumbnail} if not names else {},
    )
    return path


def suspect(position: int, label: str, suggested: str) -> Suspect:
    return Suspect(
        position, f"train/{label}", label, suggested, 0.875, 0.0001, 0.99, {"neighbors": suggested}
    )
