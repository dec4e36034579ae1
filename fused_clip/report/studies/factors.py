"""The factors of the audit, and the options that each level changes in the paper's setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALPHAS = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
NORMALISED = {
    part: {"fusion.normalize_inputs": inputs, "fusion.normalize_output": output}
    for part, inputs, output in (
        ("nothing", "false", "false"), ("inputs", "true", "false"),
        ("output", "false", "true"), ("both", "true", "true"),
    )
}  # fmt: skip
NOISE = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.8", "1")


@dataclass(frozen=True)
class Factor:
    """One factor, varied alone.

    Parameters
    ----------
    name, title, axis : of its table's file; of its section; of the figure's axis.
    levels : options that each level changes, by its name on the axis.
    steps : number of first levels that are steps of one quantity, joined by lines.
    """

    name: str
    title: str
    axis: str
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: int = 0


FACTORS: Sequence[Factor] = (
    Factor(
        "text",
        "What stands in the place of the words",
        "text rows",
        {name: {"text": name} for name in ("prompt", "permuted", "rotated", "isotropic", "orthogonal")},
    ),
    Factor(
        "alpha",
        "How much of the image",
        "share of the image in a fused row",
        {alpha: {"fusion.alpha": alpha} for alpha in ALPHAS},
        steps=len(ALPHAS),
    ),
    Factor(
        "normalisation",
        "L2 normalisation",
        "normalised part, and the text rows",
        {
            f"{part}, {words}": {**options, "text": words}
            for part, options in NORMALISED.items()
            for words in ("prompt", "rotated")
        },
    ),
    Factor(
        "clusters",
        "Clusters a target",
        "clusters a target",
        {str(count): {"clusters_per_target": str(count)} for count in range(1, 9)},
        steps=8,
    ),
    Factor(
        "pairing",
        "Which prompt each training image is fused with",
        "share of wrong prompts at training, and zero-shot pairing",
        {
            "0 %": {"pairing": "oracle"},
            **{f"{100 * float(s):.0f} %": {"pairing": "noisy", "pairing.fraction": s} for s in NOISE},
            "zero-shot": {"pairing": "zero_shot"},
        },
        steps=1 + len(NOISE),
    ),
)
