"""The server of the page: for this machine alone by default, with nothing of the machine to read."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.app.uploads import MOST_MEGABYTES
from fused_clip.support.errors import InputError
from fused_clip.support.memory import available_memory

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")  # Starlette keeps the brackets, Streamlit does not
# Streamlit's page needs styles that its scripts write, and pictures from memory. Its one inline script, for
# search engines, does not run.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' {sockets}; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_ROOM = 3  # an upload is in memory as it is received, as it is kept, and decoded


def is_local(host: str) -> bool:
    """Whether only programs of this machine reach an address.

    Parameters
    ----------
    host : name or address.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, port: int) -> None:
    """Check that the server can take an address.

    Parameters
    ----------
    host : name or address of this machine.
    port : in [1, 65535].

    Raises
    ------
    InputError
        If the host is not one of this machine, or the port is out of range, in use or reserved.
    """
    if not 1 <= port <= 65_535:
        raise InputError("port", "must be between 1 and 65535", port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (socket.gaierror, UnicodeError) as error:
        raise InputError("host", "must be a name or an address of this machine", host) from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError("host", "must be a name or an address of this machine", host) from error
        rule = f"{host}:{port} can't be taken ({error.strerror})"
        raise InputError(
            "port", rule, hint="Give another --port, or stop the program that uses it"
        ) from error


def serve(script: Path, secrets: Mapping[str, Any], host: str, port: int) -> None:
    """Serve a Streamlit script until Ctrl-C.

    Parameters
    ----------
    script : of the page.
    secrets : that the script reads from ``st.secrets``.
    host, port : as `check_address` accepts them.
    """
    import streamlit as st
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    hosts = allowed_hosts(host)
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts or ["*"]), Middleware(Guard)]
    st.App(script, secrets=secrets, middleware=guards).run(config=options(host, port))


def allowed_hosts(host: str) -> list[str]:
    """Names by which a browser may ask for the page; empty for any.

    A page of another site whose name resolves to this machine (DNS rebinding) uses its own name.

    Parameters
    ----------
    host : that the server listens at.
    """
    if is_local(host):
        return [*_LOOPBACK, host]
    try:
        if ip_address(host).is_unspecified:
            return []
    except ValueError:
        return [host]
    return [host, f"[{host}]"] if ":" in host else [host]


def options(host: str, port: int) -> dict[str, Any]:
    """Options of Streamlit; they win over a user's own files and environment.

    Parameters
    ----------
    host, port : of the server.
    """
    return {
        "server.address": host,
        "server.port": port,
        "server.baseUrlPath": "",
        "server.headless": True,  # opens no browser and asks for no email address
        "server.allowedHosts": allowed_hosts(host),
        "server.enableCORS": True,
        "server.corsAllowedOrigins": [],
        "server.enableXsrfProtection": True,
        "server.xsrfCookieSameSite": "strict",
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.scriptHealthCheckEnabled": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": MOST_MEGABYTES,
        "browser.serverAddress": host,
        "browser.gatherUsageStats": False,
        "client.allowedOrigins": [],
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "logger.hideWelcomeMessage": True,
        "global.developmentMode": False,
        "magic.displayRootDocString": False,
        "runner.magicEnabled": False,
    }


class Guard:
    """Middleware: headers that keep a browser from fetching or running anything else; room for uploads.

    Parameters
    ----------
    app : that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse an upload that memory has no room for.

        Parameters
        ----------
        scope, receive, send : of ASGI.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_headers(given.get(b"host", b""))]
            await send(message)

        if scope["method"] == "PUT" and not _has_room(given.get(b"content-length")):
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("There is not enough memory for this file.", status_code=413)
            await refusal(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _has_room(length: bytes | None) -> bool:
    """Whether memory has room for an upload; one of unknown length counts as the largest."""
    size = int(length) if length is not None and length.isdigit() else MOST_MEGABYTES << 20
    return available_memory() > _ROOM * size


def _headers(host: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Headers of every answer."""
    # Some browsers do not count a web socket of the page's own server as 'self'.
    policy = _POLICY.format(sockets=f"ws://{host.decode('latin-1')}" if host else "")
    return (
        (b"content-security-policy", policy.encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )
