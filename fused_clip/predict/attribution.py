"""How much of an answer's lead is due to the image, and how much to the prompts: Shapley values."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from fused_clip.method.classifier import Training
from fused_clip.model.head import Head
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray, Rows


class Contributions(NamedTuple):
    """Shares of image and prompts in the lead of m answers over their runners-up.

    Parameters
    ----------
    image, prompt : (m,) Shapley values, in the unit of the scores: log-odds for a calibrated model. Their sum
        is the lead with both minus the lead with neither. NaN where there is no runner-up.
    """

    image: DoubleArray
    prompt: DoubleArray

    @property
    def prompt_share(self) -> DoubleArray:
        """(m,) prompt's value over the sum of both absolute values, in [-1, 1].

        1: the prompts alone put the answer first. 0: they make no difference. Negative: they speak for the
        runner-up, and the image overrules them. NaN where there is no runner-up, or both values are 0.
        """
        total = np.abs(self.image) + np.abs(self.prompt)
        share: DoubleArray = np.full(len(total), np.nan)
        np.divide(self.prompt, total, out=share, where=total > 0)
        return share


@dataclass(frozen=True, eq=False)
class Attribution:
    """Splits the lead of an answer over the runner-up between two players, the image and the prompts.

    The lead v is the answer's score minus the runner-up's. An absent image is the mean training embedding.
    Absent prompts are all the mean text row, in new rows and in the centroids alike
    (`Classifier.without_text`). With two players the Shapley value (Shapley 1953,
    doi:10.1515/9781400881970-018) needs four evaluations of v::

        image  = (v(image, prompts) - v(prompts) + v(image) - v(neither)) / 2
        prompt = (v(image, prompts) - v(image) + v(prompts) - v(neither)) / 2

    This is the baseline version of Sundararajan and Najmi, "The Many Shapley Values for Model Explanation",
    ICML 2020 (arXiv:1908.08474). It describes the model, and no cause in the world.

    With the default classifier and a linear fusion the words cancel over clusters that are pure in their
    prompt (docs/method.md): the prompt's value is 0 there, although the prompts made the clusters. Without
    prompts a zero-shot classifier sets no target apart, so v(image) and v(neither) are 0: image and prompts
    share what only both give, and the prompt's share is 1/2 where the mean image has no lead.

    Parameters
    ----------
    head : scores the answers. Its constraint decides which answers there are. A prior adds the same to all
        four leads, and so changes no value, unless it also weighs the members of a group.
    without_text : the same with equal text rows.
    mean_image : (1, d) mean training embedding.
    """

    head: Head
    without_text: Head
    mean_image: FloatArray

    @classmethod
    def of(cls, head: Head, images: FloatArray, clusters: IntArray) -> Self | None:
        """Make it; None where no share is defined.

        That is so for a classifier without text, or with text merged into weights that were learnt
        (`Classifier.without_text`), and for a transductive one: an absent image would change its batch.

        Parameters
        ----------
        head : scores the answers.
        images : (n, d) training embeddings.
        clusters : (n,) their clusters; -1 is noise.
        """
        classifier = head.classifier
        training = Training(images, len(head.target_names), clusters=clusters)
        equal = None if classifier.transductive else classifier.without_text(training)
        if equal is None:
            return None
        mean = images.mean(axis=0, keepdims=True, dtype=np.float64).astype(images.dtype)
        return cls(head, head.with_classifier(equal), mean)

    def contributions(self, rows: Rows, answers: IntArray, runners_up: IntArray) -> Contributions:
        """Split the leads of m answers.

        Parameters
        ----------
        rows : (m, d) image embeddings.
        answers : (m,) answer of each row, in [0, G).
        runners_up : (m,) second answer; -1 for none.
        """
        pairs = (answers, runners_up)
        both, image = _lead(self.head, rows, *pairs), _lead(self.without_text, rows, *pairs)
        prompts = _lead(self.head, self.mean_image, *pairs)
        neither = _lead(self.without_text, self.mean_image, *pairs)
        found = Contributions((both - prompts + image - neither) / 2, (both - image + prompts - neither) / 2)
        alone = runners_up < 0
        return Contributions(*(np.where(alone, np.nan, values) for values in found))


def _lead(head: Head, rows: Rows, answers: IntArray, others: IntArray) -> DoubleArray:
    """(m,) score of each answer minus that of another; one row may stand for all."""
    scores = np.broadcast_to(head.predict(rows).scores, (len(answers), len(head.names)))
    index = np.arange(len(answers))
    found: DoubleArray = scores[index, answers] - scores[index, others]
    return found
