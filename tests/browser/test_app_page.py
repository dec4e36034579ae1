"""The page of ``fused-clip-app`` in a browser, and attacks on its server."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("streamlit")

import sklearn.datasets

from fused_clip.app.uploads import MOST_MEGABYTES
from fused_clip.method.classifier import ZeroShot
from tests.attack.scale import tries
from tests.browser.test_pages import PAYLOADS
from tests.models import save_model, save_pictures

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
PHOTOS = sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
SECONDS = 120  # a page may take on a loaded machine; a quiet one takes 5
INLINE = "Executing inline script violates"  # Streamlit's hook for search engines, which the policy stops


class Server:
    """The command, from its start until it answers."""

    def __init__(self, log: Path, *words: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = log
        command = [
            sys.executable,
            "-m",
            "fused_clip.app",
            *words,
            "--port",
            str(self.port),
            "--device",
            "cpu",
        ]
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or answers(self.port), log.read_text)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> int:
        """Press Ctrl-C; give the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(SECONDS)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        return request(port, "GET", "/_stcore/health")[0] == 200
    except OSError:
        return False


def request(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a path, which is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        if body is not None and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def wait_for(done: Callable[[], Any], said: Callable[[], str] = str, seconds: float = SECONDS) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, said()
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A zero-shot model with calibration rows, which takes targets by sentences."""
    folder = tmp_path_factory.mktemp("app")
    started = Server(folder / "log.txt", str(save_model(folder, classifier=ZeroShot(), held_out=60)))
    yield started
    started.stop()


def visit(browser: Chrome, server: Server, width: int = 1400, height: int = 1000) -> None:
    """Open the page, of that width, and wait for its first drawing."""
    browser.get_log("browser")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(server.address)
    wait_for(lambda: find(browser, "input[type=file]"))
    settle(browser)


@pytest.fixture(autouse=True)
def usual_size(browser: Chrome) -> Iterator[None]:
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def find(browser: Chrome, css: str) -> list[Any]:
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.CSS_SELECTOR, css)


def settle(browser: Chrome) -> None:
    """Wait until the script is done, for half a second on end."""
    quiet = 0
    while quiet < 5:
        quiet = 0 if find(browser, "[data-testid=stStatusWidget], [data-testid=stSpinner]") else quiet + 1
        time.sleep(0.1)


def give(browser: Chrome, files: list[Path]) -> None:
    before = len(find(browser, ".fc-card"))
    find(browser, "input[type=file]")[0].send_keys("\n".join(map(str, files)))
    wait_for(lambda: len(find(browser, ".fc-card")) > before)
    settle(browser)


def click(browser: Chrome, css: str) -> None:
    browser.execute_script("arguments[0].click()", wait_for(lambda: find(browser, css))[0])
    settle(browser)


def write(browser: Chrome, key: str, text: str) -> None:
    from selenium.webdriver.common.keys import Keys

    (field,) = find(browser, f".st-key-{key} input, .st-key-{key} textarea")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text, Keys.TAB)
    settle(browser)


def texts(browser: Chrome, css: str) -> list[str]:
    """Texts of elements, all at one moment: the page draws them anew at any."""
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
    found: list[str] = browser.execute_script(script, css)
    return found


def add(browser: Chrome, name: str, sentence: str, *, refused: bool = False) -> None:
    """Add a target, and wait for it to be listed, or for the reason why it is refused."""
    write(browser, "new_name", name)
    write(browser, "new_text", sentence)
    click(browser, ".st-key-add button")
    place = "stAlert" if refused else "stCaptionContainer"
    wait_for(lambda: sentence in " ".join(texts(browser, f"[data-testid=stSidebar] [data-testid={place}]")))
    settle(browser)


def complaints(browser: Chrome) -> list[str]:
    """What the console says, but for the one script that the policy stops at every visit."""
    return [entry["message"] for entry in browser.get_log("browser") if INLINE not in entry["message"]]


@pytest.mark.parametrize("width", [400, 1400])
def test_photos_are_answered_at_any_width(width: int, browser: Chrome, server: Server) -> None:
    visit(browser, server, width)
    assert len(PHOTOS) == 2
    give(browser, PHOTOS)
    assert len(texts(browser, ".fc-answer")) == 2
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for card in find(browser, ".fc-card"):
        assert card.rect["x"] >= 0
        assert card.rect["x"] + card.rect["width"] <= width
    pictures = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert min(pictures) > 0
    assert complaints(browser) == []


def test_controls_sets_and_a_target_by_a_sentence(browser: Chrome, server: Server, tmp_path: Path) -> None:
    visit(browser, server)
    give(browser, sorted(save_pictures(tmp_path, 9).rglob("*.png")))
    assert "9 images answered" in " ".join(texts(browser, "[data-testid=stMarkdown]"))
    click(browser, ".st-key-sets input")
    wait_for(lambda: "Shift test: p = " in " ".join(texts(browser, "[data-testid=stAlert]")))
    wait_for(lambda: len(find(browser, ".fc-set")) == 9)
    add(browser, "gray", "a gray picture")
    wait_for(lambda: "GUARANTEE WITHDRAWN" in " ".join(texts(browser, "[data-testid=stAlert]")))
    wait_for(lambda: not find(browser, ".fc-set"))
    click(browser, ".st-key-remove-gray button")
    wait_for(lambda: len(find(browser, ".fc-set")) == 9)
    assert complaints(browser) == []


def test_the_table_is_downloaded(browser: Chrome, server: Server, tmp_path: Path) -> None:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    visit(browser, server)
    give(browser, PHOTOS)
    click(browser, "[data-testid=stDownloadButton] button")
    table = tmp_path / "answers.csv"
    wait_for(table.exists)
    first, *rows = table.read_text().splitlines()
    assert first == '"path","target","probability","margin","runner_up","cluster","abstained"'
    assert [row.split(",")[0] for row in rows] == [f'"{photo.name}"' for photo in PHOTOS]


def test_nothing_is_fetched_from_elsewhere(browser: Chrome, server: Server) -> None:
    visit(browser, server)
    give(browser, PHOTOS)
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert fetched
    assert not [one for one in fetched if not one.startswith((server.address, "data:", "blob:"))]
    assert complaints(browser) == []


NAMES = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "a\\..\\b.png",
    "\u202egpj.png",
    "![x](http://evil.example/x.png)",
    *PAYLOADS,
]


@pytest.mark.parametrize("part", [0, 1, 2])
def test_names_of_files_run_nothing(part: int, browser: Chrome, server: Server) -> None:
    names = NAMES[part::3]
    visit(browser, server)
    browser.execute_script(
        """
        const [input, names] = arguments;
        const sent = new DataTransfer();
        for (const name of names) sent.items.add(new File(["no image"], name));
        input.files = sent.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
        """,
        find(browser, "input[type=file]")[0],
        names,
    )
    wait_for(lambda: len(find(browser, ".fc-card")) == min(24, len(names)))
    settle(browser)
    assert_untouched(browser)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('.fc-name')].map((one) => one.textContent)"
    )
    encoded = '"\r\n'  # a browser writes these as %22 and the like
    for name, text in zip(names, shown, strict=False):
        assert text == (PurePath(name).name or name) or set(encoded) & set(name)


@pytest.mark.parametrize("part", range(tries(1, 3)))
def test_names_and_sentences_of_targets_run_nothing(part: int, browser: Chrome, server: Server) -> None:
    visit(browser, server)
    give(browser, PHOTOS)
    payloads = [" ".join(one.split()) for one in NAMES[part :: tries(16, 24)]]
    for number, payload in enumerate(payloads):
        add(browser, payload, f"<u>{number}")
    long = PAYLOADS[part].replace("\n", " ")
    add(browser, "x", f"{long} {long}", refused=True)  # which is shown with the reason
    assert_untouched(browser)
    listed = " ".join(texts(browser, "[data-testid=stSidebar] [data-testid=stCaptionContainer]"))
    assert not [payload for payload in payloads if payload not in listed]


def test_a_folder_is_answered_with_the_names_of_its_folders(
    browser: Chrome, server: Server, tmp_path: Path
) -> None:
    folder = save_pictures(tmp_path / "mine", 4)
    (folder / "a" / "notes.txt").write_text("notes")
    (folder / "a" / "outside.png").symlink_to(PHOTOS[0])
    visit(browser, server)
    find(browser, "input[type=file]")[1].send_keys(str(folder))
    wait_for(lambda: len(find(browser, ".fc-card")) >= 4)
    settle(browser)
    titles = browser.execute_script(
        "return [...document.querySelectorAll('.fc-name')].map((one) => one.title)"
    )
    assert {"mine/a/01.png", "mine/a/deep/00.png"} <= set(titles)
    assert not [title for title in titles if "notes" in title]


def assert_untouched(browser: Chrome) -> None:
    """No script ran, nothing was fetched, and nothing of a name became an element."""
    assert browser.execute_script("return window.ran") is None
    assert complaints(browser) == []
    odd = (
        "script[src^=data], iframe, object, embed, svg script, [onerror], [onload], [onmouseover], [onfocus]"
    )
    assert find(browser, odd) == []


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/../../../../../../../../etc/passwd",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/app/static/../../../../etc/passwd",
        "/app/static/screen.py",
        "/media/../../../../etc/passwd",
        "/media/%2fetc%2fpasswd",
        "/media//etc/passwd",
        "/component/streamlit/../../../../etc/passwd",
        "/component/x//etc/passwd",
        "/_stcore/bidi-components/x/../../../../etc/passwd",
        "/_stcore/upload_file/x/../../../../etc/passwd",
        "//etc/passwd",
        "/..\\..\\..\\..\\etc\\passwd",
        "/screen.py",
        "/.streamlit/secrets.toml",
        "/file:///etc/passwd",
    ],
)
def test_no_path_leads_to_a_file_of_the_machine(path: str, server: Server) -> None:
    _, headers, body = request(server.port, "GET", path)
    assert b"root:" not in body
    assert b"fused_clip" not in body
    assert "content-security-policy" in headers


def test_uploads_need_the_token_of_the_page(server: Server) -> None:
    for headers in ({}, {"X_Xsrftoken": "x"}, {"Cookie": "_streamlit_xsrf=x", "X_Xsrftoken": "x"}):
        status, _, _ = request(server.port, "PUT", "/_stcore/upload_file/a/b", b"x", **headers)
        assert status == 403
    status, _, page = request(server.port, "GET", "/_stcore/upload_file/a/b")
    assert status >= 400 or b"<title>Streamlit</title>" in page  # any other path is the page itself


def test_a_file_that_is_too_large_is_refused(browser: Chrome, server: Server, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate((MOST_MEGABYTES << 20) + 1)
    visit(browser, server)
    find(browser, "input[type=file]")[0].send_keys(str(large))
    wait_for(lambda: f"{MOST_MEGABYTES}" in " ".join(texts(browser, "[data-testid=stFileUploader]")))
    assert find(browser, ".fc-card") == []


def test_other_hosts_and_origins_are_refused(server: Server) -> None:
    assert request(server.port, "GET", "/", Host="evil.example")[0] == 400
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    own, port = server.address, server.port
    assert request_head(port, **upgrade, Origin=own) == 101
    assert request_head(port, **upgrade, Origin="http://evil.example") == 403
    assert request_head(port, **upgrade, Origin="null") == 403
    assert request_head(port, **upgrade, Host="evil.example", Origin="http://evil.example") in (400, 403)
    assert request(port, "GET", "/_stcore/health", Origin="http://evil.example")[1].get(
        "access-control-allow-origin"
    ) in (None, own)


def request_head(port: int, **headers: str) -> int:
    """Status of a web socket's first answer."""
    headers = {"Host": f"127.0.0.1:{port}", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        stream.sendall("\r\n".join(["GET /_stcore/stream HTTP/1.1", *lines, "", ""]).encode())
        return int(stream.recv(4096).split()[1])


def test_the_agents_interface_is_off(server: Server) -> None:
    for path in ("/_stcore/agent/interact", "/_stcore/agent/mcp"):
        assert request(server.port, "POST", path, json.dumps({}).encode())[0] >= 400


def test_an_open_host_is_warned_of_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    started = Server(tmp_path / "log.txt", str(save_model(tmp_path)), "--host", "0.0.0.0")
    assert answers(started.port)
    assert started.stop() in (0, 130)
    said = started.log.read_text()
    assert "Warning: everyone who reaches 0.0.0.0 can use this page" in said
    assert "Traceback" not in said
