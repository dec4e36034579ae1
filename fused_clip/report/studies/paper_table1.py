"""The paper's Table 1 beside what these runs measure, and its claims, checked."""

from collections.abc import Mapping, Sequence

from fused_clip.report.page import Block, TableCell, Page, Prose, Section, Table
from fused_clip.report.studies.claims import check, claims_table
from fused_clip.report.studies.map_grid import strategy_maps
from fused_clip.report.studies.measurements import Evidence
from fused_clip.report.studies.pairs import difference_table
from fused_clip.report.studies.published import load, verdict
from fused_clip.report.studies.settings import apart, chosen, circumstances, dataset_name
from fused_clip.report.summary import group_by, number, summarize
from fused_clip.tracking.records import RunRecord

REFERENCES = {
    "zero_shot": "zero-shot",
    "zero_shot_via_class": "zero-shot via class",
    "image_only": "image only",
    "rotated_text": "rotated text",
    "nearest_class_mean": "class means",
    "nearest_cluster_mean": "cluster means",
    "linear_probe": "linear probe",
}
STRUCTURE = {"train/silhouette": "silhouette", "train/ari": "ARI", "train/ami": "AMI"}


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
    told = circumstances(records)
    evidence = Evidence(records)
    claims = check(evidence)
    compared = [one for pairs in evidence.comparisons.values() for one in pairs]
    return [
        Section("Claims", [Prose(_CLAIMS), claims_table(claims, f"The paper's claims. {told}")]),
        Section("Accuracy", [Prose(_VERDICTS), accuracy_table(cells, told), *_corrections(cells)]),
        Section("Structure of the training rows", [Prose(_STRUCTURE), structure_table(cells, told)]),
        Section(
            "Differences on the same test rows",
            [Prose(DIFFERENCES), difference_table(compared, f"Accuracies compared. {told}", "differences")],
        ),
        Section("Maps", strategy_maps(chosen(records), told)),
    ]


Cells = Mapping[tuple[str, ...], list[RunRecord]]


def accuracy_table(cells: Cells, told: str) -> Table:
    """Published and measured accuracy, the verdict, and the references: one row a dataset and strategy."""
    columns = ["dataset", "prompt", "published", "measured", "verdict", *REFERENCES.values()]
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            *judged(dataset, prompt, "test/accuracy", records),
            *(summarize(records, f"reference/{name}_accuracy") for name in REFERENCES),
        ]
        for (dataset, prompt), records in cells.items()
    ]
    return Table(f"Test accuracy. {told}", columns, rows, "accuracy")


def structure_table(cells: Cells, told: str) -> Table:
    """Published and measured silhouette, ARI and AMI, with purity and missing targets."""
    judgements = [column for name in STRUCTURE.values() for column in (f"{name} published", name, "verdict")]
    columns = ["dataset", "prompt", *judgements, "purity", "missing targets"]
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            *(cell for metric in STRUCTURE for cell in judged(dataset, prompt, metric, records)),
            summarize(records, "train/purity"),
            missing_targets(records),
        ]
        for (dataset, prompt), records in cells.items()
    ]
    return Table(f"Clusters of the fused training rows. {told}", columns, rows, "structure")


def judged(dataset: str, prompt: str, metric: str, records: Sequence[RunRecord]) -> list[TableCell]:
    """The published number, flagged where it is corrected; the measured one; the verdict."""
    paper = load()
    published = paper.numbers.get((dataset, prompt, metric))
    flag = "corrected" if paper.reason(dataset, prompt, metric) else ""
    known = [record for record in records if record.finished and metric in record.metrics]
    comparable = bool(known) and all(paper.comparable(record) for record in known)
    word = verdict(published, [record.metrics[metric] for record in known], comparable=comparable)
    told = TableCell("-") if published is None else TableCell(number(published), published, flag=flag)
    return [told, summarize(records, metric), TableCell(word or "-")]


def missing_targets(records: Sequence[RunRecord]) -> TableCell:
    """In how many of the finished runs a target has no cluster."""
    known = [record for record in records if record.finished and "missing_targets" in record.metrics]
    lacking = [record.run_id for record in known if record.metrics["missing_targets"]]
    return TableCell(f"in {len(lacking)} of {len(known)}" if known else "-", len(lacking), lacking)


def _corrections(cells: Cells) -> list[Block]:
    """Why published numbers of these cells are corrected, each reason once."""
    paper = load()
    reasons = {
        paper.reason(dataset, prompt, metric): None for dataset, prompt in cells for metric in paper.metrics
    }
    return [Prose(f"Corrected: {reason}") for reason in reasons if reason]


_CLAIMS = (
    "A claim holds if it is shown in every dataset, with the true labels choosing each training image's "
    "prompt, as the paper does, and also with prompts paired by zero-shot classification, without labels; if "
    "shown with the former and shown otherwise with the latter, or if it can't be asked without labels, it "
    "holds only with labels. It does not hold if a dataset shows otherwise: really worse, or surely no more "
    "than .01 away where the claim is of a difference. What these runs leave open is not shown, and a claim "
    "with a missing or failed run is not measured. Better means here McNemar's p below .05 and an interval "
    "above zero: to be true of all datasets it must be so in each, which needs no correction (Berger 1982)."
)
_VERDICTS = (
    "A published number is reproduced if the mean over seeds is within two standard deviations of it, but"
    " within .03 at most and .01 at least; not comparable unless backbone and numbers of images are the "
    "paper's. Mean and standard deviation are over seeds, which draw the images and drive the algorithms."
    " Zero-shot needs no label; via class it takes the nearest class prompt, then its group. The linear "
    "probe is scikit-learn's logistic regression on the standardised images."
)
_STRUCTURE = (
    "The training rows of every strategy with text but generic are fused with the prompt of their true "
    "label: their agreement with the labels says what the text separates, not what was found. With two "
    "clusters a target, pure and even splits cap ARI near .64 for ten targets and .50 for two: read it "
    "beside purity."
)
DIFFERENCES = (
    "First minus second, on the same test rows, mean over seeds. The interval is for other test images and "
    "for other seeds, which draw splits and drive fits: a bootstrap over images, paired, with the spread of "
    "the seeds added. The p-value is McNemar's exact test in each seed, the seeds combined by Rueger's rule, "
    "corrected by Holm's method for all rows of the table, copies counted once; it takes the fits as they "
    "are. A difference is real if the corrected p-value is below .05 and the interval excludes zero. With "
    "one seed there is no interval, and nothing is real."
)
