"""The report and the gallery as a reader meets them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fused_clip.dataset.thumbnails import thumbnail_of_file as thumbnail
from fused_clip.predict.gallery import About
from fused_clip.predict.gallery import write as write_gallery
from fused_clip.report import writer
from fused_clip.report.report_command import page_of
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


# Each would count itself at the window it runs in.
PAYLOADS = [
    line.replace("JS", "top.ran=(top.ran||0)+1")
    for line in (
        "<script>JS</script>",
        "<SCRIPT>JS</SCRIPT>",
        "<script\n>JS</script\n>",
        "<scr<script>ipt>JS</scr</script>ipt>",
        "</title><script>JS</script>",
        "</style><script>JS</script>",
        "</textarea><script>JS</script>",
        "</pre></details><script>JS</script>",
        "</td></tr></table><script>JS</script>",
        "--><script>JS</script>",
        "]]><script>JS</script>",
        "<script type=module>JS</script>",
        "<script src='data:text/javascript,JS'></script>",
        "<svg><script>JS</script></svg>",
        "<math><mtext><script>JS</script></mtext></math>",
        "<img src=x onerror=JS>",
        "<img src=x onerror='JS'>",
        '"><img src=x onerror=JS>',
        "'><img src=x onerror=JS>",
        '" onerror=JS x="',
        '" onload="JS',
        "' onload='JS",
        '" onmouseover="JS" autofocus onfocus="JS" tabindex="0',
        "<img/src=x/onerror=JS>",
        "<img src=x oNeRrOr=JS>",
        "<image src=x onerror=JS>",
        "<svg onload=JS>",
        "<svg/onload=JS>",
        "<svg><animate onbegin=JS attributeName=x dur=1s>",
        "<svg><set onbegin=JS attributeName=x to=y>",
        "<svg><a xlink:href='javascript:JS'><text y=20>x</text></a></svg>",
        "<body onload=JS>",
        "<body onpageshow=JS>",
        "<iframe srcdoc='<script>JS</script>'></iframe>",
        "<iframe src='javascript:JS'></iframe>",
        "<iframe src='data:text/html,<script>JS</script>'></iframe>",
        "<iframe onload=JS></iframe>",
        "<object data='javascript:JS'></object>",
        "<object data='data:text/html,<script>JS</script>'></object>",
        "<embed src='javascript:JS'>",
        "<embed src='data:image/svg+xml,<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"JS\"/>'>",
        "<input autofocus onfocus=JS>",
        "<select autofocus onfocus=JS>",
        "<textarea autofocus onfocus=JS>",
        "<button autofocus onfocus=JS>x</button>",
        "<details open ontoggle=JS><summary>x</summary></details>",
        "<video src=x onerror=JS></video>",
        "<video><source src=x onerror=JS></video>",
        "<audio src=x onerror=JS></audio>",
        "<style>@import 'data:text/css,x'</style><img src=x onerror=JS>",
        "<style onload=JS></style>",
        "<link rel=stylesheet href='data:text/css,x' onload=JS>",
        "<link rel=stylesheet href=x onerror=JS>",
        "<meta http-equiv=refresh content='0;url=javascript:JS'>",
        "<base href='javascript:JS//'>",
        "<form action='javascript:JS'><button autofocus>x</button></form>",
        "<a href='javascript:JS'>x</a>",
        "<p style='animation:x 1s' onanimationstart=JS>x</p><style>@keyframes x{}</style>",
        "<template><script>JS</script></template><img src=x onerror=JS>",
        "<noscript><p title='</noscript><img src=x onerror=JS>'></noscript>",
        "{{7*7}}${JS}<img src=x onerror=JS>",
        "&lt;script&gt;JS&lt;/script&gt;<img src=x onerror=JS>",
        "\x00<script>JS</script>",
        "\u2028<script>JS</script>\u202e",
    )
]  # fmt: skip
COUNT_PARTS = """
  const all = [...document.querySelectorAll("*")];
  const acts = (name) => name.startsWith("on") || name === "srcdoc";
  return {
    ran: window.ran || 0,
    scripts: document.scripts.length,
    handlers: all.filter((one) => one.getAttributeNames().some(acts)).length,
    foreign: document.querySelectorAll(
      "iframe,object,embed,base,form,svg,math,video,audio,[href^=javascript]"
    ).length,
  };
