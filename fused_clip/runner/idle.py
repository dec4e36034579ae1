"""Overrides without effect, each said in a line: what the user gives and another choice makes idle."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fused_clip.dataset.options import READ_BY
from fused_clip.method.clusterer.wrapped import has_number
from fused_clip.method.fusion import LinearFusion
from fused_clip.runner.build import reference_options
from fused_clip.runner.config import Options
from fused_clip.runner.targets import locate
from fused_clip.support.signatures import keywords

if TYPE_CHECKING:
    from fused_clip.runner.build import Prepared

# Shared keys that the program reads itself, whatever the target takes.
_READ = {"fusion.normalize_inputs", "fusion.normalize_output"}
_GROUPS = ("backbone", "prompt", "text", "pairing", "fusion", "clusterer", "tracking")
# Parameters of a clusterer that a run sets.
_SET = ("n_clusters", "n_components", "random_state", "images", "texts", "votes", "word_rows")
_CAPTIONS = {
    "task": ("task", "swapped", "subclasses", "waffle"),
    "grouped": ("grouped",),
    "hierarchical": ("hierarchical",),
    "generic": ("generic",),
}


class _Run(NamedTuple):
    options: Options
    made: "Prepared"

    @property
    def prompt(self) -> str:
        """Name of the strategy, if it is this package's."""
        return self.options.prompt.target.removeprefix("fused_clip.method.prompt.").rpartition(".")[2]

    @property
    def reads_tables(self) -> bool:
        """Whether the data bring their own test split."""
        own = self.options.dataset.model_extra or {}
        kind = self.options.dataset.target.rpartition(".")[2]
        return (kind == "hub" and own.get("test_split", "test") is not None) or any(
            own.get(name) is not None for name in ("test_path", "split_column")
        )


def idle(options: Options, made: "Prepared", given: Mapping[str, str]) -> Iterator[str]:
    """Name each override that changes nothing, and why.

    Parameters
    ----------
    options : of the run.
    made : its parts.
    given : overrides, key -> value as it was written.
    """
    run = _Run(options, made)
    for key, value in given.items():
        if reason := _not_taken(key, options) or next(filter(None, (rule(key, run) for rule in _RULES)), ""):
            yield f"{key}={value} has no effect: {reason}."


def _not_taken(key: str, options: Options) -> str:
    """Shared keys that the signature of a target does not name, and parameters that a run sets."""
    group, _, name = key.partition(".")
    if group == "dataset":
        kind = options.dataset.target.removeprefix("fused_clip.dataset.")
        readers = READ_BY.get(name)
        ours = options.dataset.target.startswith("fused_clip.dataset.")
        return f"dataset={kind} does not read it" if ours and readers and kind not in readers else ""
    if group == "clusterer" and name in _SET:
        return "the run sets it"
    if group not in _GROUPS or not name or key in _READ:
        return ""
    chosen = getattr(options, group)
    shared = set(type(chosen).model_fields) - {"target", "partial", "uses_labels", "control"}
    if name.partition(".")[0] not in shared or name in keywords(locate(group, chosen.target, options.allow)):
        return ""
    return f"{chosen.target} does not take it"


def _is(key: str, *groups: str) -> bool:
    """Whether a key is a group's choice or one of its options."""
    return key.partition(".")[0] in groups


def _without_prompts(key: str, run: _Run) -> str:
    count = len(run.made.prompts.texts)
    if count == 0 and (_is(key, "text", "pairing") or key == "fusion.alpha"):
        return f"there are no prompts (prompt={run.prompt})"
    if count == 1 and (
        _is(key, "pairing") or (key == "text" and run.options.text.target.endswith(".permuted"))
    ):
        return f"there is one prompt for all images (prompt={run.prompt})"
    return ""


def _of_single_texts(key: str, run: _Run) -> str:
    part = run.options.text.target.rpartition(".")[2]
    single = all(len(texts) == 1 for texts in run.made.prompts.texts)
    if _is(key, "text") and single and part in ("chosen", "mean_similarity"):
        return "every prompt has one text (prompt=templates has several)"
    own = run.options.text.model_extra or {}
    if key == "text.threshold" and own.get("selection") == "weights":
        return "it needs text.selection=select"
    return ""


