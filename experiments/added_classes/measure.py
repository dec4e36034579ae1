"""Add a class by a sentence to a model of other classes: ``python -m experiments.added_classes.measure``.

Each class of CIFAR-10 in turn is left out of a model, and then added. Rules were chosen on validation rows
of the training images.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from experiments.open_backbone.evaluate import read_split
from fused_clip.backbone import OpenVocabularyBackbone
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import CLAP, Classifier, ConstrainedCentroid, TipAdapter
from fused_clip.method.classifier.cosine import LOGIT_SCALE
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray

RESULTS = Path(__file__).with_name("results.csv")
PROMPT = "This is a {}"
SEEDS = (0, 1, 2)
SIZES = {"train": 10_000, "test": 2_000}
SHOTS = 16
VALIDATION = 2_000  # of the training images


class Rows(NamedTuple):
    """Embedded images with their classes.

    Parameters
    ----------
    rows : (n, d) embeddings.
    labels : (n,) classes, in [0, 10).
    """

    rows: FloatArray
    labels: IntArray


class Trial(NamedTuple):
    """A model of all classes but one, and what a rule may use to add that one.

    Parameters
    ----------
    model : fitted on the others.
    others : (9,) their classes.
    texts : (10, d) text rows of all classes.
    new : the class that is added.
    own : images of the new class, for the bound alone.
    """

    model: PromptFusedClassifier
    others: IntArray
    texts: FloatArray
    new: int
    own: FloatArray

    @property
    def means(self) -> DoubleArray:
        """(9, d) mean image of each other class, from its clusters."""
        owners = np.searchsorted(self.others, self.model.cluster_targets_)
        images = self.model.fusion_.image_part(self.model.cluster_centers_, self.texts[self.others][owners])
        sizes = np.bincount(self.model.labels_, minlength=len(images))
        shares = np.zeros((len(self.others), len(images)))
        shares[owners, np.arange(len(images))] = sizes
        return np.asarray((shares / shares.sum(axis=1, keepdims=True)) @ images)

    def answers(self, rows: FloatArray, score: DoubleArray) -> IntArray:
        """Class of each row, given the scores of the new one."""
        known = self.model.target_scores(rows).values
        return np.r_[self.others, self.new][np.column_stack([known, score]).argmax(axis=1)]

    def centre(self, rows: FloatArray, mean: DoubleArray, less: float = 0.0) -> IntArray:
        """Answers where the new class has a mean image; `less` is taken off its squared distance."""
        squared = np.square(rows - mean).sum(axis=1) - less
        return self.answers(rows, -0.5 * np.sqrt(np.maximum(squared, 0)))


def mapped(means: DoubleArray, texts: FloatArray, text: FloatArray) -> DoubleArray:
    """Mean image of a text: the gap between both means, and one scale, fitted on classes with both."""
    images, words = means - means.mean(axis=0), texts - texts.mean(axis=0)
    scale = (images * words).sum() / np.square(words).sum()
    return np.asarray(means.mean(axis=0) + scale * (text - texts.mean(axis=0)))


def nearest_centre(trial: Trial, rows: FloatArray) -> IntArray:
    """The mapped text is a further centre."""
    return trial.centre(rows, mapped(trial.means, trial.texts[trial.others], trial.texts[trial.new]))


def allowed_centre(trial: Trial, rows: FloatArray) -> IntArray:
    """As `nearest_centre`, less the error of such a centre for each known class, mapped from the others."""
    means, texts = trial.means, trial.texts[trial.others]
    kept = [np.arange(len(means)) != k for k in range(len(means))]
    errors = [
        np.square(mapped(means[rest], texts[rest], texts[~rest][0]) - means[~rest][0]).sum() for rest in kept
    ]
    return trial.centre(rows, mapped(means, texts, trial.texts[trial.new]), float(np.mean(errors)))


def own_centre(trial: Trial, rows: FloatArray) -> IntArray:
    """The mean of the class's own images: a bound, which no sentence knows."""
    return trial.centre(rows, trial.own.mean(axis=0, dtype=np.float64))


def zero_shot(trial: Trial, rows: FloatArray) -> IntArray:
    """The most similar of all texts; the model is not used."""
    return np.asarray((rows @ trial.texts.T).argmax(axis=1))


def over_all_texts(trial: Trial, rows: FloatArray) -> IntArray:
    """The new class where its text is the most similar of all; else the model's answer."""
    answers = trial.model.predict(rows)
    return np.where(zero_shot(trial, rows) == trial.new, trial.new, answers)


def with_target(trial: Trial, rows: FloatArray) -> IntArray:
    """The new class where its text is more similar than that of the answer: `Classifier.with_target`."""
    grown = trial.model.classifier_.with_target(trial.texts[[trial.new]])
    return np.asarray(np.r_[trial.others, trial.new][grown.target_scores(rows).values.argmax(axis=1)])


