"""The paper's Table 1 next to the numbers of these runs, and its claims, checked."""

from collections.abc import Mapping, Sequence

from fused_clip.metrics.catalogue import CONTRIBUTIONS, METRICS
from fused_clip.metrics.numbers import number
from fused_clip.report.explained_columns import columns_table, references_of
from fused_clip.report.page import Block, Page, Prose, Section, Table, TableCell
from fused_clip.report.rivals import rivals
from fused_clip.report.studies.claims import check, claims_table
from fused_clip.report.studies.comparable import explanation, mismatches
from fused_clip.report.studies.difference_table import difference_blocks
from fused_clip.report.studies.map_grid import strategy_maps
from fused_clip.report.studies.measurements import Measurements
from fused_clip.report.studies.published import load, verdict
from fused_clip.report.studies.settings import apart, chosen, circumstances, dataset_name, missing_targets
from fused_clip.report.summary import group_by, summarize, supervision
from fused_clip.tracking.records import RunRecord

STRUCTURE = ("train/silhouette", "train/ari", "train/ami")  # printed in the paper


def page(records: Sequence[RunRecord]) -> Page:
    """Make the study's page.

    Parameters
    ----------
    records : cells of ``experiment=paper_table1``, and of ``experiment=paper_claims`` where they are there.
    """
    sections, problems = apart(records, _sections)
    return Page("The paper's Table 1, and its claims", sections, problems)


def _sections(records: Sequence[RunRecord]) -> list[Section]:
    cells = group_by(chosen(records), ["dataset", "prompt"])
    setting = circumstances(records)
    measured = Measurements(records)
    claims = check(measured)
    compared = [one for pairs in measured.comparisons.values() for one in pairs]
    caption = " ".join(filter(None, ["The paper's claims.", setting, supervision(records)]))
    return [
        Section("Claims", [*map(Prose, _CLAIMS), claims_table(claims, caption)]),
        Section("Accuracy", _accuracy(cells, setting)),
        Section("Structure of the training rows", [Prose(_STRUCTURE), _structure_table(cells, setting)]),
        Section("Differences on the same test rows", difference_blocks(compared, _FAMILY, setting)),
        Section("Maps", strategy_maps(chosen(records), setting)),
    ]


Cells = Mapping[tuple[str, ...], list[RunRecord]]


def _accuracy(cells: Cells, setting: str) -> list[Block]:
    """Show published and measured accuracy and the references: one row a dataset and strategy."""
    known = [record for records in cells.values() for record in records]
    references = references_of(known)
    contributions = [METRICS[name] for name in CONTRIBUTIONS]
    shown = [*(one.title for one in contributions), *(one.title for one in references)]
    columns = ["dataset", "prompt", "published", "measured", "verdict", *shown]
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            *_judged(dataset, prompt, "test/accuracy", records),
            *(summarize(records, one.name) for one in contributions),
            *(summarize(records, one.accuracy) for one in references),
        ]
        for (dataset, prompt), records in cells.items()
    ]
    caption = f"Test accuracy. {setting} {rivals(known, dataset_name)}".strip()
    table = Table(caption, columns, rows, "accuracy")
    explained = columns_table([*contributions, *references], known)
    reasons = explanation(known)
    return [Prose(_VERDICTS), Prose(_COMPARABLE), table, *reasons, explained, *_corrections(cells)]


def _structure_table(cells: Cells, setting: str) -> Table:
    """Show published and measured silhouette, ARI and AMI, with purity and missing targets."""
    titles = [METRICS[metric].title for metric in STRUCTURE]
    judgements = [column for title in titles for column in (f"{title} published", title, "verdict")]
    columns = ["dataset", "prompt", *judgements, METRICS["train/purity"].title, "missing targets"]
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            *(cell for metric in STRUCTURE for cell in _judged(dataset, prompt, metric, records)),
            summarize(records, "train/purity"),
            missing_targets(records),
        ]
        for (dataset, prompt), records in cells.items()
    ]
    return Table(f"Clusters of the fused training rows. {setting}", columns, rows, "structure")


def _judged(dataset: str, prompt: str, metric: str, records: Sequence[RunRecord]) -> list[TableCell]:
    """Return the published number, flagged where it is corrected; the measured one; the verdict."""
    paper = load()
    published = paper.numbers.get((dataset, prompt, metric))
    flag = "corrected" if (dataset, prompt, metric) in paper.corrections else ""
    known = [record for record in records if record.finished and metric in record.metrics]
    comparable = bool(known) and not any(map(mismatches, known))
    word = verdict(published, [record.metrics[metric] for record in known], comparable=comparable)
    printed = TableCell("-") if published is None else TableCell(number(published), published, flag=flag)
    return [printed, summarize(records, metric), TableCell(word or "-")]


def _corrections(cells: Cells) -> list[Block]:
    """Give each reason why published numbers of these cells are corrected, once."""
    paper = load()
    reasons = {paper.corrections.get(key): None for cell in cells for key in paper.numbers if key[:2] == cell}
    return [Prose(f"Corrected: {reason}") for reason in reasons if reason]


_CLAIMS = (
    "A claim is supported if it is shown in every dataset, with the true labels choosing each training "
    "image's prompt, as the paper does, and also with prompts paired by zero-shot classification, without "
    "labels of the run's images. If it is shown with the former and refuted with the latter, or can't be "
    "asked without labels, it is supported only with labels. A claim that the runs leave open is not shown, "
    "and one with a missing or failed run is not measured.",
    "A claim is shown by uncorrected tests, one a dataset: all must pass, which needs no correction "
    "(Berger 1982). Better and worse mean a p-value below .05. Equal means that the 95 % interval lies "
    "within a margin of zero, a tenth of the smaller error rate of the two. ARI, a score of the training "
    "rows, is tested over the seeds alone, by Student's t on these images. Fewer than three seeds give no "
    "interval and no test, nor do seeds that agree exactly on the gain in ARI: a claim that needs the test "
    "is then not shown.",
    "A claim is refuted by one dataset. Its test must pass after Holm's correction: worse or equal where "
    "better is claimed, better or worse where equal is claimed. The correction is over the family of the "
    "table of differences, for t-tests and for equivalence tests; for ARI, it is over the datasets of one "
    "pairing.",
)
_FAMILY = (
    "in each dataset, task against image only, generic, hierarchical, swapped, one cluster a target and "
    "zero-shot; grouped against image only with two targets, zero-shot, and zero-shot via class; all but "
    "swapped with oracle and with zero-shot pairing, where measured"
)
_VERDICTS = (
    "A published number is reproduced if the mean over seeds is within two standard deviations of it, but"
    " within .03 at most and .01 at least. Mean and standard deviation are over seeds, which draw the images "
    "and drive the algorithms."
)
_COMPARABLE = (
    "It is not comparable unless model, weights (by their SHA-256), preprocessing, precision, clusterer, "
    "fusion, classifier and numbers of images are the paper's. The paragraph below the table names those "
    "that are not; a run that did not record one of them is not comparable either."
)
_STRUCTURE = (
    "The training rows of every strategy with text but generic are fused with the prompt of their true "
    "label: their agreement with the labels shows what the text separates, not what was found. With two "
    "clusters a target, pure and even splits cap ARI near .64 for ten targets and .50 for two: compare it "
    "with purity."
)
