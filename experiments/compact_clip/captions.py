"""Captions of the compact CLIP: which words stand for which classes and groups.

A caption stands for a *concept*. Concepts are numbered: the 10 digits, the classes of CIFAR-10, those of
CIFAR-100 (so a concept below `n_classes` is a class), even and odd, the superclasses, the kinds. A `Contrast`
is one softmax over some of the concepts.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

#: What a superclass of CIFAR-100 is. People, scenes and food have no kind: the paper has no group of them.
KINDS_OF_SUPERCLASS: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("animal", "mammal", "aquatic animal"),
    "fish": ("animal", "aquatic animal"),
    "flowers": ("plant",),
    "food_containers": ("object",),
    "household_electrical_devices": ("object",),
    "household_furniture": ("object",),
    "insects": ("animal", "insect"),
    "large_carnivores": ("animal", "mammal"),
    "large_man-made_outdoor_things": ("object",),
    "large_omnivores_and_herbivores": ("animal", "mammal"),
    "medium_mammals": ("animal", "mammal"),
    "non-insect_invertebrates": ("animal",),
    "reptiles": ("animal", "reptile"),
    "small_mammals": ("animal", "mammal"),
    "trees": ("plant",),
    "vehicles_1": ("vehicle", "object"),
    "vehicles_2": ("vehicle", "object"),
}
KINDS_OF_CLASS: dict[str, tuple[str, ...]] = {
    "airplane": ("vehicle", "object"),
    "automobile": ("vehicle", "object"),
    "bird": ("animal",),
    "cat": ("animal", "mammal"),
    "deer": ("animal", "mammal"),
    "dog": ("animal", "mammal"),
    "frog": ("animal",),
    "horse": ("animal", "mammal"),
    "ship": ("vehicle", "object"),
    "truck": ("vehicle", "object"),
    "crab": ("animal", "aquatic animal"),
    "lobster": ("animal", "aquatic animal"),
}
KINDS = ("digit", "animal", "object", "plant", "vehicle", "aquatic animal", "insect", "mammal", "reptile")
KIND_CONTRASTS: tuple[tuple[str, ...], ...] = (
    ("digit", "animal", "object", "plant"),
    ("animal", "vehicle"),
    ("vehicle", "plant"),
    ("animal", "plant"),
    ("aquatic animal", "insect"),
    ("mammal", "reptile"),
)

_PAPER = ("This is a {name}", "This is {a} {name}")
_PAPER_HIERARCHICAL = ("This is a {name} {group}", "This is {a} {name} {group}")
_QUALITIES = ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
_OPENAI = tuple(f"a {q}photo of {d} {{name}}" for q in _QUALITIES for d in ("{a}", "a", "the")) + tuple(
    f"a photo of {d} {s} {{name}}" for d in ("a", "the") for s in ("small", "big")
)
_PLAIN = ("{name}", "{a} {name}", "the {name}", "a picture of {a} {name}", "an image of {a} {name}")
_DIGIT = (
    "This is a digit {name}",
    "This is the digit {name}",
    "This is {a} {name}",
    "This is a {name}",
    "This is the number {name}",
    'a photo of the number: "{name}"',
    "a photo of the number {name}",
    "a photo of the digit {name}",
    "an image of the digit {name}",
    "a picture of the number {name}",
    "a handwritten digit {name}",
    "a handwritten {name}",
    "the digit {name}",
    "the number {name}",
    "digit {name}",
    "{name}",
)
_DIGIT_HIERARCHICAL = (
    "This is a digit {name} {group}",
    "This is {a_group} {group} digit {name}",
    "the {group} digit {name}",
)
_PARITY = (
    "This is a digit {name}",
    "This is {a} {name} digit",
    "This is {a} {name} number",
    "a photo of {a} {name} digit",
    "a photo of {a} {name} number",
    "a photo of the {name} number",
    "an image of {a} {name} digit",
    "{a} {name} digit",
    "{a} {name} number",
    "{name} digit",
    "{name} numbers",
    "{name}",
)


@dataclass(frozen=True)
class Contrast:
    """One softmax: an image of class `c` picks `concepts[target_of_class[c]]`; -1 leaves the class out."""

    name: str
    concepts: tuple[int, ...]
    target_of_class: tuple[int, ...]


def article(text: str) -> str:
    """Return "an" before a written vowel or an 8, else "a"; by spelling, so "an one"."""
    return "an" if re.match(r"[aeio8]", text.lower()) else "a"


def _spaced(rng: random.Random, name: str) -> str:
    """Keep the underscores of `name` or write spaces, evenly."""
    return name.replace("_", " ") if rng.random() < 0.5 else name.replace(" ", "_")


def _fill(rng: random.Random, templates: tuple[str, ...], name: str, group: str = "") -> str:
    template = rng.choice(templates)
    text = template.format(name=name, a=article(name), group=group, a_group=article(group))
    return text + "." if rng.random() < 0.3 else text


def _noun_caption(rng: random.Random, name: str, groups: tuple[str, ...]) -> str:
    """Caption of a noun; each family of templates has the same say, however many it has."""
    families = [_PAPER, _PAPER, _OPENAI, _PLAIN] + ([_PAPER_HIERARCHICAL] if groups else [])
    group = _spaced(rng, rng.choice(groups)) if groups else ""
    return _fill(rng, rng.choice(families), _spaced(rng, name), group)


def _digit_caption(rng: random.Random, digit: int) -> str:
    name = rng.choice((str(digit), str(digit), DIGIT_WORDS[digit]))
    templates = _DIGIT_HIERARCHICAL if rng.random() < 0.2 else _DIGIT
    return _fill(rng, templates, name, "odd" if digit % 2 else "even")


def _number_forms(name: str) -> tuple[str, ...]:
    """Singular and plural of a group word that is regular ("insects" and "insect", never "fishs")."""
    if name.endswith("s"):
        return (name, name[:-1])
    if name in ("fish", "people", "household_furniture") or name[-1].isdigit():
        return (name,)
    return (name, name + "s")


@dataclass(frozen=True)
class Concepts:
    """What a caption can mean: classes of the three sets, then parity, superclasses and kinds.

    `superclass_of` has, for each CIFAR-100 class, an index into `superclasses`.
    """

    cifar10: tuple[str, ...]
    cifar100: tuple[str, ...]
    superclasses: tuple[str, ...]
    superclass_of: tuple[int, ...]

    @property
    def n_classes(self) -> int:
        """Number of concepts that are classes of images."""
        return 10 + len(self.cifar10) + len(self.cifar100)

    @property
    def n_concepts(self) -> int:
        """Number of captions that `captions` returns."""
        return self.n_classes + 2 + len(self.superclasses) + len(KINDS)

    def kinds(self, concept: int) -> tuple[str, ...]:
        """Return the kinds of things that the class `concept` belongs to."""
        if concept < 10:
            return ("digit",)
        named = (self.cifar10 + self.cifar100)[concept - 10]
        if named in KINDS_OF_CLASS or concept < 10 + len(self.cifar10):
            return KINDS_OF_CLASS.get(named, ())
        superclass = self.superclasses[self.superclass_of[concept - 10 - len(self.cifar10)]]
        return KINDS_OF_SUPERCLASS.get(superclass, ())

    def captions(self, rng: random.Random) -> list[str]:
        """Return one random caption for each concept, in the order of the concepts."""
        names = self.cifar10 + self.cifar100
        digits = [_digit_caption(rng, digit) for digit in range(10)]
        nouns = [_noun_caption(rng, name, self.kinds(10 + i)) for i, name in enumerate(names)]
        parity = [_fill(rng, _PARITY, word) for word in ("even", "odd")]
        groups = [_noun_caption(rng, rng.choice(_number_forms(g)), ()) for g in self.superclasses + KINDS]
        return digits + nouns + parity + groups

    def contrasts(self) -> list[Contrast]:
        """Return every softmax of the loss: all classes, each set's own, parity, superclasses, kinds."""
        n10, n100, n = len(self.cifar10), len(self.cifar100), self.n_classes
        spans = {"mnist": range(10), "cifar10": range(10, 10 + n10), "cifar100": range(10 + n10, n)}
        own = [Contrast("all", tuple(range(n)), tuple(range(n)))] + [
            Contrast(name, tuple(span), tuple(c - span.start if c in span else -1 for c in range(n)))
            for name, span in spans.items()
        ]
        parity = Contrast("parity", (n, n + 1), tuple(c % 2 if c < 10 else -1 for c in range(n)))
        start = n + 2
        superclass = Contrast(
            "superclass",
            tuple(range(start, start + len(self.superclasses))),
            tuple([-1] * (n - n100) + list(self.superclass_of)),
        )
        return [*own, parity, superclass, *self._kind_contrasts(start + len(self.superclasses))]

    def _kind_contrasts(self, start: int) -> list[Contrast]:
        out = []
        for members in KIND_CONTRASTS:
            concepts = tuple(start + KINDS.index(kind) for kind in members)
            targets = []
            for c in range(self.n_classes):
                own = [j for j, kind in enumerate(members) if kind in self.kinds(c)]
                targets.append(own[0] if len(own) == 1 else -1)
            out.append(Contrast("/".join(members), concepts, tuple(targets)))
        return out

    def vocabulary(self) -> list[str]:
        """Return the lower-case words and digits that captions are made of, sorted."""
        families = (_PAPER, _OPENAI, _PLAIN, _DIGIT, _DIGIT_HIERARCHICAL, _PARITY)
        templates = [t.format(name="", group="", a="a an", a_group="a an") for f in families for t in f]
        names = [*DIGIT_WORDS, *map(str, range(10)), *self.cifar10, *self.cifar100, "even", "odd"]
        groups = [form for group in self.superclasses + KINDS for form in _number_forms(group)]
        return sorted({word for text in templates + names + groups for word in words(text)})


def words(text: str) -> list[str]:
    """Split a caption into lower-case words and single digits, as CLIP's tokenizer separates them."""
    return re.findall(r"[a-z]+|\d", text.lower())
