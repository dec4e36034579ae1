"""Choose a score of novelty, and report what `--unknown` finds: ``python -m experiments.unknown``.

Options name the files of `experiments.guarantees.sets.Places`; the store of ``--output-dir`` keeps the
embeddings. Writes ``results/choice.csv``, and ``results/unknown.csv`` and ``results/scores.csv``, which have
test images alone.
"""

import argparse
from pathlib import Path

from experiments.guarantees.kept import measure_all
from experiments.guarantees.sets import BACKBONES, add_places, places_of
from experiments.methods.page import write_rows
from experiments.unknown import choice, report

RESULTS = Path(__file__).parent / "results"
SEEDS, DRAWS = 5, 20  # for the scores; for the calls, whose rates differ more between draws


def main() -> None:
    """Choose, then report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_places(parser)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the scores")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the calls, at least as many")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--parts", nargs="+", default=("choice", "report"), choices=("choice", "report"))
    given = parser.parse_args()
    places, seeds, folder = places_of(given), range(given.seeds), given.output_dir / "unknown"
    RESULTS.mkdir(exist_ok=True)
    if "choice" in given.parts:
        draws = [choice.Task(b, known, s, places) for s in seeds for b in BACKBONES for known in choice.TASKS]
        found = measure_all(choice.measure, draws, choice.file_of, folder, given.jobs)
        write_rows(RESULTS / "choice.csv", choice.table(found))
    if "report" in given.parts:
        runs = [
            report.Task(backbone, known, seed, places, scores=seed < given.seeds)
            for seed in range(given.draws)
            for known in report.PAIRS
            for backbone in BACKBONES
        ]
        found = measure_all(report.measure, runs, report.file_of, folder, given.jobs)
        write_rows(RESULTS / "unknown.csv", report.table(found))
        write_rows(RESULTS / "scores.csv", report.scores_table(found))


if __name__ == "__main__":
    main()
