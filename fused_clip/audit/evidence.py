"""What a run and its references have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.parts import Method, TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import FloatArray, IntArray


def _as_it_is(clusterer: Any) -> Any:
    return clusterer


@dataclass(frozen=True)
class Run:
    """What a run and its references have in common.

    Parameters
    ----------
    method : its parts.
    model : fitted by it, on positions 0..K-1 as targets.
    prompts : its prompts; their targets are the run's.
    task : a truthful prompt for each class.
    embed : gives the (p, d) embeddings of prompts.
    train, test : (n, d) and (m, d) image embeddings.
    train_labels, test_labels : (n,) and (m,) class of each row; -1 where it is not known.
    predicted : (m,) its test predictions; None where they are undefined.
    known_labels : (n,) class of each training row whose label may be used, else -1.
    text_inputs : (rows of prompts, the prompts, known targets) -> what a text part may use.
    with_words : gives a clusterer that has words their embeddings.
    """

    method: Method
    model: PromptFusedClassifier
    prompts: Prompts
    task: Callable[[], Prompts]
    embed: Callable[[Prompts], FloatArray]
    train: FloatArray
    test: FloatArray
    train_labels: IntArray
    test_labels: IntArray
    predicted: IntArray | None
    known_labels: IntArray
    text_inputs: Callable[[FloatArray, Prompts, IntArray], TextInputs]
    with_words: Callable[[Any], Any] = _as_it_is

    @property
    def labelled(self) -> bool:
        """Whether the classes of all rows are known."""
        return bool((self.train_labels >= 0).all() and (self.test_labels >= 0).all())
