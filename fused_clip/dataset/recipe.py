"""Labelled images -> ImageDataset: classes matched by name, groups and sizes checked, subsets drawn."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from fused_clip.dataset.classes import Labelled, group_of_class, known_names, renamed, resolve
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.dataset.options import SharedOptions
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.sampling import stratified_split, stratified_subset

log = logging.getLogger(__name__)
Part = TypeVar("Part")


class Recipe(SharedOptions):
    """The options that every dataset shares, and what they make of labelled images.

    A dataset is a function ``(recipe: Recipe, *, keys of its own) -> ImageDataset`` that returns
    ``recipe.make(parts, source)``. The fields are those of `SharedOptions`, checked when a recipe is made:
    `pydantic.ValidationError`, a ValueError, names each wrong one.
    """

    def used(self, parts: Sequence[Part]) -> Sequence[Part]:
        """Select the parts that `make` needs.

        Parameters
        ----------
        parts : a train and a test part, or all data as one.

        Raises
        ------
        InputError
            If `from_split` is set and there is no test part.
        """
        if self.from_split is None:
            return parts
        if len(parts) == 1:
            rule = f"must be null for {self.name}, which has no test split of its own"
            raise InputError("dataset.from_split", rule, self.from_split)
        return parts[1:]

    def make(
        self, parts: Sequence[Labelled], source: str, *, texts: Mapping[str, FloatArray] | None = None
    ) -> ImageDataset:
        """Make the dataset; without labels, subsets and splits are drawn evenly.

        With ``labels="some"`` and one part, all images are trained on and those without a label are the test
        split, so that the run answers them.

        Parameters
        ----------
        parts : the result of `used`: train and test, or one part to split.
        source : where the images came from.
        texts : text -> precomputed (d,) vector.

        Raises
        ------
        InputError
            If ``labels="some"`` and all images have a label; if a name is no class of the data, a class has
            no image, the splits have no class in common, a group lists an unknown class or one of another
            group, or a subset or split can't be drawn.
        """
        parts, names = self._unlabelled(parts) if self.labels == "none" else self._labelled(parts)
        known = known_names(parts) or names
        splits = [_select(part, names, known) for part in parts]
        train, test = splits if len(splits) == 2 else self._split(splits[0])
        if self.labels != "none":
            _check_presence(train, test, names)
        return ImageDataset(
            name=self.name,
            train=self._subset(train, self.n_train, "dataset.n_train"),
            test=self._subset(test, self.n_test, "dataset.n_test"),
            class_names=names,
            groups=group_of_class(self.groups or {}, names, known),
            captions=self.captions,
            swap=self.swap,
            source=source,
            texts=texts or {},
        )

    def _labelled(self, parts: Sequence[Labelled]) -> tuple[Sequence[Labelled], tuple[str, ...]]:
        if self.classes is not None:
            rule = "goes with dataset.labels=none; dataset.class_names chooses among classes that have labels"
            raise InputError("dataset.classes", rule, self.classes)
        if self.labels == "some" and all((part.labels >= 0).all() for part in parts):
            rule = (
                "'some' needs images without a label (dataset=csv: rows with an empty one), and all have one"
            )
            raise InputError("dataset.labels", rule, hint="Use dataset.labels=given")
        parts = renamed(parts, self.display_names)
        return parts, resolve(parts, self.class_names)

    def _unlabelled(self, parts: Sequence[Labelled]) -> tuple[Sequence[Labelled], tuple[str, ...]]:
        """Drop labels and names; `classes` has the names."""
        if self.classes is None:
            rule = "must name the possible classes where dataset.labels=none"
            raise InputError("dataset.classes", rule, hint="For example 'dataset.classes=[cat,dog]'")
        if self.display_names:
            rule = "renames classes of the data, which needs labels; dataset.classes has the names"
            raise InputError("dataset.display_names", rule, self.display_names)
        unknown = [replace(part, labels=np.full(len(part.images), -1), names=None) for part in parts]
        return unknown, resolve(unknown, self.classes, "dataset.classes")

    def _split(self, whole: Split) -> tuple[Split, Split]:
        if self.labels == "some":
            return whole, _rows_of(whole, np.flatnonzero(whole.labels < 0))
        option = "dataset.from_split" if self.from_split else "dataset.test_fraction"
        fraction = 0.5 if self.from_split else self.test_fraction
        train, test = stratified_split(whole.labels, fraction, self.seed, option=option)
        return _rows_of(whole, train), _rows_of(whole, test)

    def _subset(self, split: Split, n: int | None, option: str) -> Split:
        if n is None:
            return split
        return _rows_of(split, stratified_subset(split.labels, n, self.seed, option=option))


def _select(parent: Labelled, names: tuple[str, ...], known: tuple[str, ...]) -> Split:
    """Rows of the parent whose class is used, with the class's index; all rows where no label is known."""
    if (parent.labels < 0).all():
        return Split(parent.images, np.arange(len(parent.labels)), parent.labels, parent.origin)
    class_of_name = {name: index for index, name in enumerate(names)}
    class_of_label = np.array([class_of_name.get(name, -1) for name in parent.names or known], dtype=np.int64)
    unknown = parent.labels < 0
    labels = np.where(unknown, -1, class_of_label[parent.labels])
    rows = np.flatnonzero((labels >= 0) | unknown)
    return Split(parent.images, rows, labels[rows], parent.origin)


def _rows_of(split: Split, chosen: IntArray) -> Split:
    return replace(split, rows=split.rows[chosen], labels=split.labels[chosen])


def _check_presence(train: Split, test: Split, names: Sequence[str]) -> None:
    """Refuse a class without images, and splits that share none; warn of classes that one split lacks."""
    trained, tested = (
        {names[label] for label in np.unique(split.labels) if label >= 0} for split in (train, test)
    )
    tested = tested if test.labelled else set(names)  # images without a label may be of any class
    absent = [name for name in names if name not in trained | tested]
    if absent:
        raise InputError("dataset.class_names", "every class needs an image", absent)
    if not trained & tested:
        rule = f"train and test must have a class in common; train has {sorted(trained)}, test"
        raise InputError("dataset", rule, sorted(tested))
    if untrained := [name for name in names if name not in trained]:
        warning = "Classes without a training image, never predicted where labels name the clusters: %s"
        log.warning(warning, ", ".join(untrained))
    if untested := [name for name in names if name not in tested]:
        log.warning("Classes without a test image: %s", ", ".join(untested))
