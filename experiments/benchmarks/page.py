"""The page of all machines that were measured: `experiments.docs` puts it into this folder's README.

`python -m experiments.benchmarks.page` writes each machine's tables and figure anew from its runs, as after a
change of a promise.
"""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.measure import Results
from experiments.benchmarks.report import span, write
from fused_clip.support.errors import InputError

HERE = Path(__file__).parent


def machines(folder: Path) -> list[Results]:
    """Read the results of every machine, the newest first.

    Parameters
    ----------
    folder : has a JSON file for each machine.
    """
    found = [Results(file) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda results: results.dates[::-1], reverse=True)


def page(folder: Path) -> str:
    """Return Markdown for a page next to `folder`: the newest machine's tables, and links to the others.

    Parameters
    ----------
    folder : has a JSON file for each machine, its tables (``.md``) and its figure (``.png``).

    Raises
    ------
    InputError
        If it has no results.
    """
    if not (measured := machines(folder)):
        hint = "Run python -m experiments.benchmarks"
        raise InputError("benchmarks", "needs the results of a machine in", str(folder), hint=hint)
    newest, *older = measured
    picture = newest.path.with_suffix(".png")
    lines = [f"![Seconds and new memory against n]({folder.name}/{picture.name})", ""]
    _, _, tables = newest.path.with_suffix(".md").read_text(encoding="utf-8").partition("\n\n")  # title
    lines.append(tables.strip())
    if older:
        lines += ["", "Other machines:", ""]
    for results in older:
        name = f"{results.environment['processor']}, {results.environment['cores']} cores"
        tables, figure = (f"{folder.name}/{results.path.with_suffix(kind).name}" for kind in (".md", ".png"))
        lines.append(f"- {name}, measured {span(results)}: [tables]({tables}), [figure]({figure})")
    return "\n".join(lines)


def main(folder: Path = HERE) -> None:
    """Write tables and figures anew.

    Parameters
    ----------
    folder : has ``results/`` and ``threads.json``.
    """
    from experiments.benchmarks.suite import BENCHMARKS

    for results in (*machines(folder / "results"), Results(folder / "threads.json")):
        for path in write(results, BENCHMARKS):
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
