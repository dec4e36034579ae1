"""What the runs of a study were made with, and which of them are alike."""

from collections.abc import Iterable, Mapping, Sequence

from fused_clip.tracking.records import RunRecord

# The setting that the studies vary, in the words of the command line.
BASE: Mapping[str, str] = {
    "text": "prompt",
    "fusion.alpha": "0.5",
    "fusion.normalize_inputs": "false",
    "fusion.normalize_output": "false",
    "clusters_per_target": "2",
    "pairing": "oracle",
    "vote": "label",
}
NAMES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    **{f"cifar100_{subset}": f"CIFAR-100 s{subset}" for subset in range(1, 6)},
}


def dataset_name(option: str) -> str:
    """A dataset as tables call it."""
    return NAMES.get(option, option)


def chosen(records: Iterable[RunRecord], **options: str) -> list[RunRecord]:
    """Runs of the base setting but for some options, whose dots are written as ``__``.

    An option that a run does not tell, as that of a missing cell, is taken to be the base's.
    """
    wanted = {**BASE, **{name.replace("__", "."): value for name, value in options.items()}}
    return [record for record in records if all(_is(record, name, value) for name, value in wanted.items())]


def _is(record: RunRecord, name: str, value: str) -> bool:
    found = record.option(name).lower() or BASE.get(name, "")
    try:
        return float(found) == float(value)
    except ValueError:
        return found == value


def values(records: Iterable[RunRecord], option: str) -> list[str]:
    """Values that an option takes, in order of first appearance; where it is not known it is left out."""
    found = dict.fromkeys(record.option(option) for record in records)
    return [value for value in found if value]


def circumstances(records: Sequence[RunRecord]) -> str:
    """One sentence for every caption: backbone, images, seeds, and whether they stand in for the paper's."""
    backbones, seeds = values(records, "backbone"), values(records, "seed")
    halved = any(record.option("dataset.from_split") == "test" for record in records)
    images = "halves of the official test split as train and test images" if halved else "official splits"
    stands_in = ""
    if backbones != ["vit_b_32"]:
        stands_in = ", in place of the paper's ViT-B/32: not its numbers"
    unseen = " that it never saw" if halved and backbones == ["compact"] else ""
    count = f"{len(seeds)} seed" + ("s" if len(seeds) != 1 else "")
    return f"Backbone {', '.join(backbones)}{stands_in}; {images}{unseen}; {count}."
