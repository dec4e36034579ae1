"""Command line: ``fused-clip-predict MODEL IMAGES --out FILE``; ``python -m fused_clip.predict`` is the same.

Nothing heavy is imported until the arguments are known to be right.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.predict import answers
from fused_clip.predict.constraints import check_threshold, parse_prior, parse_targets, read_target_map
from fused_clip.predict.journal import Journal, Record
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.model.saved import SavedModel
    from fused_clip.predict.sources import Source

_MLFLOW = ("runs:/", "models:/")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    try:
        _run(args)
    except InputError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fused-clip-predict",
        description="Apply the model of a run to images. A run that was stopped goes on where it was.",
        epilog="Columns of FILE: " + ", ".join(answers.COLUMNS),
    )
    parser.add_argument(
        "model", metavar="MODEL", help="directory of a run, runs:/ID/model or models:/NAME/VERSION"
    )
    parser.add_argument("images", metavar="IMAGES", help="a folder, a quoted glob, a .csv or a .parquet")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="a .csv or .parquet file")
    parser.add_argument(
        "--threshold", type=float, default=0.0, metavar="P", help="abstain below it; a probability"
    )
    parser.add_argument("--targets", metavar="A,B", help="admit these targets only")
    parser.add_argument("--prior", metavar="A=.9,B=.1", help="frequencies of the admitted targets; sum to 1")
    parser.add_argument("--target-map", type=Path, metavar="YAML", help="merge targets: 'group: [targets]'")
    parser.add_argument(
        "--column", metavar="NAME", help="column of the table: of paths ('path') or of images"
    )
    parser.add_argument(
        "--on-bad-image",
        choices=["skip", "report", "error"],
        default="skip",
        help="one that can't be read is named and left out (skip), or has a row with the reason, or stops",
    )
    parser.add_argument("--gallery", type=Path, metavar="PAGE.html", help="write a page to look at as well")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE, PAGE and other partial work")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:<index> or mps (auto)")
    parser.add_argument("--weights", metavar="PLACE", help="where the backbone's file or folder was moved to")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store of runs:/ and models:/")
    return parser


def _run(args: argparse.Namespace) -> None:
    check_threshold(args.threshold)
    with answers.place(args.out, overwrite=args.overwrite) as partial:
        if args.gallery is not None:
            _check_gallery(args.gallery, overwrite=args.overwrite)
        knowledge = {
            "targets": None if args.targets is None else parse_targets(args.targets),
            "prior": None if args.prior is None else parse_prior(args.prior),
            "target_map": None if args.target_map is None else read_target_map(args.target_map),
        }
        from fused_clip.predict.sources import find_source

        source = find_source(args.images, args.column)
        model = _load(args, knowledge)
        from fused_clip.predict.stream import predict_into

        journal = Journal(partial, _job(args, knowledge, model), fresh=args.overwrite)
        predict_into(journal, model, source, threshold=args.threshold, on_bad_image=args.on_bad_image)
        _finish(args, journal, model, source)


def _check_gallery(path: Path, *, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise InputError("gallery", "its folder must exist", str(path.parent))
    if path.is_dir():
        raise InputError("gallery", "must be a file, and is a folder", str(path))
    if path.exists() and not overwrite:
        raise InputError("gallery", "must not exist yet", str(path), hint="--overwrite replaces it")


def _load(args: argparse.Namespace, knowledge: dict[str, Any]) -> "SavedModel":
    from fused_clip.model.saved import load_model

    with _folder(args.model, args.tracking_uri) as folder:
        model = load_model(folder, device=args.device, weights=args.weights)
    check_threshold(args.threshold, calibrated=model.calibrated)
    return model.constrain(**knowledge)


def _folder(model: str, tracking_uri: str | None) -> AbstractContextManager[Path]:
    if not model.startswith(_MLFLOW):
        return nullcontext(Path(model))
    from fused_clip.tracking.models import fetched

    return fetched(model, tracking_uri)


def _job(args: argparse.Namespace, knowledge: dict[str, Any], model: "SavedModel") -> dict[str, Any]:
    """All that decides the predictions, but for the images' files, whose states are in the records."""
    from fused_clip.predict.sources import state_of

    place = Path(args.images).expanduser().absolute()
    return {
        "format": 2,
        "model": model.checksum,
        "backbone": model.require_backbone().fingerprint,
        "images": str(place),
        "table": state_of(place) if place.is_file() else None,
        "column": args.column,
        "threshold": args.threshold,
        "on_bad_image": args.on_bad_image,
        **knowledge,
    }


def _finish(args: argparse.Namespace, journal: Journal, model: "SavedModel", source: "Source") -> None:
    """Turn the journal into the page and the table, and tell what is in it."""
    counts = _count(journal)
    if not counts["predicted"]:
        journal.remove()
        raise InputError("images", f"none of the {counts['bad']} images can be read", args.images)
    # A page that can't be drawn costs no prediction, and a page that is there has its table.
    with _page(args, journal, source):
        answers.write(args.out, journal, errors=args.on_bad_image == "report")
    journal.remove()
    print(f"{args.out}: {counts['predicted']} images predicted, {counts['bad']} could not be read.")
    if args.threshold:
        print(f"{counts['abstained']} have a probability below {args.threshold}: abstained.")
    if not model.calibrated:
        print("The model is uncalibrated (made without labels): there are margins, and no probabilities.")


def _page(args: argparse.Namespace, journal: Journal, source: "Source") -> AbstractContextManager[None]:
    if args.gallery is None:
        return nullcontext()
    from fused_clip.predict import page_file

    return page_file.drawn(args.gallery, source, journal)


def _count(records: Iterable[Record]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for record in records:
        counts["bad" if "error" in record else "predicted"] += 1
        counts["abstained"] += bool(record.get("abstained"))
    return counts


if __name__ == "__main__":
    main()
