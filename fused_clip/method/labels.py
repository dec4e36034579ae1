"""Images without labels: which parts can't work on them, and what no run can tell of them."""

from fused_clip.support.errors import InputError

UNKNOWN = (
    "accuracy, recall and F1; agreement of clusters and targets (ARI, AMI, NMI, purity); the references'"
    " accuracies; the text's contribution"
)


def refuse_parts_that_need_labels(vote: str, *, pairing_uses_labels: bool) -> None:
    """Refuse parts of the method that need labels, for images that have none.

    Raises
    ------
    InputError
    """
    hint = "pairing=zero_shot vote=prompt needs none, with prompts such as prompt=task"
    if vote == "label":
        raise InputError("vote", "'label' needs labels, and there are none", hint=hint)
    if pairing_uses_labels:
        raise InputError("pairing", "this pairing needs labels, and there are none", hint=hint)
