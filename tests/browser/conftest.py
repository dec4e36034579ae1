"""A headless browser, where one is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Chromium or Chrome, driven by the chromedriver that came with it."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    # GitHub's runners say by this variable where theirs is.
    driver = shutil.which(
        "chromedriver", path=f"{os.environ.get('CHROMEWEBDRIVER', '')}:{os.environ['PATH']}"
    )
    if binary is None or driver is None:
        pytest.skip("needs a browser: chromium (or Chrome) and chromedriver on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()
