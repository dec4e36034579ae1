"""The command line of the report."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from fused_clip.report import generic, provenance, writer
from fused_clip.report.page import Page
from fused_clip.runner.targets import locate
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.machine import KEPT
from fused_clip.support.plugins import options_in
from fused_clip.tracking.records import RunRecord
from fused_clip.tracking.stored_runs import open_runs

_OPTIONS = {
    "study": ("NAME", None, "every cell of a study"),
    "sweep": ("ID", None, "the cells of one sweep (its tag sweep_id)"),
    "output-dir": ("DIR", "outputs", "where the runs are (default: outputs)"),
    "tracking-uri": ("URI", None, "their MLflow store, if it isn't the one in --output-dir"),
    "experiment": ("NAME", "fused_clip", "its experiment (default: fused_clip)"),
    "out": ("DIR", None, "where the report goes (default: OUTPUT_DIR/reports/<NAME or ID>)"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 1 on bad input or if a cell is missing or has failed.

    Parameters
    ----------
    arguments : words after the command; those of the process by default.
    """
    with one_line_errors("Files of an earlier report are kept: run the same command again.", KEPT):
        options = _parser().parse_args(arguments)
        if options.words:
            raise _old_grammar(options.words[0])
        if bool(options.study) == bool(options.sweep):
            raise InputError("report", "needs either --study NAME or --sweep ID")
        return _report(options)


def _report(options: argparse.Namespace) -> int:
    with open_runs(options.tracking_uri, Path(options.output_dir), options.experiment) as stored:
        records = stored.study(options.study) if options.study else stored.sweep(options.sweep)
        if not records:
            raise InputError("sweep", "has no cells", options.sweep)
        out = Path(options.out or Path(options.output_dir) / "reports" / (options.study or options.sweep))
        page = page_of(records)
        try:
            written = writer.write(page, out)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError("out", f"can't be written ({reason})", str(error.filename or out)) from error
    print(*written, sep="\n")
    for problem in page.problems:
        print(problem, file=sys.stderr)
    return int(not all(record.finished for record in records))


def page_of(records: Sequence[RunRecord]) -> Page:
    """Make a study's page, by its own builder if ``conf/report/<study>.yaml`` names one; add its runs.

    Parameters
    ----------
    records : cells of one study or sweep, at least one.
    """
    page = _builder(records[0].study)(records)
    sections = [*page.sections, provenance.runs_section(records)]
    return Page(page.title, sections, [*provenance.problems(records), *page.problems])


def _builder(study: str) -> Callable[[Sequence[RunRecord]], Page]:
    known = options_in("report")
    if study not in known:
        return generic.build
    node = OmegaConf.to_container(OmegaConf.load(known[study]), resolve=True)
    options = {str(key): value for key, value in dict(node).items()}  # type: ignore[arg-type]
    return partial(locate("report", options.pop("_target_")), **options)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "python -m fused_clip.report",
        "Make a report of runs: Markdown, LaTeX, CSV, and one HTML page that needs no other file.",
        "Exit code 1 if a cell is missing or has failed; the report is made and lists these cells.",
    )
    for name, (metavar, default, words) in _OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=metavar, default=default, help=words)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def _old_grammar(word: str) -> InputError:
    """Explain that a ``key=value`` word is written with dashes."""
    key, equals, value = word.partition("=")
    option = key.removeprefix("tracking.").replace("uri", "tracking-uri").replace("_", "-")
    hint = f"Write --{option} {value}" if equals and option in _OPTIONS else ""
    return InputError("report", "takes options such as --study NAME", word, hint=hint)