"""


def counted(browser: Chrome, page: Path) -> dict[str, int]:
    """What of the payloads became parts of a page, and how many have run."""
    import time

    browser.get(page.as_uri())
    time.sleep(1)  # for what starts when pictures have failed to load
    found: dict[str, int] = browser.execute_script(COUNT_PARTS)
    return found


def test_the_payloads_run_where_nothing_is_done_about_them(browser: Chrome, tmp_path: Path) -> None:
    """So that the next tests can fail; one page each, as some swallow what follows them."""
    ran = 0
    for number, payload in enumerate(PAYLOADS):
        page = tmp_path / f"{number}.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><body><div title='x'>{payload}</div>")
        browser.get(page.as_uri())
        browser.execute_async_script("setTimeout(arguments[0], 30)")
        ran += bool(browser.execute_script("return window.ran"))
    assert ran > 30


def test_the_policy_alone_stops_them(
    browser: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a template had forgotten to escape."""
    from markupsafe import Markup

    from fused_clip.support import web

    page = tmp_path / "page.html"
    blocks = [{"text": Markup(payload)} for payload in PAYLOADS]
    sections = [{"title": "x", "blocks": blocks}]
    styles, script = ("base.css", "report.css"), "report.js"
    web.render("report.html", page, styles=styles, script=script, title="x", problems=[], sections=sections)
    found = counted(browser, page)
    assert found["ran"] == 0
    assert found["handlers"] > 10, "they did become parts of the page"


def test_payloads_as_names_of_everything_stay_text(browser: Chrome, tmp_path: Path) -> None:
    import json

    import yaml

    from fused_clip.report.page import Page

    folder = tmp_path / "run"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "tsne.png").write_bytes(png())
    (folder / "config.yaml").write_text(yaml.safe_dump({"prompt": {"texts": PAYLOADS}}))
    records = [
        make_record(
            payload,
            number,
            run_id=payload,
            name=payload,
            metrics={"test/accuracy": 0.5, f"test/recall/{payload}": 0.5},
            params={"dataset": payload, "prompt": payload, "seed": str(number)},
            tags={
                "study": payload,
                "commit": payload,
                "mlflow.note.content": payload,
                "data_fingerprint": payload,
            },
            artifacts=Folder(folder),
        )
        for number, payload in enumerate(PAYLOADS)
    ]
    lost = [missing_record(payload, 99, error=payload) for payload in PAYLOADS]
    page: Page = page_of([*records, *lost])
    report = writer.write(page, tmp_path / "report")[0]
    gallery = tmp_path / "gallery.html"
    picture = thumbnail(_with_exif(json.dumps(PAYLOADS)))
    items = [
        {
            "path": f"{payload}.png",
            "target": payload,
            "probability": 0.5,
            "margin": 0.1,
            "runner_up": payload,
            "cluster": 0,
            "abstained": False,
        }
        for payload in PAYLOADS
    ]
    bad = [{"path": payload, "error": payload} for payload in PAYLOADS]
    about = About(dict(zip(PAYLOADS, PAYLOADS, strict=True)), "".join(PAYLOADS))
    write_gallery(gallery, [*items, *bad], lambda paths: dict.fromkeys(paths, picture), about, per_section=3)
    assert b"top.ran" not in picture, "of EXIF nothing is kept"
    for path, scripts in ((report, 1), (gallery, 0)):
        found = counted(browser, path)
        assert found == {"ran": 0, "scripts": scripts, "handlers": 0, "foreign": 0}, path.name
        text = browser.execute_script("return document.body.textContent")
        assert text.count("top.ran=(top.ran||0)+1") > len(PAYLOADS)
    assert len(PAYLOADS) >= 60


def _with_exif(text: str) -> bytes:
    """A photo whose EXIF says something in every field of text."""
    import io

    from PIL import Image

    image = Image.new("RGB", (50, 40))
    exif = image.getexif()
    for field in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298, 0x9286):
        exif[field] = text
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()
