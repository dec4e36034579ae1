"""Command line ``fused-clip-predict MODEL IMAGES... --out FILE``, or ``python -m fused_clip.predict``.

Heavy modules are imported after the arguments are checked.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.model.constraint_parsing import (
    check_promise,
    check_threshold,
    parse_prior,
    parse_targets,
    read_target_map,
)
from fused_clip.predict import answers
from fused_clip.predict.journal import Journal
from fused_clip.support.command import count, make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.memory import check_libraries
from fused_clip.support.threads import wait_briefly

if TYPE_CHECKING:
    from fused_clip.guarantee import Guarantee
    from fused_clip.model.saved import SavedModel
    from fused_clip.predict.explanation import Explainer
    from fused_clip.predict.sources import ImageSource
    from fused_clip.predict.stream import Wanted
    from fused_clip.predict.totals import Totals

_MLFLOW = ("runs:/", "models:/")
_DESCRIPTION = "Apply the model of a run to images. A stopped command continues when it is given again."
_EPILOG = (
    f"Columns of FILE: {', '.join(answers.COLUMNS)}; with --top-k also target_2, probability_2 and so on; "
    f"with --probabilities p:NAME for each target; with --explain {', '.join(answers.EXPLANATION)}; with "
    "--on-bad-image report also error. A transductive "
    "model answers for all images together, at least two: one that is stopped starts anew."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    kept = "The same command goes on from here, or anew with a transductive model"
    with one_line_errors(f"{kept}.", kept):
        args = _parser().parse_intermixed_args(arguments)
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        check_libraries()
        wait_briefly()
        _run(args)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-predict", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("model", metavar="MODEL", help="directory of a run, runs:/ID/model or models:/NAME/VERSION")
    add("images", metavar="IMAGES", nargs="+", help="folders, files, globs, .csv, .tsv or .parquet tables")
    add("--out", required=True, type=Path, metavar="FILE", help="a .csv, .parquet or .jsonl file")
    add("--threshold", type=float, default=0.0, metavar="P", help="abstain below this probability")
    add("--top-k", type=int, default=1, metavar="K", help="give the K best targets with their probabilities")
    add("--probabilities", action="store_true", help="give the probability of each target")
    add("--targets", metavar="A,B", help="admit these targets only")
    add("--prior", metavar="A=.9,B=.1", help="frequencies of the admitted targets; sum to 1")
    add("--target-map", type=Path, metavar="YAML", help="merge targets: 'group: [targets]'")
    coverage = "give the smallest set of targets that has the true one with this probability (.9)"
    add("--coverage", type=float, metavar="P", help=coverage)
    per = "promise the coverage over all images (default), or over the images of each target"
    add("--coverage-per", choices=["all", "target"], default="all", help=per)
    unknown = "call images unknown that are like no target: at most this share of the known ones (.05)"
    add("--unknown", type=float, metavar="P", help=unknown)
    add("--column", metavar="NAME", help="column of a table: of paths ('path') or of encoded images")
    outside = "read images that a table names outside of its folder, and follow links out of a folder"
    add("--outside-root", action="store_true", help=outside)
    bad = "an unreadable image is left out and logged (skip, the default), gets a row with the reason in the "
    bad += "column error (report), or stops the command (error)"
    add("--on-bad-image", choices=["skip", "report", "error"], default="skip", help=bad)
    large = "an image with more pixels counts as unreadable (%(default)s)"
    add("--max-pixels", type=count, default=MAX_PIXELS, metavar="N", help=large)
    why = (
        "give the nearest training images, the composition of the cluster and the prompt's share; MODEL must"
    )
    add("--explain", action="store_true", help=f"{why} be the directory of a run")
    add("--gallery", type=Path, metavar="PAGE.html", help="also write a page of thumbnails")
    add("--overwrite", action="store_true", help="replace FILE, PAGE and the partial work of other commands")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:<index> or mps")
    add("--weights", metavar="PLACE", help="where the backbone's file or folder was moved to")
    add("--tracking-uri", metavar="URI", help="MLflow store of runs:/ and models:/")
    return parser


def _run(args: argparse.Namespace) -> None:
    check_threshold(args.threshold)
    check_promise(args.coverage, args.coverage_per, args.unknown)
    _check_places(args)
    if args.explain:
        _check_run(args.model)
    with answers.place(args.out, overwrite=args.overwrite) as draft:
        if args.gallery is not None:
            answers.check_page(args.gallery, overwrite=args.overwrite)
        knowledge = {
            "targets": None if args.targets is None else parse_targets(args.targets),
            "prior": None if args.prior is None else parse_prior(args.prior),
            "target_map": None if args.target_map is None else read_target_map(args.target_map),
        }
        from fused_clip.predict.sources import find_source

        source = find_source(args.images, args.column, outside=args.outside_root)
        model = _load(args, knowledge)
        model.head.check_batch(len(source))
        from fused_clip.guarantee import promised
        from fused_clip.predict.stream import Wanted, predict_into

        wanted = Wanted(
            args.threshold,
            args.top_k,
            args.probabilities,
            args.on_bad_image,
            args.max_pixels,
            args.coverage,
            args.coverage_per,
            args.unknown,
            args.explain,
        )
        guarantee = promised(model, args.coverage, args.coverage_per, args.unknown)
        explainer = _explainer(args, model)
        journal = Journal(draft, _job(args, knowledge, model, wanted), fresh=args.overwrite)
        predict_into(journal, model, source, wanted, guarantee, explainer)
        _finish(args, journal, model, source, guarantee, explainer)


def _check_run(model: str) -> None:
    """Refuse a model without the run's directory, before it is loaded."""
    from fused_clip.runner.training_rows import run_directory

    if model.startswith(_MLFLOW):
        rule = "needs the directory of a run as MODEL: one from MLflow comes without its training rows"
        raise InputError("explain", rule, model, hint="Give a directory such as outputs/latest")
    run_directory(model, "explain")


