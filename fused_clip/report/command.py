"""The command line of the report."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fused_clip.report import generic, provenance, writer
from fused_clip.report.page import Page
from fused_clip.runner.config import complaint, locate
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.tracking.records import RunRecord
from fused_clip.tracking.stored_runs import open_runs

HELP = """Make a report of runs: Markdown, LaTeX, and one HTML page that needs nothing else.

python -m fused_clip.report study=NAME     every cell of a study
python -m fused_clip.report sweep=ID       the cells of one sweep (its tag sweep_id)

output_dir=DIR           where the runs are (outputs)
tracking.uri=URI         their MLflow store, if it isn't the one in output_dir
tracking.experiment=NAME its experiment (fused_clip)
out=DIR                  where the report goes (<output_dir>/reports/<NAME or ID>)

Exit code 1 if a cell is missing or has failed; the report is made and says so."""
Text = Annotated[str, Field(min_length=1)]


class ReportOptions(BaseModel):
    """What the command line may say."""

    model_config = ConfigDict(strict=True, extra="forbid")
    study: Text | None = None
    sweep: Text | None = None
    output_dir: Text = "outputs"
    uri: Text | None = Field(default=None, alias="tracking.uri")
    experiment: Text = Field(default="fused_clip", alias="tracking.experiment")
    out: Text | None = None


def parse(arguments: Sequence[str]) -> ReportOptions:
    """Check ``key=value`` words; a value is taken as it stands, so that a path needs no quotes.

    Raises
    ------
    InputError
        On a word that is none of these, a key that is unknown or given twice, an empty value, or not exactly
        one of study and sweep.
    """
    given: dict[str, str] = {}
    keys = [field.alias or name for name, field in ReportOptions.model_fields.items()]
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or key not in keys:
            raise InputError("report", "takes key=value", word, choices=[f"{key}=" for key in keys])
        if key in given:
            raise InputError(key, "is given twice", value)
        given[key] = value
    try:
        options = ReportOptions.model_validate(given)
    except ValidationError as error:
        raise complaint(error.errors()[0]) from error
    if (options.study is None) == (options.sweep is None):
        raise InputError("report", "needs either study=NAME or sweep=ID", " ".join(arguments))
    return options


def page_of(records: Sequence[RunRecord]) -> Page:
    """Make a study's page, by its own builder if ``conf/report/<study>.yaml`` names one; add the evidence."""
    page = _builder(records[0].study)(records)
    return Page(
        page.title,
        [*page.sections, provenance.runs_section(records)],
        [*provenance.problems(records), *page.problems],
    )


def _builder(study: str) -> Callable[[Sequence[RunRecord]], Page]:
    known = {path.stem: path for path in (conf_dir() / "report").glob("*.yaml")}
    if study not in known:
        return generic.build
    node = OmegaConf.to_container(OmegaConf.load(known[study]), resolve=True)
    options = {str(key): value for key, value in dict(node).items()}  # type: ignore[arg-type]
    return partial(locate("report", options.pop("_target_")), **options)


def report(options: ReportOptions) -> int:
    """Make the report; give the exit code."""
    with open_runs(options.uri, Path(options.output_dir), options.experiment) as stored:
        records = stored.study(options.study) if options.study else stored.sweep(str(options.sweep))
        if not records:
            raise InputError("sweep", "has no cells", options.sweep)
        name = options.study or str(options.sweep)
        out = Path(options.out) if options.out else Path(options.output_dir) / "reports" / name
        page = page_of(records)
        try:
            written = writer.write(page, out)
        except OSError as error:
            raise InputError("out", f"can't be written ({error.strerror})", str(out)) from error
        print(*written, sep="\n")
    for problem in page.problems:
        print(problem, file=sys.stderr)
    return int(not all(record.finished for record in records))


def main(arguments: Sequence[str]) -> int:
    """Run the command line; give the exit code: 0, or 1 on bad input or cells without a number."""
    if "--help" in arguments or "-h" in arguments:
        print(HELP)
        return 0
    try:
        return report(parse(arguments))
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
