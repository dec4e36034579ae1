"""Labelled images -> ImageDataset: classes matched by name, groups and sizes checked, subsets drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

import numpy as np

from fused_clip.dataset.base import Captions, ImageDataset, Images, IntArray, Split
from fused_clip.dataset.splits import stratified_split, stratified_subset
from fused_clip.errors import InputError

Swap = Literal["previous", "next"]


@dataclass(frozen=True)
class Labelled:
    """A whole sequence of images, each with a label, named as the data name them.

    Parameters
    ----------
    images : n images.
    labels : (n,) index into `names`.
    names : names of the labels; None where the data have plain integers.
    origin : what the images are, e.g. ``mnist/train``.
    """

    images: Images
    labels: IntArray
    names: tuple[str, ...] | None
    origin: str


@dataclass(frozen=True)
class Recipe:
    """What the shared options ask for, whatever the images are: see ``dataset`` in ``conf/config.yaml``.

    Parameters
    ----------
    name : short name of the dataset.
    class_names : the classes used, in class order; None for all that the data name. Images of other classes
        are left out. Where the data have plain integers, the name of each of them in turn.
    groups : group name -> names of its classes.
    captions : templates that differ from those of `Captions`.
    swap : whose prompt a class takes under the swapped strategy.
    n_train, n_test : sizes of stratified subsets; None for all.
    seed : draws the subsets and splits.
    """

    name: str
    class_names: Sequence[str] | None = None
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    captions: Captions | Mapping[str, str] = field(default_factory=Captions)
    swap: Swap = "previous"
    n_train: int | None = None
    n_test: int | None = None
    seed: int = 0

    def of_splits(self, train: Labelled, test: Labelled, source: str) -> ImageDataset:
        """Make the dataset from a train and a test split of its own.

        Raises
        ------
        InputError
            If a name is no class of the data, a class has no image, a group lists an unknown class or one of
            another group, or a subset is larger than its split.
        """
        names = self._resolve((train, test))
        known = _known((train, test)) or names
        return self._assemble(_select(train, names, known), _select(test, names, known), names, known, source)

    def of_one(self, whole: Labelled, test_fraction: float | None, source: str) -> ImageDataset:
        """Make the dataset from one sequence of images, by a stratified split.

        Parameters
        ----------
        test_fraction : share of the test split; None to halve an official split, as ``from_split`` asks.

        Raises
        ------
        InputError
            As `of_splits`, or if a part would be without a class.
        """
        names = self._resolve((whole,))
        known = whole.names or names
        both = _select(whole, names, known)
        option = "dataset.from_split" if test_fraction is None else "dataset.test_fraction"
        train, test = (
            replace(both, rows=both.rows[part], labels=both.labels[part])
            for part in stratified_split(both.labels, test_fraction or 0.5, self.seed, option=option)
        )
        return self._assemble(train, test, names, known, source)

    def _assemble(
        self, train: Split, test: Split, names: tuple[str, ...], known: tuple[str, ...], source: str
    ) -> ImageDataset:
        present = set(train.labels.tolist()) | set(test.labels.tolist())
        absent = [name for index, name in enumerate(names) if index not in present]
        if absent:
            raise InputError("dataset.class_names", "every class needs an image", absent)
        if self.swap not in get_args(Swap):
            raise InputError("dataset.swap", "must be a direction", self.swap, choices=get_args(Swap))
        return ImageDataset(
            name=self.name,
            train=self._subset(train, self.n_train, "dataset.n_train"),
            test=self._subset(test, self.n_test, "dataset.n_test"),
            class_names=names,
            groups=_group_of_class(self.groups, names, known),
            captions=_captions(self.captions),
            swap=self.swap,
            source=source,
        )

    def _resolve(self, parents: Sequence[Labelled]) -> tuple[str, ...]:
        """Names of the classes used, in class order."""
        known = _known(parents)
        if self.class_names is None:
            names = known or tuple(map(str, range(_n_integers(parents))))
        else:
            names = tuple(as_name("dataset.class_names", name) for name in self.class_names)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError("dataset.class_names", "must be distinct", repeated)
        if len(names) < 2:
            raise InputError("dataset.class_names", "must be two classes or more", list(names))
        for name in names if known else ():
            if name not in known:
                raise InputError("dataset.class_names", "must be classes of the data", name, choices=known)
        if not known and len(names) < _n_integers(parents):
            rule = f"must name each of the {_n_integers(parents)} integer labels of the data, which name none"
            raise InputError("dataset.class_names", rule, list(names))
        return names

    def _subset(self, split: Split, n: int | None, option: str) -> Split:
        if n is None:
            return split
        chosen = stratified_subset(split.labels, n, self.seed, option=option)
        return replace(split, rows=split.rows[chosen], labels=split.labels[chosen])


def as_name(option: str, value: object) -> str:
    """Read a name as YAML may give it: an integer is its digits; a boolean, null or float is no name.

    Raises
    ------
    InputError
        If the value is no name.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(option, "must be a name (in YAML, put it in quotes)", value)


def _known(parents: Sequence[Labelled]) -> tuple[str, ...]:
    """Every name that the data have, in the data's order; none where they have plain integers."""
    return tuple(dict.fromkeys(name for parent in parents for name in parent.names or ()))


def _n_integers(parents: Sequence[Labelled]) -> int:
    return max((int(parent.labels.max(initial=-1)) for parent in parents), default=-1) + 1


def _select(parent: Labelled, names: tuple[str, ...], known: tuple[str, ...]) -> Split:
    """Rows of the parent whose class is used, with the class's index."""
    class_of_name = {name: index for index, name in enumerate(names)}
    class_of_label = np.array([class_of_name.get(name, -1) for name in parent.names or known], dtype=np.int64)
    labels = class_of_label[parent.labels]
    rows = np.flatnonzero(labels >= 0)
    return Split(parent.images, rows, labels[rows], parent.origin)


def _group_of_class(
    groups: Mapping[str, Sequence[str]], used: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    """Group of each class used; a group may list classes of the data that are not used."""
    group_of_class: dict[str, str] = {}
    for group, members in groups.items():
        option = f"dataset.groups.{as_name('dataset.groups', group)}"
        if isinstance(members, str) or not members:
            raise InputError(option, "must be a list of class names", members)
        for name in (as_name(option, member) for member in members):
            if name not in known:
                raise InputError(option, "must list classes of the data", name, choices=known)
            if name in group_of_class:
                raise InputError(option, f"a class has one group, and {group_of_class[name]!r} has it", name)
            group_of_class[name] = str(group)
    return {name: group_of_class[name] for name in used if name in group_of_class}


def _captions(captions: Captions | Mapping[str, str]) -> Captions:
    if isinstance(captions, Captions):
        return captions
    known = [template.name for template in fields(Captions)]
    for key in captions:
        if key not in known:
            raise InputError("dataset.captions", "must be the caption of a strategy", key, choices=known)
    return Captions(**captions)