def _explainer(args: argparse.Namespace, model: "SavedModel") -> "Explainer | None":
    if not args.explain:
        return None
    from fused_clip.predict.explanation import Explainer

    return Explainer.of(args.model, model)


def _check_places(args: argparse.Namespace) -> None:
    """Refuse a file of answers or a page that would replace an input, or each other."""
    read = [*args.images, *filter(None, [args.target_map])]
    for option, place in (("out", args.out), ("gallery", args.gallery)):
        if place is not None:
            for other in read:
                answers.refuse_same(option, place, other)
    if args.gallery is not None:
        answers.refuse_same("gallery", args.gallery, args.out)


def _load(args: argparse.Namespace, knowledge: dict[str, Any]) -> "SavedModel":
    from fused_clip.model.predictions import check_further
    from fused_clip.model.saved import load_model

    with _folder(args.model, args.tracking_uri) as folder:
        try:
            model = load_model(folder, device=args.device, weights=args.weights)
        except InputError as error:
            if args.weights is None or not error.option.startswith("backbone."):
                raise
            raise InputError("weights", str(error).partition(": ")[2]) from error
    check_threshold(args.threshold, calibrated=model.calibrated)
    model = model.constrain(**knowledge)
    check_further(model.names, top_k=args.top_k, each=args.probabilities, calibrated=model.calibrated)
    return model


def _folder(model: str, tracking_uri: str | None) -> AbstractContextManager[Path]:
    if not model.startswith(_MLFLOW):
        return nullcontext(Path(model))
    from fused_clip.tracking.models import fetched

    return fetched(model, tracking_uri)


def _job(
    args: argparse.Namespace, knowledge: dict[str, Any], model: "SavedModel", wanted: "Wanted"
) -> dict[str, Any]:
    """Everything that decides the predictions, except the states of the images' files (in the records)."""
    from fused_clip.predict.sources import is_table, state_of

    places = [Path(place).expanduser().absolute() for place in args.images]
    return {
        "format": 5,
        "model": model.checksum,
        "backbone": model.require_backbone().fingerprint,
        "images": list(map(str, places)),
        "tables": [state_of(place) for place in places if is_table(place)],
        "column": args.column,
        **asdict(wanted),
        **knowledge,
    }


def _finish(
    args: argparse.Namespace,
    journal: Journal,
    model: "SavedModel",
    source: "ImageSource",
    guarantee: "Guarantee | None",
    explainer: "Explainer | None",
) -> None:
    """Turn the journal into the page and the table, and print the counts."""
    from fused_clip.model.predictions import further_columns
    from fused_clip.predict.totals import Totals

    found = Totals.of(journal, guarantee)
    if not found.counts["predicted"]:
        journal.remove()
        raise InputError(
            "images", f"none of the {found.counts['bad']} images can be read", " ".join(args.images)
        )
    errors = ["error"] if args.on_bad_image == "report" else []
    further = further_columns(model.names, top_k=args.top_k, each=args.probabilities)
    why = answers.EXPLANATION if args.explain else ()
    columns = (*answers.COLUMNS, *further, *found.columns, *why, *errors)
    # Write the page first: if it fails, the journal is kept; if it exists, so does its table.
    with _page(args, journal, model, source, found, explainer):
        answers.write(args.out, map(found.completed, journal), columns)
    journal.remove()
    print(
        f"{args.out}: {found.counts['predicted']} images predicted, {found.counts['bad']} could not be read."
    )
    if args.threshold:
        print(f"{found.counts['abstained']} have a probability below {args.threshold}: abstained.")
    if model.transductive:
        print("The model is transductive: each answer depends on all images predicted with it.")
    if not model.calibrated:
        print("The model is uncalibrated (made without labels): its answers have margins, no probabilities.")
    for line in found.lines:
        print(line)


def _page(
    args: argparse.Namespace,
    journal: Journal,
    model: "SavedModel",
    source: "ImageSource",
    found: "Totals",
    explainer: "Explainer | None",
) -> AbstractContextManager[None]:
    if args.gallery is None:
        return nullcontext()
    from fused_clip.predict import gallery

    about = gallery.About.of(model, args.model, found.warning)
    return gallery.drawn(args.gallery, source, journal, about, args.max_pixels, explainer)


if __name__ == "__main__":
    main()
