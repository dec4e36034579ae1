"""One self-contained page of the labels that are most likely wrong."""

import json
from collections.abc import Sequence
from pathlib import Path

from fused_clip.review.evidence_sources import EXPLAINED
from fused_clip.review.suspects import LabelReview
from fused_clip.support import web
from fused_clip.support.arrays import IntArray
from fused_clip.support.checksums import intact
from fused_clip.support.errors import InputError


def write(path: Path, review: LabelReview, positions: Sequence[int] | IntArray, place: str) -> None:
    """Write the page.

    Parameters
    ----------
    path : of the page.
    review : of a run.
    positions : rows to show, in the order shown.
    place : directory of the run as it was given.

    Raises
    ------
    InputError
        If it can't be written.
    """
    training = review.training
    near = review.neighbors(positions)
    suspects = list(zip(review.suspects(positions), near, strict=True))
    names = [training.target_names[target] for target in training.targets]
    wanted = {row for own, others in suspects for row in (own.position, *others)}
    sources = [(name, EXPLAINED[name], share) for name, share in review.influence.items()]
    try:
        web.render(
            "review.html",
            path,
            styles=("base.css", "gallery.css", "review.css"),
            title="Labels to review",
            place=place,
            facts=_facts(review),
            sources=sources,
            suspects=suspects,
            contradicted=int((review.suggested != training.targets).sum()),
            likely=int((review.pool.wrong > 0.5).sum()),
            expected=float(review.pool.wrong.sum()),
            total=len(training),
            names=names,
            ids=training.ids,
            thumbnails=training.thumbnails(wanted),
        )
    except OSError as error:
        raise InputError("page", f"{path} can't be written ({error.strerror})") from error


def _facts(review: LabelReview) -> dict[str, str]:
    """What the reader has to know about the run."""
    directory = review.training.directory
    result = json.loads(intact("run", directory, "result.json"))
    facts = {"Images": f"{result['dataset']}, training split", "Backbone": result["backbone"]}
    if result["backbone_saw_labels"]:
        facts["Note"] = "the backbone was trained on labels of these classes, so its prompts know them"
    return facts
