"""Command line ``fused-clip-review RUN``, or ``python -m fused_clip.review``.

Heavy modules are imported after the arguments are checked.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.predict.answers import check_place, refuse_same
from fused_clip.runner.training_rows import TrainingRows, run_directory
from fused_clip.support.command import count, make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.memory import check_libraries

if TYPE_CHECKING:
    from fused_clip.review.suspects import LabelReview

_DESCRIPTION = (
    "List training images whose label is probably wrong, by evidence that leaves each image's label out."
)
_EPILOG = (
    "Columns of FILE: position, id, label, suggested, wrong (probability that the label is wrong), "
    "label_probability and suggested_probability by the evidence, and the answer of each source of evidence. "
    "It has every training image, the most likely wrong first."
)
_PAGES = (".html", ".htm")
_TOP = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    with one_line_errors("No file was written."):
        args = _parser().parse_args(arguments)
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        check_libraries()
        _run(args)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-review", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("run", metavar="RUN", help="directory of a run, such as outputs/latest")
    add("--out", type=Path, default=Path("labels.csv"), metavar="FILE.csv", help="the table (%(default)s)")
    add("--page", type=Path, metavar="PAGE.html", help="the page of thumbnails (FILE.html)")
    top = "images on the page, at most, of those whose label the evidence contradicts (%(default)s)"
    add("--top", type=count, default=_TOP, metavar="N", help=top)
    add("--overwrite", action="store_true", help="replace FILE and PAGE")
    return parser


def _run(args: argparse.Namespace) -> None:
    page = args.out.with_suffix(".html") if args.page is None else args.page
    _check_places(args.out, page, overwrite=args.overwrite)
    training = TrainingRows.of(run_directory(args.run, "run"), "run")
    from fused_clip.review import review_page, review_table
    from fused_clip.review.suspects import LabelReview

    review = LabelReview.of(training)
    shown = [row for row in review.order if review.suggested[row] != training.targets[row]]
    review_page.write(page, review, shown[: args.top], args.run)
    review_table.write(args.out, review)
    print(f"{args.out}: {len(training):,} labels, the most likely wrong first.")
    print(f"{page}: {min(len(shown), args.top):,} of {len(shown):,} that the evidence contradicts.")
    print(_found(review))


def _check_places(out: Path, page: Path, *, overwrite: bool) -> None:
    for option, place, suffixes in (("out", out, (".csv",)), ("page", page, _PAGES)):
        if place.suffix not in suffixes:
            raise InputError(option, "must end in one of these", place.name, choices=suffixes)
        check_place(option, place, overwrite=overwrite)
    refuse_same("page", page, out)


def _found(review: "LabelReview") -> str:
    likely = int((review.pool.wrong > 0.5).sum())
    expected = float(review.pool.wrong.sum())
    return f"{likely:,} are more likely wrong than right; {expected:,.0f} are expected to be wrong in all."
