"""A web application in MLflow's scoring protocol, with limits, and one line for every bad request."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fused_clip.serving.asked import Respondent
from fused_clip.serving.wire import read_request, written
from fused_clip.support.errors import InputError

_ANSWERED_AT_ONCE = 16  # requests; their images share batches
_BODIES = 4  # largest bodies that are in memory at once
_CODES = {500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}  # MLflow's names
_JSON = "application/json"


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Parameters
    ----------
    max_body : bytes of a request.
    max_images : images of a request.
    seconds : in which a request must have arrived, and then an answer have been started.
    """

    max_body: int
    max_images: int
    seconds: float


def make_application(respondent: Respondent, limits: Limits) -> Starlette:
    """Make the application: ``/invocations``, ``/ping``, ``/health`` and ``/version``.

    Parameters
    ----------
    respondent : the model.
    limits : of each request.
    """
    door = _Door(respondent, limits)
    return Starlette(
        routes=[
            Route("/invocations", door.invocations, methods=["POST"]),
            Route("/ping", _ping),
            Route("/health", _ping),
            Route("/version", _version),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _failure},
    )


class _Door:
    """Lets requests in, a few at a time.

    Parameters
    ----------
    respondent, limits : as of `make_application`.
    """

    def __init__(self, respondent: Respondent, limits: Limits) -> None:
        self._respondent = respondent
        self._limits = limits
        self._slots = asyncio.Semaphore(_ANSWERED_AT_ONCE)
        self._in_memory = 0  # bytes of bodies

    async def invocations(self, request: Request) -> Response:
        """Answer for images."""
        body = bytearray()
        try:
            await self._receive(request, body)
            return Response(await self._answered(request, body), media_type=_JSON)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except InputError as error:
            raise HTTPException(400, " ".join(str(error).split())) from error
        finally:
            self._forget(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            with anyio.fail_after(self._limits.seconds):
                await self._read(request, body)
        except TimeoutError as error:
            rule = f"body: must arrive within {self._limits.seconds:g} seconds"
            raise HTTPException(408, rule, {"Connection": "close"}) from error

    async def _read(self, request: Request, body: bytearray) -> None:
        most = self._limits.max_body
        refusal = (
            None if _is_json(request) else HTTPException(415, f"Content-Type: must be {_JSON}, in UTF-8")
        )
        refused = 0
        if int(request.headers.get("content-length", 0)) > most and "expect" in request.headers:
            raise _too_large(most)
        async for chunk in request.stream():
            if refusal is None and len(body) + len(chunk) > most:
                refusal = _too_large(most)
            if refusal is None and self._in_memory + len(chunk) > _BODIES * most:
                refusal = _busy()
            if refusal is None:
                body += chunk
                self._in_memory += len(chunk)
                continue
            # The rest is read: a client that is still sending would see a broken connection, and no answer.
            self._forget(body)
            refused += len(chunk)
            if refused > _BODIES * most:
                break
        if refusal is not None:
            raise refusal

    async def _answered(self, request: Request, body: bytearray) -> bytes:
        try:
            with anyio.fail_after(self._limits.seconds):  # a thread that has started ends its work
                async with self._slots:
                    if await request.is_disconnected():
                        raise ClientDisconnect
                    return await run_in_threadpool(self._answer, body)
        except TimeoutError as error:
            raise _busy() from error

    def _answer(self, body: bytearray) -> bytes:
        contents, asked = read_request(body, self._limits.max_images)
        return written(self._respondent.answer(contents, asked))

    def _forget(self, body: bytearray) -> None:
        self._in_memory -= len(body)
        body.clear()


def _is_json(request: Request) -> bool:
    kind, _, charset = request.headers.get("content-type", "").lower().partition(";")
    return kind.strip() == _JSON and charset.strip() in ("", "charset=utf-8")


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"body: must have at most {most:,} bytes; send fewer images")


def _busy() -> HTTPException:
    return HTTPException(503, "The server is busy: try again", {"Retry-After": "5"})


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _line(error.status_code, error.detail, error.headers)


def _failure(request: Request, error: Exception) -> Response:
    """Answer an error of ours; the traceback is in the log of the server alone."""
    return _line(500, "The model failed; the log of the server says why")


def _line(status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    content = {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": line}
    return JSONResponse(content, status, headers)


def _ping(request: Request) -> Response:
    return Response("\n", media_type=_JSON)


def _version(request: Request) -> Response:
    return Response(version("fused_clip"), media_type="text/plain")
