"""Which classes of a dataset a backbone was trained on with labels."""

import re
from collections.abc import Iterable, Sequence

from fused_clip.backbone.base import Backbone
from fused_clip.dataset.image_dataset import ImageDataset

Words = tuple[str, ...]
_NUMERALS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_ARTICLES = {"a", "an", "the"}
_KINDS_OF_NUMERALS = {"digit", "number", "numeral"}  # "digit 3" is "3"
_WORD = re.compile(r"[^\W_]+")
_SEPARATOR = re.compile("[,/]")


def set_of(origin: str) -> str:
    """Name the set that a split is of: ``mnist`` for ``mnist/train``.

    Parameters
    ----------
    origin : of a `Split`, or an entry of `Backbone.trained_on`.
    """
    return origin.partition("/")[0]


def seen_classes(
    dataset: ImageDataset, backbone: Backbone, targets: Sequence[str] | None = None
) -> tuple[str, ...]:
    """List the classes whose labels a backbone was trained on, by its own statement, in class order.

    Of a set that it was trained on these are all classes, whichever split the images are of. Of other images
    a class is seen if a labelled class has the same name, or a name that ends with it: a tabby cat is a cat.
    It is seen as well if its target is, such as a group. Case, underscores, articles, plurals and
    spelled numerals are ignored. Synonyms are not recognised unless the backbone lists them, so the classes
    are at least these.

    Parameters
    ----------
    dataset : its class names need no labels.
    backbone : its `trained_on` and `labelled_classes`.
    targets : name of the target of each class; None where classes are the targets.
    """
    sets = set(map(set_of, backbone.trained_on))
    if sets & {set_of(dataset.train.origin), set_of(dataset.test.origin)}:
        return dataset.class_names
    labelled, names = set(_endings(backbone.labelled_classes)), dataset.class_names
    pairs = zip(names, names if targets is None else targets, strict=True)
    return tuple(name for name, of in pairs if labelled.intersection([*_synonyms(name), *_synonyms(of)]))


def _endings(names: Iterable[str]) -> Iterable[Words]:
    """Each name's words, and the last of them, unless it ends with a numeral ("vehicles 1" is no "1")."""
    for words in (words for name in names for words in _synonyms(name)):
        yield words
        if not words[-1].isdigit():
            yield from (words[start:] for start in range(1, len(words)))


def _synonyms(name: str) -> list[Words]:
    """Words of each of the names that commas or slashes separate, in one form for all spellings."""
    found = (tuple(map(_plain, _WORD.findall(part))) for part in _SEPARATOR.split(name.casefold()))
    return [words for words in map(_essential, found) if words]


def _essential(words: Words) -> Words:
    """Leave out articles, and in front of a numeral what kind of numeral it is."""
    dropped = _ARTICLES | (_KINDS_OF_NUMERALS if words and words[-1].isdigit() else set())
    return tuple(word for word in words if word not in dropped) or words


def _plain(word: str) -> str:
    """Write a word in the singular, and a numeral in digits without leading zeros."""
    if word.isdecimal():
        return str(int(word))
    if word.endswith("ies") and len(word) > 4:
        word = f"{word[:-3]}y"
    elif word.endswith(("sses", "shes", "ches", "xes")):
        word = word[:-2]
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return _NUMERALS.get(word, word)
