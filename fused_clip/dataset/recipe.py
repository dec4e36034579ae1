"""Labelled images -> ImageDataset: classes matched by name, groups and sizes checked, subsets drawn."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypedDict, TypeVar, get_args

import numpy as np

from fused_clip.dataset.base import Captions, ImageDataset, Split
from fused_clip.dataset.classes import Labelled, group_of_class, known_names, renamed, resolve
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.sampling import stratified_split, stratified_subset

log = logging.getLogger(__name__)
Labels = Literal["given", "none"]
Swap = Literal["previous", "next"]
Part = TypeVar("Part")


class RecipeOptions(TypedDict, total=False):
    """Options that every dataset passes on to `Recipe`; they are explained there.

    A dataset function takes ``**options: Unpack[RecipeOptions]`` and makes ``Recipe(name, **options)``.
    """

    labels: Labels
    classes: Sequence[str] | None
    class_names: Sequence[str] | None
    display_names: Mapping[str, str] | None
    groups: Mapping[str, Sequence[str]] | None
    captions: Captions | Mapping[str, str] | None
    swap: Swap
    test_fraction: float
    from_split: Literal["test"] | None
    n_train: int | None
    n_test: int | None
    seed: int


@dataclass(frozen=True)
class Recipe:
    """What the shared options ask for, whatever the images are: see ``dataset`` in ``conf/config.yaml``.

    Parameters
    ----------
    name : short name of the dataset.
    labels : ``"none"`` to read no label, whether the data have some or not.
    classes : names of the classes where no label is read; nothing says which image is of which.
    class_names : the classes used, in class order; None for all that the data name. Images of other classes
        are left out. Where the data have plain integers, the name of each of them in turn.
    display_names : other names for classes of the data; every other option and everything made knows the
        classes by these.
    groups : group name -> names of its classes.
    captions : templates that differ from those of `Captions`.
    swap : whose prompt a class takes under the swapped strategy.
    test_fraction : share of the test split where the data have none, in (0, 1); drawn stratified.
    from_split : ``"test"`` to halve the test split that the data have into train and test.
    n_train, n_test : sizes of stratified subsets; None for all.
    seed : draws the subsets and splits.
    """

    name: str
    labels: Labels = "given"
    classes: Sequence[str] | None = None
    class_names: Sequence[str] | None = None
    display_names: Mapping[str, str] | None = None
    groups: Mapping[str, Sequence[str]] | None = None
    captions: Captions | Mapping[str, str] | None = None
    swap: Swap = "previous"
    test_fraction: float = 0.2
    from_split: Literal["test"] | None = None
    n_train: int | None = None
    n_test: int | None = None
    seed: int = 0

    def used(self, parts: Sequence[Part]) -> Sequence[Part]:
        """Those of the data's parts that `make` needs.

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
        """Make the dataset; subsets and splits of data without labels are drawn evenly from all.

        Parameters
        ----------
        parts : what `used` leaves: two are train and test, one is split here.
        source : where the images came from.
        texts : vectors of texts that came with the data.

        Raises
        ------
        InputError
            If a name is no class of the data, a class has no image, the splits have no class in common, a
            group lists an unknown class or one of another group, or a subset or split can't be drawn.
        """
        for option, value, choices in (("labels", self.labels, Labels), ("swap", self.swap, Swap)):
            if value not in get_args(choices):
                raise InputError(f"dataset.{option}", "must be known", value, choices=get_args(choices))
        parts, names = self._unlabelled(parts) if self.labels == "none" else self._labelled(parts)
        known = known_names(parts) or names
        splits = [_select(part, names, known) for part in parts]
        train, test = splits if len(splits) == 2 else self._split(splits[0])
        dataset = self._assemble(train, test, names, known, source)
        return replace(dataset, texts=texts or {})

    def _labelled(self, parts: Sequence[Labelled]) -> tuple[Sequence[Labelled], tuple[str, ...]]:
        if self.classes is not None:
            rule = "goes with dataset.labels=none; dataset.class_names chooses among classes that have labels"
            raise InputError("dataset.classes", rule, list(self.classes))
        parts = renamed(parts, self.display_names)
        return parts, resolve(parts, self.class_names)

    def _unlabelled(self, parts: Sequence[Labelled]) -> tuple[Sequence[Labelled], tuple[str, ...]]:
        """The parts without what they say of classes."""
        if self.classes is None:
            rule = "must name the classes that there may be where dataset.labels=none"
            raise InputError("dataset.classes", rule, hint="For example 'dataset.classes=[cat,dog]'")
        if self.display_names:
            rule = "renames classes of the data, which needs labels; dataset.classes has the names"
            raise InputError("dataset.display_names", rule, dict(self.display_names))
        unknown = [replace(part, labels=np.full(len(part.images), -1), names=None) for part in parts]
        return unknown, resolve(unknown, self.classes, "dataset.classes")

    def _split(self, whole: Split) -> tuple[Split, Split]:
        option = "dataset.from_split" if self.from_split else "dataset.test_fraction"
        fraction = 0.5 if self.from_split else self.test_fraction
        train, test = stratified_split(whole.labels, fraction, self.seed, option=option)
        return _rows_of(whole, train), _rows_of(whole, test)

    def _assemble(
        self, train: Split, test: Split, names: tuple[str, ...], known: tuple[str, ...], source: str
    ) -> ImageDataset:
        if self.labels == "given":
            _check_presence(train, test, names)
        return ImageDataset(
            name=self.name,
            train=self._subset(train, self.n_train, "dataset.n_train"),
            test=self._subset(test, self.n_test, "dataset.n_test"),
            class_names=names,
            groups=group_of_class(self.groups or {}, names, known),
            captions=_captions(self.captions),
            swap=self.swap,
            source=source,
        )

    def _subset(self, split: Split, n: int | None, option: str) -> Split:
        if n is None:
            return split
        chosen = stratified_subset(split.labels, n, self.seed, option=option)
        return _rows_of(split, chosen)


