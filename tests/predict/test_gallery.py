import re
import tracemalloc
from collections.abc import Iterator, Set
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fused_clip.dataset.thumbnails import thumbnail_of_file as thumbnail
from fused_clip.predict.gallery import About, GalleryItem, _Section, write
from fused_clip.predict.journal import Record
from tests.records import SCRIPT


def item(number: int, **changes: Any) -> Record:
    record = {
        "path": f"photos/{number}.png",
        "target": "cat",
        "probability": None,
        "margin": float(number),
        "runner_up": "dog",
        "cluster": 0,
        "abstained": False,
    }
    return record | changes


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GREY = thumbnail(encoded(Image.new("RGB", (40, 20), "grey")))


def grey(paths: Set[str]) -> dict[str, bytes]:
    return dict.fromkeys(paths, GREY)


def sections(page: str) -> dict[str, list[str]]:
    """Names of the pictures by heading."""
    parts = re.split(r"<h3>(.*?) <span", page, flags=re.DOTALL)[1:]
    names = [re.findall(r'class="name">(.*?)<', text) for text in parts[1::2]]
    return dict(zip(map(unescape, parts[::2]), names, strict=True))


def test_targets_begin_with_the_least_certain_and_clusters_with_the_most(tmp_path: Path) -> None:
    items = [item(n, target="cat" if n < 3 else "dog", cluster=n % 2) for n in (4, 1, 0, 3, 2)]
    write(tmp_path / "new" / "page.html", items, grey)
    assert sections((tmp_path / "new" / "page.html").read_text()) == {
        "cat": ["0.png", "1.png", "2.png"],
        "dog": ["3.png", "4.png"],
        "Cluster 0: cat, dog": ["4.png", "2.png", "0.png"],
        "Cluster 1: cat, dog": ["3.png", "1.png"],
    }


def test_probabilities_go_before_margins(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [item(1, probability=0.9), item(2, probability=0.3, abstained=True)], grey)
    page = (tmp_path / "page.html").read_text()
    assert sections(page)["cat"] == ["2.png", "1.png"]
    assert "30%" in page
    assert page.count('class="flag">abstained') == 2  # under its target and its cluster
    assert "margin" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_a_section_says_how_many_it_does_not_show(tmp_path: Path) -> None:
    write(tmp_path / "page.html", (item(n) for n in range(1200)), grey, per_section=2)
    page = (tmp_path / "page.html").read_text()
    assert sections(page) == {"cat": ["0.png", "1.png"], "Cluster 0: cat": ["1199.png", "1198.png"]}
    assert page.count("1,200 images; 2 shown") == 2


def test_names_stay_text(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [item(1, target=SCRIPT, path=f'a/{SCRIPT}" onload="x')], grey)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert SCRIPT in sections(page)
    assert "script-src &#39;none&#39;" in page


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_thumbnails_are_made_of_any_mode(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    with Image.open(BytesIO(thumbnail(encoded(Image.new(mode, (500, 10)), kind)))) as small:
        assert (small.format, small.size) == ("WEBP", (160, 3))


def test_a_thumbnail_is_turned_and_few_of_its_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.new("RGB", (4000, 3000), "red")
    photo.paste("blue", (0, 0, 2000, 3000))
    file = encoded(photo, "JPEG", exif=exif)
    sizes = []
    load = ImageFile.ImageFile.load

    def noted(image: Any) -> Any:
        loaded = load(image)
        sizes.append(image.size)
        return loaded

    monkeypatch.setattr(ImageFile.ImageFile, "load", noted)
    small = thumbnail(file)
    assert max(max(size) for size in sizes) <= 500
    with Image.open(BytesIO(small)) as image:
        assert image.size == (120, 160)
        assert image.getpixel((60, 20))[2] > 200, "what was left is above"


def test_pictures_that_the_page_shows_are_asked_for_and_may_be_lacking(tmp_path: Path) -> None:
    asked = []

    def some(paths: Set[str]) -> dict[str, bytes]:
        asked.append(set(paths))
        return {"photos/0.png": GREY}

    write(tmp_path / "page.html", (item(n) for n in range(9)), some, per_section=2)
    assert asked == [{f"photos/{n}.png" for n in (0, 1, 8, 7)}]
    page = (tmp_path / "page.html").read_text()
    assert sections(page) == {"cat": ["0.png"], "Cluster 0: cat": []}
    assert "9 images" in page


def test_without_a_picture_there_is_still_a_page(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [], grey)
    assert "0 images" in (tmp_path / "page.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html"]


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    def big() -> Iterator[Record]:
        for number in range(60):
            yield item(number, path=f"{number}.png" + "x" * 100_000)

    tracemalloc.start()
    write(tmp_path / "page.html", big(), grey, per_section=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6, "60 paths alone would be 6 MB"


@given(st.lists(st.floats(allow_nan=False), max_size=30), st.integers(1, 5))
def test_a_section_keeps_the_first_of_all_in_order(ranks: list[float], size: int) -> None:
    section = _Section(size)
    for number, rank in enumerate(ranks):
        section.add(rank, number, GalleryItem(item(number)))
    first = sorted(enumerate(ranks), key=lambda pair: (pair[1], pair[0]))[:size]
    assert section.shown == [GalleryItem(item(number)) for number, _ in first]
    assert section.total == len(ranks)


def test_each_picture_has_its_runner_up(tmp_path: Path) -> None:
    items = [
        item(1, probability=0.6, probability_2=0.314),
        item(2),
        item(3, probability=1.0, runner_up=None),
    ]
    write(tmp_path / "page.html", items, grey)
    page = (tmp_path / "page.html").read_text()
    seconds = re.findall(r'class="second" title="(.*?)">\1<', page)
    assert sorted(seconds) == ["2nd 31% dog"] * 2 + ["2nd dog"] * 2


def test_unreadable_images_are_listed_with_the_reason(tmp_path: Path) -> None:
    bad = [{"path": f"{n}.jpg{SCRIPT}", "error": "it is cut off"} for n in range(1234)]
    write(tmp_path / "page.html", [*bad, item(1)], grey)
    page = (tmp_path / "page.html").read_text()
    assert '<a href="#unreadable">1,234 unreadable</a>' in page
    assert page.count("it is cut off") == 100
    assert "and 1,134 more" in page
    assert "<script" not in page
    write(tmp_path / "none.html", [item(1)], grey)
    assert "nreadable" not in (tmp_path / "none.html").read_text().partition("</style>")[2]


def test_the_model_is_named_and_warned_of(tmp_path: Path) -> None:
    about = About(
        {"Model": "outputs/run", "Targets": f"cat, {SCRIPT}"}, "compact was trained on other images"
    )
    write(tmp_path / "page.html", [item(1)], grey, about)
    page = unescape((tmp_path / "page.html").read_text())
    assert "<dt>Model</dt><dd>outputs/run</dd>" in page
    assert f"<dd>cat, {SCRIPT}</dd>" in page
    assert '<p class="problems">compact was trained on other images</p>' in page


def test_a_classifier_without_clusters_has_no_sections_of_them(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [item(1, cluster=-1)], grey)
    page = (tmp_path / "page.html").read_text()
    assert sections(page) == {"cat": ["1.png"]}
    assert "luster" not in page.partition("</style>")[2]