def _without_weight(key: str, run: _Run) -> str:
    """A control of the text whose rows are neither fused nor classified by."""
    method = run.made.method
    fused = not (isinstance(method.fusion, LinearFusion) and method.fusion.text_weight == 0)
    uses = fused or method.classifier.uses_text or getattr(method.clusterer, "uses_text", False)
    if _is(key, "text") and run.options.text.control and not uses:
        return "the fusion gives the text no weight, and no other part reads it"
    return ""


def _of_pairing(key: str, run: _Run) -> str:
    own = run.options.pairing.model_extra or {}
    uniform = own.get("marginals") == "uniform"
    return "it needs pairing.marginals=estimated" if key == "pairing.gamma" and uniform else ""


def _of_number(key: str, run: _Run) -> str:
    number = key == "clusters_per_target" and not has_number(run.made.method.clusterer)
    return f"{run.options.clusterer.target} finds the number of clusters itself" if number else ""


def _of_switches(key: str, run: _Run) -> str:
    options = run.options
    if not options.references.enabled and (key in ("reference", "references.draws") or _is(key, "reference")):
        return "references.enabled=false"
    if key == "references.draws" and not any(own.random for own in reference_options(options).values()):
        return "no reference of the run is random"
    if not options.figures.enabled and key == "figures.points":
        return "figures.enabled=false"
    if key == "calibration.seed" and not options.calibration.share:
        return "calibration.share=0 holds no image out"
    if key == "labels.seed" and not options.labels.per_class:
        return f"labels.per_class={'null' if options.labels.per_class is None else 0} draws none"
    return ""


def _of_method(key: str, run: _Run) -> str:
    candidates = run.options.method.candidates
    if not candidates:
        return ""
    lists = [replaced for kind in candidates.values() for replaced in kind.values()]
    replaced = all(key.partition(".")[0] in one for one in lists) and "." not in key
    return "every candidate of the method replaces it" if replaced else ""


def _of_prompts(key: str, run: _Run) -> str:
    options, prompt = run.options, run.prompt
    if key == "prompt.replace_underscores" and not options.prompt.templates:
        return "there are no prompt.templates"
    if key == "dataset.swap" and prompt != "swapped":
        return "it needs prompt=swapped"
    caption = key.removeprefix("dataset.captions.")
    if caption in _CAPTIONS and caption != key and options.prompt.target.startswith("fused_clip."):
        read = prompt in _CAPTIONS[caption]
        read |= caption == "task" and (options.references.enabled or options.method.candidates is not None)
        return "" if read else f"prompt={prompt} does not read it"
    return ""


def _of_splits(key: str, run: _Run) -> str:
    options = run.options.dataset
    if not options.target.startswith("fused_clip.dataset."):
        return ""
    own, kind = options.model_extra or {}, options.target.rpartition(".")[2]
    split = not run.reads_tables or options.from_split is not None
    if key == "dataset.test_fraction" and (run.reads_tables or options.from_split is not None):
        return (
            "the data have a test split" if run.reads_tables else "dataset.from_split halves the test split"
        )
    if key == "dataset.seed" and not split and options.n_train is None and options.n_test is None:
        return "nothing is drawn: the splits are the data's own, and whole"
    if key in ("dataset.train_split", "dataset.test_split") and kind == "csv" and not own.get("split_column"):
        return "it needs dataset.split_column"
    if key == "data_dir" and kind != "hub":
        return f"dataset={kind} reads no mirror"
    if key in ("dataset.revision", "dataset.config_name") and kind == "hub" and run.options.data_dir:
        return "data_dir is read, not the hub"
    return ""


_RULES: tuple[Callable[[str, _Run], str], ...] = (
    _without_prompts,
    _of_single_texts,
    _without_weight,
    _of_pairing,
    _of_number,
    _of_switches,
    _of_method,
    _of_prompts,
    _of_splits,
)
