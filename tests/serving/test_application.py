"""The application behind a real server in a thread, with a model that is made up."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.metadata import version
from typing import Any

import uvicorn

from fused_clip import InputError
from fused_clip.serving.application import Limits, make_application
from fused_clip.serving.asked import Asked
from tests.served import Reply, base64_of

LIMITS = Limits(max_body=100_000, max_images=3, seconds=20)
ONE = json.dumps({"inputs": [base64_of(b"image")]}).encode()


class Scripted:
    """Answers with what it got, or fails as the image says."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.begun = 0

    def answer(self, contents: Sequence[bytes], asked: Asked) -> list[dict[str, Any]]:
        self.begun += 1
        if contents[0] == b"wait":
            assert self.gone.wait(30)
        if contents[0] == b"bad":
            raise InputError("images", "image 1 is\nbad")
        if contents[0] == b"bug":
            raise RuntimeError("secret")
        return [{"size": len(content), "top_k": asked.top_k} for content in contents]


class Site:
    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, body: bytes, **headers: str) -> Reply:
        return self.ask("POST", "/invocations", body, {"Content-Type": "application/json", **headers})

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode(), 0)
        finally:
            connection.close()


@contextmanager
def site(model: Scripted, limits: Limits = LIMITS) -> Iterator[Site]:
    config = uvicorn.Config(make_application(model, limits), log_level="critical")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            yield Site(door.getsockname()[1])
        finally:
            model.gone.set()
            server.should_exit = True
            thread.join()


def image(content: bytes) -> bytes:
    return json.dumps({"inputs": [base64_of(content)]}).encode()


def test_requests_are_answered() -> None:
    with site(Scripted()) as server:
        body = json.dumps({"inputs": [base64_of(b"image")] * 2, "params": {"top_k": 2}}).encode()
        assert server.post(body).records == [{"size": 5, "top_k": 2}] * 2
        assert server.ask("GET", "/ping").status == server.ask("GET", "/health").status == 200
        assert server.ask("GET", "/version").text == version("fused_clip")


def test_bad_requests_get_a_line_and_errors_of_ours_no_more() -> None:
    with site(Scripted()) as server:
        asked = [
            (server.post(image(b"bad")), 400, "BAD_REQUEST", "images: image 1 is bad"),
            (
                server.post(image(b"bug")),
                500,
                "INTERNAL_ERROR",
                "The model failed; the log of the server says why",
            ),
            (
                server.post(ONE * 2),
                400,
                "BAD_REQUEST",
                "body: must be JSON (trailing characters at line 1 column 25)",
            ),
            (server.ask("GET", "/invocations"), 405, "BAD_REQUEST", "Method Not Allowed"),
            (server.ask("GET", "/docs"), 404, "BAD_REQUEST", "Not Found"),
        ]
        for reply, status, code, message in asked:
            assert reply.status == status
            assert json.loads(reply.text) == {"error_code": code, "message": message}
        for kind in ("text/csv", "", "application/json; charset=latin-1"):
            reply = server.ask("POST", "/invocations", ONE, {"Content-Type": kind} if kind else {})
            assert (reply.status, reply.message) == (415, "Content-Type: must be application/json, in UTF-8")
        assert server.post(ONE, **{"Content-Type": "Application/JSON; charset=UTF-8"}).status == 200


def test_a_body_that_is_too_large_is_refused_and_forgotten() -> None:
    with site(Scripted()) as server:
        rule = "body: must have at most 100,000 bytes; send fewer images"
        for _ in range(20):  # more than there is memory for, if one were kept
            reply = server.post(b" " * 100_001)
            assert (reply.status, reply.message) == (413, rule)
        assert server.post(ONE + b" " * (100_000 - len(ONE))).status == 200
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n"
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 413 "), "before it is sent"


def test_bodies_in_memory_are_bounded() -> None:
    model = Scripted()
    with site(model) as server, ThreadPoolExecutor(8) as clients:
        large = image(b"wait") + b" " * 90_000
        waiting = [clients.submit(server.post, large) for _ in range(4)]
        while model.begun < 4:
            time.sleep(0.01)
        reply = server.post(large)
        assert (reply.status, reply.message) == (503, "The server is busy: try again")
        assert server.post(ONE).status == 200
        model.gone.set()
        assert {one.result().status for one in waiting} == {200}
        assert server.post(large).status == 200, "their memory is free again"


def test_a_request_waits_its_time_for_an_answer() -> None:
    model = Scripted()
    with site(model, Limits(100_000, 3, seconds=1)) as server, ThreadPoolExecutor(20) as clients:
        waiting = [clients.submit(server.post, image(b"wait")) for _ in range(16)]
        while model.begun < 16:
            time.sleep(0.01)
        reply = server.post(ONE)
        assert (reply.status, reply.message) == (503, "The server is busy: try again")
        model.gone.set()
        assert {one.result().status for one in waiting} == {200}, "an answer that was begun is given"
        assert model.begun == 16
        assert server.post(ONE).status == 200


def test_clients_that_go_are_forgotten() -> None:
    model = Scripted()
    with site(model) as server:
        head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for _ in range(20):  # more than there is memory for, if one were kept
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(f"{head}Content-Length: 99000\r\n\r\n".encode() + b" " * 90_000)
        end = time.monotonic() + 30
        while server.post(ONE + b" " * 90_000).status != 200:
            assert time.monotonic() < end
        assert model.begun == 1
