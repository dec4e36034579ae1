"""The server: its address, its options, and what its middleware lets through."""

import socket
from pathlib import Path
from typing import Any

import pytest

streamlit = pytest.importorskip("streamlit")

from starlette.applications import Starlette  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from fused_clip.app import local_server  # noqa: E402
from fused_clip.app.local_server import Guard, allowed_hosts, check_address, is_local, options  # noqa: E402
from fused_clip.app.uploads import MOST_MEGABYTES  # noqa: E402
from fused_clip.support.errors import InputError  # noqa: E402


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_addresses_of_this_machine_alone(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.9", "example.com", "localhost.example.com", ""])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_local(host)


def test_a_free_port_passes_and_one_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port: 127.0.0.1:{port} can't be taken .*another --port"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "option"),
    [
        ("127.0.0.1", 0, "port"),
        ("127.0.0.1", 65_536, "port"),
        ("127.0.0.1", -1, "port"),
        ("nowhere.invalid", 8501, "host"),
        ("8.8.8.8", 8501, "host"),
        ("a" * 300, 8501, "host"),
    ],
)
def test_addresses_that_can_not_be(host: str, port: int, option: str) -> None:
    with pytest.raises(InputError) as error:
        check_address(host, port)
    assert error.value.option == option


def test_streamlit_knows_every_option_and_nothing_leaves() -> None:
    from streamlit import config

    found = options("127.0.0.1", 8501)
    for name in found:
        config.get_option(name)  # raises for an unknown one
    assert found["browser.gatherUsageStats"] is False
    assert found["server.enableXsrfProtection"] is found["server.enableCORS"] is True
    assert found["server.enableStaticServing"] is found["server.enableAgentApi"] is False
    assert found["server.maxUploadSize"] == MOST_MEGABYTES
    assert found["client.allowedOrigins"] == found["server.corsAllowedOrigins"] == []


def test_the_page_is_asked_for_by_names_of_this_machine() -> None:
    assert set(allowed_hosts("127.0.0.1")) == {"localhost", "127.0.0.1", "::1", "[::1]"}
    assert allowed_hosts("192.168.0.9") == ["192.168.0.9"]
    assert allowed_hosts("fd00::9") == ["fd00::9", "[fd00::9]"]
    assert allowed_hosts("0.0.0.0") == allowed_hosts("::") == []


@pytest.fixture
def client() -> TestClient:
    """A server that answers anything, behind the page's middleware."""
    route = Route("/{rest:path}", lambda _: PlainTextResponse("there"), methods=["GET", "PUT"])
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts("127.0.0.1")), Middleware(Guard)]
    return TestClient(Starlette(routes=[route], middleware=guards), base_url="http://127.0.0.1:8501")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8501", ""]
)
def test_a_name_of_another_site_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost:8501", "LOCALHOST", "[::1]:8501"])
def test_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).text == "there"


def test_every_answer_forbids_what_comes_from_elsewhere(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["script-src"] == policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://127.0.0.1:8501"
    assert policy["object-src"] == policy["frame-ancestors"] == "'none'"
    assert not [part for part in policy.values() if "http" in part or "*" in part]
    assert headers["x-content-type-options"] == "nosniff"


def test_an_upload_needs_room_in_memory(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "available_memory", lambda: 30_000)
    assert client.put("/a", content=b"x" * 9_000).status_code == 200
    refused = client.put("/a", content=b"x" * 11_000)
    assert (refused.status_code, refused.text) == (413, "There is not enough memory for this file.")
    assert "content-security-policy" in refused.headers


def test_an_upload_that_does_not_state_its_size_counts_as_the_largest(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks() -> Any:
        yield b"x"

    most = MOST_MEGABYTES << 20
    for room, status in ((3 * most, 413), (3 * most + 1, 200)):
        monkeypatch.setattr(local_server, "available_memory", lambda room=room: room)
        assert client.put("/a", content=chunks()).status_code == status


def test_no_folder_of_static_files_is_beside_the_script() -> None:
    """Streamlit would serve one, if its option were on."""
    assert not (Path(local_server.__file__).parent / "static").exists()
