"""Choose a score of novelty, and report what `--unknown` finds: ``python -m experiments.unknown``.

The files of `experiments.unknown.sets.Places` are named by options; the store of ``--output-dir`` keeps the
embeddings. Writes ``results/choice.csv``, and ``results/unknown.csv`` and ``results/scores.csv``, which have test
images alone.
"""

import argparse
from pathlib import Path

from joblib import Parallel, delayed

from experiments.methods.page import write_rows
from experiments.unknown import choice, report
from experiments.unknown.sets import BACKBONES, Places

RESULTS = Path(__file__).parent / "results"
SEEDS = 5


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where files are.

    Parameters
    ----------
    parser : of a study.
    """
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store keeps embeddings"
    )
    parser.add_argument(
        "--fashion", type=Path, required=True, help="folder of Fashion-MNIST's four .gz files"
    )
    parser.add_argument("--photos", type=Path, required=True, help="Parquet file of 1,000 photos")
    parser.add_argument(
        "--textures", type=Path, required=True, help="folder with scikit-image's brick.png ..."
    )


def places_of(given: argparse.Namespace) -> Places:
    """Where the files are, by the options of `add_places`.

    Parameters
    ----------
    given : the parsed command line.
    """
    return Places(given.output_dir, given.fashion, given.photos, given.textures)


def main() -> None:
    """Choose, then report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_places(parser)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--parts", nargs="+", default=("choice", "report"), choices=("choice", "report"))
    given = parser.parse_args()
    places, seeds = places_of(given), range(given.seeds)
    RESULTS.mkdir(exist_ok=True)
    if "choice" in given.parts:
        chosen = [
            choice.Task(b, known, s, places) for s in seeds for b in BACKBONES for known in choice.TASKS
        ]
        found = Parallel(given.jobs, verbose=10)(map(delayed(choice.measure), chosen))
        write_rows(RESULTS / "choice.csv", choice.table([one for some in found for one in some]))
    if "report" in given.parts:
        reported = [
            report.Task(b, known, s, places) for s in seeds for b in BACKBONES for known in report.PAIRS
        ]
        measured = Parallel(given.jobs, verbose=10)(map(delayed(report.measure), reported))
        lines = [one for some in measured for one in some]
        write_rows(RESULTS / "unknown.csv", report.table(lines))
        write_rows(RESULTS / "scores.csv", report.scores_table(lines))


if __name__ == "__main__":
    main()
