"""What references must do in a small run."""

from tempfile import TemporaryDirectory
from types import MappingProxyType

from fused_clip.method.reference import PREFIX
from fused_clip.pipeline import run
from fused_clip.runner.build import make_method, make_references
from fused_clip.runner.config import build
from fused_clip.store import Store
from fused_clip.testing.chosen import Chosen, compose_with
from fused_clip.testing.sample import SampleBackbone, sample_dataset

# A run that has the references of each condition.
_RUNS = MappingProxyType(
    {
        "always": (),
        "text": (),
        "grouped": ("prompt=grouped",),
        "no labels": ("pairing=zero_shot", "vote=prompt"),
    }
)


def check_reference(chosen: Chosen) -> None:
    """A run that has the reference gives its accuracy.

    Parameters
    ----------
    chosen : an option of the group ``reference``.
    """
    when = str(chosen.own.get("when", "always"))
    chosen.require(when in _RUNS, f"when must be one of {', '.join(_RUNS)}")
    words = [f"reference={chosen.name}", "clusterer=kmeans", *_RUNS[when]]
    options, dataset = compose_with(words), sample_dataset()
    references = make_references(options, dataset)
    chosen.require(
        [one.facts.name for one in references] == [chosen.name], "must be made for a dataset with groups"
    )
    with TemporaryDirectory() as folder:
        prompts = build(options.prompt, dataset=dataset)
        method, store = make_method(options), Store(folder)
        result = run(dataset, prompts, SampleBackbone(), store, method, references=references, warn=False)
    accuracy = result.metrics.get(f"{PREFIX}{chosen.name}_accuracy")
    chosen.require(accuracy is not None, f"must be evaluated in a run of {' '.join(words)}")
    chosen.require(
        accuracy is not None and 0 <= accuracy <= 1, f"its accuracy must be from 0 to 1, not {accuracy}"
    )
