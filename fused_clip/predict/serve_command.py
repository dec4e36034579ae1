"""Command line ``fused-clip-serve MODEL``: a saved model as a web server.

Heavy modules are imported after the arguments are checked.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence

from fused_clip.predict.opening import open_model
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.memory import check_libraries

_DESCRIPTION = "Answer requests for images over HTTP with the model of a run, in MLflow's scoring protocol."
_EPILOG = "POST /invocations takes images; GET /ping answers once the model is loaded. See docs/serving.md."
_MAX_PIXELS = 50_000_000  # read whole, such an image takes up to 350 MB
_MOST_CONNECTIONS = 256
_SECONDS_TO_END = 30  # for requests that are being answered when the server is stopped


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command until it is stopped.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    with one_line_errors(""):
        args = _parser().parse_args(arguments)
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        _check(args)
        check_libraries()
        with _listening(args.host, args.port) as door:
            _serve(args, door)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-serve", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("model", metavar="MODEL", help="directory of a run, runs:/ID/model or models:/NAME/VERSION")
    add("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine alone)")
    add("--port", type=int, default=5000, metavar="N", help="0 takes any that is free (%(default)s)")
    add("--max-body", type=int, default=64, metavar="MB", help="largest request (%(default)s)")
    add("--max-images", type=int, default=1000, metavar="N", help="most images of a request (%(default)s)")
    pixels = "an image with more pixels is refused (%(default)s)"
    add("--max-pixels", type=int, default=_MAX_PIXELS, metavar="N", help=pixels)
    seconds = "a request must arrive in this time, and is answered or refused in this time (%(default)s)"
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help=seconds)
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:<index> or mps")
    add("--weights", metavar="PLACE", help="where the backbone's file or folder was moved to")
    add("--tracking-uri", metavar="URI", help="MLflow store of runs:/ and models:/")
    return parser


def _check(args: argparse.Namespace) -> None:
    for option in ("max_body", "max_images", "max_pixels"):
        if getattr(args, option) < 1:
            raise InputError(option.replace("_", "-"), "must be at least 1", getattr(args, option))
    if not 0 < args.timeout < float("inf"):
        raise InputError("timeout", "must be a number of seconds above 0", args.timeout)
    if not 0 <= args.port < 2**16:
        raise InputError("port", "must be between 0 and 65535", args.port)


def _listening(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded, so that one in use is found at once."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, proto)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
    except (OSError, UnicodeError) as error:
        rule = f"this address can't be had ({getattr(error, 'strerror', None) or error})"
        raise InputError("host and port", rule, f"{host}:{port}") from error
    return door


def _serve(args: argparse.Namespace, door: socket.socket) -> None:
    import uvicorn

    from fused_clip.serving.application import Limits, make_application
    from fused_clip.serving.asked import Respondent

    model = open_model(args.model, args.device, args.weights, args.tracking_uri)
    limits = Limits(args.max_body * 1_000_000, args.max_images, args.timeout)
    config = uvicorn.Config(
        make_application(Respondent(model, args.max_pixels), limits),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    host, port = door.getsockname()[:2]
    print(f"{args.model} is served on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    uvicorn.Server(config).run([door])


if __name__ == "__main__":
    main()