def _select(parent: Labelled, names: tuple[str, ...], known: tuple[str, ...]) -> Split:
    """Rows of the parent whose class is used, with the class's index; all rows where no label is known."""
    if (parent.labels < 0).all():
        return Split(parent.images, np.arange(len(parent.labels)), parent.labels, parent.origin)
    class_of_name = {name: index for index, name in enumerate(names)}
    class_of_label = np.array([class_of_name.get(name, -1) for name in parent.names or known], dtype=np.int64)
    labels = class_of_label[parent.labels]
    rows = np.flatnonzero(labels >= 0)
    return Split(parent.images, rows, labels[rows], parent.origin)


def _rows_of(split: Split, chosen: IntArray) -> Split:
    return replace(split, rows=split.rows[chosen], labels=split.labels[chosen])


def _check_presence(train: Split, test: Split, names: Sequence[str]) -> None:
    """Refuse a class without images, and splits that share none; tell of classes that one split lacks."""
    trained, tested = ({names[label] for label in np.unique(split.labels)} for split in (train, test))
    absent = [name for name in names if name not in trained | tested]
    if absent:
        raise InputError("dataset.class_names", "every class needs an image", absent)
    if not trained & tested:
        rule = f"train and test must have a class in common; train has {sorted(trained)}, test"
        raise InputError("dataset", rule, sorted(tested))
    if untrained := [name for name in names if name not in trained]:
        told = "Classes without a training image, never predicted where labels name the clusters: %s"
        log.warning(told, ", ".join(untrained))
    if untested := [name for name in names if name not in tested]:
        log.warning("Classes without a test image: %s", ", ".join(untested))


def _captions(captions: Captions | Mapping[str, str] | None) -> Captions:
    if captions is None:
        return Captions()
    if isinstance(captions, Captions):
        return captions
    known = [template.name for template in fields(Captions)]
    for key in captions:
        if key not in known:
            raise InputError("dataset.captions", "must be the caption of a strategy", key, choices=known)
    return Captions(**captions)
