"""The comparison of a sweep in MLflow's own UI, as the README describes it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from fused_clip.tracking import MlflowTracker
from tests.databases import with_database
from tests.records import png
from tests.results import make_result

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
PROMPTS = {"task": "teal", "none": "orange"}
METRICS = {
    **{f"test/{score}": 0.9 for score in ("accuracy", "balanced_accuracy", "brier", "ece", "macro_f1")},
    **{f"test/recall/{number}-class": 0.9 for number in range(20)},
    **{f"reference/{name}_accuracy": 0.8 for name in ("image_only", "linear_probe", "zero_shot")},
    "train/ari": 0.3,
    "n_clusters": 6.0,
    "seconds/total": 12.0,
}
SECONDS = 120  # a page may take on a loaded machine; a quiet one takes 10


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    """A store with a sweep of two prompts, whose maps are of two colours."""
    root = tmp_path_factory.mktemp("ui")
    tracker = MlflowTracker(with_database(root / "out"))
    parent = tracker.start_sweep("sweep-s", {"study": "s", "sweep_id": "ab12", "swept": "prompt"})
    for prompt, colour in PROMPTS.items():
        picture = root / prompt / "tsne.png"
        picture.parent.mkdir()
        picture.write_bytes(png(colour, (400, 300)))
        tags = {"study": "s", "sweep_id": "ab12"}
        with tracker.run(f"toy-{prompt}", {"prompt": prompt}, tags, parent_id=parent) as active:
            active.log(make_result(prompt=prompt, metrics=METRICS), picture.parent, [picture])
    tracker.end_sweep(parent, [], "FINISHED")
    return tracker


@pytest.fixture(scope="module")
def address(tracker: MlflowTracker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the sweep's runs are side by side, on a server started as a run's last line says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*words, "--backend-store-uri", tracker.uri],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), log)
        yield tracker.compare_url("ab12").replace(":5000", f":{port}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def wait_for(found: Any, log: Path | None = None) -> Any:
    """What a function gives as soon as it gives something."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError(log.read_text() if log else "it did not come to be shown")


def elements(browser: Chrome, selector: str) -> list[Any]:
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.CSS_SELECTOR, selector)


def test_the_runs_of_a_sweep_are_selected_and_compared(browser: Chrome, address: str) -> None:
    browser.get(address.replace("&compareRunsMode=CHART", ""))
    boxes = "input[aria-label^='Press Space to toggle row selection']"
    wait_for(lambda: len(elements(browser, boxes)) == len(PROMPTS))
    for box in elements(browser, boxes):
        browser.execute_script("arguments[0].click()", box)  # the UI lays a picture over it
    (compare,) = wait_for(lambda: elements(browser, "[data-testid='runs-compare-button']"))
    wait_for(compare.is_enabled)
    compare.click()
    text = wait_for(lambda: "Comparing 2 Runs" in page_text(browser) and page_text(browser))
    for prompt in PROMPTS:
        assert f"toy-{prompt}" in text


def page_text(browser: Chrome) -> str:
    text: str = browser.execute_script("return document.body.innerText")
    return text


def one_line(browser: Chrome) -> str:
    return " ".join(page_text(browser).split())


def test_charts_begin_with_test_and_end_with_seconds(browser: Chrome, address: str) -> None:
    browser.set_window_size(1400, 900)
    browser.get(address)
    text = wait_for(lambda: "wall seconds (1)" in one_line(browser) and one_line(browser))
    titles = ["test (6)", "test vs (3)", "train (2)", "truth recall (20)", "wall seconds (1)"]
    places = [text.find(title) for title in titles]
    assert -1 not in places
    assert places == sorted(places)


def test_the_maps_of_each_prompt_are_side_by_side(browser: Chrome, address: str) -> None:
    browser.set_window_size(1800, 1600)  # panels below the window are not drawn
    browser.get(address)
    script = """
      const shown = [...document.images].filter((i) => i.src.includes("get-artifact") && i.naturalWidth > 0);
      const card = (image) => image.closest("[data-testid='experiment-view-compare-runs-card']");
      const together = new Set(shown.map(card)).size === 1;
      return shown.map((image) => [image.src, card(image).innerText, together]);
    """
    first, second = wait_for(
        lambda: len(browser.execute_script(script)) == len(PROMPTS) and browser.execute_script(script)
    )
    assert "tsne" in first[0]
    assert first[0] != second[0]
    assert first[2], "one panel holds the maps of all runs"
    assert all(f"prompt={prompt}" in first[1] for prompt in PROMPTS)
    assert "sweep-s" not in page_text(browser)
