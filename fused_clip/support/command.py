"""Command lines with ``--options``: the parser, and errors in one line."""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fused_clip.support.errors import InputError
from fused_clip.support.versions import version_line

INTERRUPTED = 130  # exit code of a command stopped by Ctrl-C: 128 + SIGINT


def make_parser(prog: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Make a parser that has ``--help`` and ``--version``, and accepts no abbreviated options.

    Parameters
    ----------
    prog : name of the command.
    description : one sentence for ``--help``.
    epilog : text after the options in ``--help``.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=version_line())
    return parser


@contextmanager
def one_line_errors(after_interrupt: str) -> Iterator[None]:
    """End the process with one line on bad input (exit code 1) and on Ctrl-C (exit code 130).

    Parameters
    ----------
    after_interrupt : printed after Ctrl-C: how to go on.
    """
    print_any_text()
    try:
        yield
    except InputError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print(f"Stopped. {after_interrupt}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def print_any_text() -> None:
    """Let standard output and error print characters that their encoding lacks, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
