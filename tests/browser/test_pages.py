"""The report and the gallery as a reader meets them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fused_clip.predict.gallery import About, thumbnail
from fused_clip.predict.gallery import write as write_gallery
from fused_clip.report import writer
from fused_clip.report.command import page_of
from tests.records import SCRIPT, Folder, make_record, missing_record, png

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a study whose prompts have odd names."""
    root = tmp_path_factory.mktemp("report")
    (root / "run" / "figures").mkdir(parents=True)
    (root / "run" / "figures" / "tsne.png").write_bytes(png(size=(300, 200)))
    (root / "run" / "config.yaml").write_text(f"name: '{SCRIPT}'\n")
    accuracies = {"task": 0.9, SCRIPT: 0.1234, "10": 1.0, "9": 0.95}
    records = [
        make_record(
            prompt, run_id=f"r{number}", metrics={"test/accuracy": value}, artifacts=Folder(root / "run")
        )
        for number, (prompt, value) in enumerate(accuracies.items())
    ]
    return writer.write(page_of([*records, missing_record("zz", 0, error=SCRIPT)]), root / "out")[0]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "page.html"
    items = [
        {
            "path": f"{SCRIPT}/{n}.png",
            "target": SCRIPT,
            "probability": n / 9,
            "margin": 0.1,
            "runner_up": SCRIPT,
            "cluster": n % 2,
            "abstained": n < 2,
        }
        for n in range(8)
    ]
    bad = {"path": f"{SCRIPT}.png", "error": SCRIPT}
    picture = thumbnail(png(size=(50, 40)))
    write_gallery(
        path,
        [*items, bad],
        lambda paths: dict.fromkeys(paths, picture),
        About({SCRIPT: SCRIPT}, SCRIPT),
        per_section=3,
    )
    return path


def visit(browser: Chrome, page: Path) -> None:
    """Open a page; what it tells its console from here on is its own."""
    browser.get_log("browser")
    browser.get(page.as_uri())


def column(browser: Chrome, head: str) -> list[str]:
    """Texts of a column of the first table, in the order shown."""
    script = """
      const table = document.querySelector("table");
      const heads = [...table.querySelectorAll("th")].map((th) => th.textContent.trim());
      const index = heads.indexOf(arguments[0]);
      return [...table.tBodies[0].rows].map((row) => row.cells[index].textContent.trim());
    """
    found: list[str] = browser.execute_script(script, head)
    return found


def click_head(browser: Chrome, head: str) -> str:
    """Click a column's head; give the order that it tells screen readers."""
    from selenium.webdriver.common.by import By

    buttons: list[Any] = browser.find_elements(By.CSS_SELECTOR, "table th button")
    button = next(button for button in buttons if button.text.strip() == head)
    button.click()
    return str(button.find_element(By.XPATH, "..").get_attribute("aria-sort"))


def test_tables_sort_by_number_and_by_name(browser: Chrome, report: Path) -> None:
    visit(browser, report)
    assert column(browser, "accuracy") == [".9000", ".1234", "1.0000", ".9500", "-"]
    assert click_head(browser, "accuracy") == "descending"
    assert column(browser, "accuracy") == ["1.0000", ".9500", ".9000", ".1234", "-"]
    assert click_head(browser, "accuracy") == "ascending"
    assert column(browser, "accuracy") == [".1234", ".9000", ".9500", "1.0000", "-"]
    assert click_head(browser, "prompt") == "ascending"
    assert column(browser, "prompt") == [SCRIPT, "9", "10", "task", "zz"]


def test_a_number_leads_to_its_run(browser: Chrome, report: Path) -> None:
    from selenium.webdriver.common.by import By

    visit(browser, report)
    link = browser.find_element(By.LINK_TEXT, ".1234")
    assert link.get_attribute("title") == "run r1"
    link.click()
    assert browser.current_url.endswith("#run-r1")
    (marked,) = browser.find_elements(By.CSS_SELECTOR, "tr.marked")
    assert marked.get_attribute("id") == "run-r1"


@pytest.mark.parametrize("name", ["report", "gallery"])
def test_pictures_show_names_stay_text_and_the_console_is_silent(
    name: str, browser: Chrome, request: pytest.FixtureRequest
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support import expected_conditions

    visit(browser, request.getfixturevalue(name))
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert widths
    assert min(widths) > 0
    assert not expected_conditions.alert_is_present()(browser)
    assert SCRIPT in browser.find_element(By.TAG_NAME, "body").text
    own = browser.execute_script("return [...document.scripts].map((script) => script.textContent)")
    assert not any("alert" in text for text in own)
    assert len(own) == (name == "report")
    assert browser.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in(browser: Chrome, report: Path) -> None:
    visit(browser, report)
    browser.execute_script("""
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
    """)
    assert browser.execute_script("return window.ran") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


def test_the_gallery_begins_with_the_least_certain(browser: Chrome, gallery: Path) -> None:
    from selenium.webdriver.common.by import By

    visit(browser, gallery)
    section = browser.find_element(By.ID, "target-1")
    assert [item.text for item in section.find_elements(By.CLASS_NAME, "name")] == ["0.png", "1.png", "2.png"]
    assert "8 images, 2 abstained; 3 shown" in section.text