RULES: Mapping[str, Callable[[Trial, FloatArray], IntArray]] = {
    "zero-shot over all names": zero_shot,
    "text mapped to a centre": nearest_centre,
    "text mapped to a centre, less its error": allowed_centre,
    "text above all other texts": over_all_texts,
    "text above the answer's text (with_target)": with_target,
    "mean of its own images (a bound)": own_centre,
}


def text_logit(trial: Trial, rows: FloatArray) -> IntArray:
    """The logit of its text alone is the new class's, among logits and votes of the others."""
    return trial.answers(rows, LOGIT_SCALE * np.asarray(rows @ trial.texts[trial.new], dtype=np.float64))


# Classifiers in which a target without labels keeps its text, with few labels.
BY_TEXT: Mapping[str, tuple[Classifier, Callable[[Trial, FloatArray], IntArray]]] = {
    "clap": (CLAP(), with_target),
    "tip_adapter": (TipAdapter(), text_logit),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all rules, and write ``results.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("FUSED_CLIP_DATA"), help="has cifar10/"
    )
    rows = "folder of the embeddings, which are computed if they are not there (%(default)s)"
    parser.add_argument("--rows", type=Path, default=Path("outputs/added_classes"), help=rows)
    options = parser.parse_args(arguments)
    backbone = OpenVocabularyBackbone()
    train, test = (embedded(backbone, options.data_dir, options.rows, split) for split in SIZES)
    names = read_split(options.data_dir, "cifar10", "test", 1).names
    texts = backbone.encode_texts([PROMPT.format(name) for name in names])
    found = [row for seed in SEEDS for row in measured(train, test, texts, seed)]
    write(found)


def embedded(backbone: OpenVocabularyBackbone, data_dir: Path, folder: Path, split: str) -> Rows:
    """The first images of a split, embedded once."""
    path = folder / f"{split}.npz"
    if not path.exists():
        pictures = read_split(data_dir, "cifar10", split, SIZES[split])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, rows=backbone.encode_images(pictures.images), labels=pictures.labels)
    with np.load(path) as file:
        return Rows(file["rows"], file["labels"])


def measured(
    train: Rows, test: Rows, texts: FloatArray, seed: int
) -> Iterator[tuple[str, str, int, list[float]]]:
    """Rule, split, new class, and accuracies: of the new class, of the others, of the others before."""
    order = np.random.default_rng(seed).permutation(len(train.labels))
    fitted, validation = (
        Rows(train.rows[part], train.labels[part]) for part in np.split(order, [-VALIDATION])
    )
    splits = {"validation": validation, "test": test}
    for new in range(len(texts)):
        trial = made(fitted, texts, new, seed, ConstrainedCentroid())
        for split, held_out in splits.items():
            for name, rule in RULES.items():
                yield name, split, new, accuracies(trial, held_out, rule)
        for name, (classifier, rule) in BY_TEXT.items():
            other = made(few(fitted), texts, new, seed, classifier)
            yield (
                f"{name} of {SHOTS} labels, text alone",
                "validation",
                new,
                accuracies(other, validation, rule),
            )


def made(fitted: Rows, texts: FloatArray, new: int, seed: int, classifier: Classifier) -> Trial:
    """A model of all classes but one."""
    others = np.delete(np.arange(len(texts)), new)
    known = fitted.labels != new
    prompts = {int(kind): place for place, kind in enumerate(others)}
    model = PromptFusedClassifier(
        texts[others],
        prompts,
        clusterer=KMeans(n_init=2),
        classifier=classifier,
        calibrate=False,
        random_state=seed,
    )
    model.fit(fitted.rows[known], fitted.labels[known])
    return Trial(model, others, texts, new, fitted.rows[~known])


def few(rows: Rows) -> Rows:
    """The first images of each class."""
    first = [np.flatnonzero(rows.labels == kind)[:SHOTS] for kind in np.unique(rows.labels)]
    kept = np.concatenate(first)
    return Rows(rows.rows[kept], rows.labels[kept])


def accuracies(trial: Trial, held_out: Rows, rule: Callable[[Trial, FloatArray], IntArray]) -> list[float]:
    """Accuracy on the new class, on the others, and on the others before it was added."""
    right = rule(trial, held_out.rows) == held_out.labels
    own = held_out.labels == trial.new
    before = trial.model.predict(held_out.rows[~own]) == held_out.labels[~own]
    return [float(part.mean()) for part in (right[own], right[~own], before)]


def write(found: Sequence[tuple[str, str, int, list[float]]]) -> None:
    """Write a row a rule and split: means over classes and seeds, and the spread over classes."""
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["rule", "split", "new class", "SD over classes", "others", "before", "all ten"])
        for split in ("validation", "test"):
            for name in dict.fromkeys(row[0] for row in found if row[1] == split):
                values = np.array([row[3] for row in found if row[:2] == (name, split)])
                by_class = values[:, 0].reshape(len(SEEDS), -1).mean(axis=0)
                new, others, before = values.mean(axis=0)
                figures = (new, by_class.std(ddof=1), others, before, 0.1 * new + 0.9 * others)
                table.writerow([name, split, *(f"{figure:.4f}" for figure in figures)])


if __name__ == "__main__":
    main()
