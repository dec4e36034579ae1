"""Command line ``fused-clip-app RUN``, or ``python -m fused_clip.app``.

Heavy modules are imported after the arguments are checked.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.memory import check_libraries

SCRIPT = Path(__file__).with_name("screen.py")
_PORT = 8501
_DESCRIPTION = "Open a local page to try the model of a run: drop images, see answers, change constraints."
_EPILOG = "Needs pip install 'fused_clip[app]'. The page fetches nothing and sends nothing anywhere."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    args = _parser().parse_args(arguments)
    with one_line_errors("The page is gone."):
        _run(args)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-app", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("model", metavar="RUN", help="directory of a run, or of the model in it")
    add("--host", default="127.0.0.1", help="address to listen at; by default this machine's own alone")
    add("--port", type=int, default=_PORT, help="port to listen at (%(default)s)")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:<index> or mps")
    add("--weights", metavar="PLACE", help="where the backbone's file or folder was moved to")
    return parser


def _run(args: argparse.Namespace) -> None:
    from fused_clip.app.local_server import check_address, is_local, serve
    from fused_clip.model.location import find

    if find_spec("streamlit") is None:
        raise InputError(
            "app", "needs Streamlit, which is not installed", hint="pip install 'fused_clip[app]'"
        )
    find(Path(args.model))
    check_address(args.host, args.port)
    if not is_local(args.host):
        print(
            f"Warning: everyone who reaches {args.host} can use this page and its model. It has no password.",
            file=sys.stderr,
        )
    check_libraries()
    print(f"Loading {args.model} ...", flush=True)
    from fused_clip.app.studio import opened

    loaded = {"place": args.model, "device": args.device, "weights": args.weights or ""}
    opened(**loaded)
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"The page is at http://{shown}:{args.port} - Ctrl-C ends it.", flush=True)
    serve(SCRIPT, {"model": loaded}, args.host, args.port)


if __name__ == "__main__":
    main()
