"""Command lines: the parser of ``--options``, and errors in one line."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fused_clip.support.machine import explain
from fused_clip.support.plugins import full_version

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
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser


class _Version(argparse.Action):
    """Prints the version; plugins are looked for only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(full_version())
        parser.exit()


def count(text: str) -> int:
    """Parse a number of at least 1, as the type of an option.

    Parameters
    ----------
    text : of the command line.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


@contextmanager
def one_line_errors(after_interrupt: str, kept: str = "") -> Iterator[None]:
    """End the process with a line: exit code 1 on bad input and errors of the machine, 130 on Ctrl-C.

    An error of the code keeps its traceback.

    Parameters
    ----------
    after_interrupt : printed after Ctrl-C: how to go on.
    kept : added to errors of the machine: the files that are kept.
    """
    logging.raiseExceptions = False  # a line that can't be logged is no reason for a traceback
    print_any_text()
    try:
        yield
        flush_output()
    except Exception as error:
        explained = explain(error, kept=kept)
        if explained is None:
            raise
        with suppress(OSError):
            flush_output()
        sys.exit(f"Error: {explained}")
    except KeyboardInterrupt:
        print(f"Stopped. {after_interrupt}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def flush_output() -> None:
    """Flush standard output; if that fails, raise OSError, and let the end of the process not try again."""
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = "standard output"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def print_any_text() -> None:
    """Let standard output and error print characters that their encoding lacks, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
