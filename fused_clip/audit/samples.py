"""A run of many training rows on samples of them, so that references need not be fitted on all rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fused_clip.audit.evidence import Run
from fused_clip.audit.fitting import Paired, fit
from fused_clip.method.parts import TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.many_rows import EXACT_ROWS
from fused_clip.support.sampling import disjoint_samples


@dataclass(frozen=True)
class Sampling:
    """When references are fitted on samples, and on which.

    Parameters
    ----------
    exact_rows : up to so many training rows a reference is fitted on all of them.
    rows : of a sample.
    count : of samples, at least 2; they have together at most `exact_rows` rows.
    """

    exact_rows: int = EXACT_ROWS
    rows: int = EXACT_ROWS // 5
    count: int = 5

    @property
    def described(self) -> str:
        """What a run says about its references."""
        return f"{self.count} samples of {self.rows:,} training rows"


SAMPLING = Sampling()


def sampled_runs(run: Run, sampling: Sampling) -> Iterator[Run]:
    """Fit the run's method on each of some samples: runs of fewer training rows and the same test rows.

    Rows keep the prompts that they were paired with. The samples are stratified by label and have no row in
    common, but for the labelled ones where few labels are known.

    Parameters
    ----------
    run : of more than ``sampling.exact_rows`` training rows.
    sampling : of its rows.
    """
    known = run.known_labels >= 0
    drawn = disjoint_samples(run.known_labels, known, sampling.rows, sampling.count, run.method.seed)
    for rows in drawn:
        yield _at(run, rows)


def _at(run: Run, rows: IntArray) -> Run:
    """The run on some of its training rows."""
    index, texts = run.model.prompt_index_, run.model.text_embeddings
    fused = np.empty((0, 0), np.float32) if texts is None else np.asarray(texts)
    paired = Paired(fused, None if index is None else index[rows], ())
    known, images = run.known_labels[rows], run.train[rows]
    text_inputs = _on(images, run.text_inputs)
    inputs = text_inputs(fused, run.prompts, run.prompts.targets(known))
    model = fit(run.method, inputs, paired, calibrate=False)
    return replace(
        run,
        model=model,
        train=images,
        train_labels=run.train_labels[rows],
        known_labels=known,
        predicted=None if run.predicted is None else model.predict(run.test),
        text_inputs=text_inputs,
    )


def _on(
    images: FloatArray, text_inputs: Callable[[FloatArray, Prompts, IntArray], TextInputs]
) -> Callable[[FloatArray, Prompts, IntArray], TextInputs]:
    """What a text part may use, with other images."""

    def inputs(rows: FloatArray, prompts: Prompts, targets: IntArray) -> TextInputs:
        return replace(text_inputs(rows, prompts, targets), images=images)

    return inputs
