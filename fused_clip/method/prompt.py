"""Prompt strategies: class names -> distinct prompts and the target that each stands for."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from string import Formatter
from typing import Literal

import numpy as np

from fused_clip.dataset.classes import as_name
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts, the targets, and which prompt stands for which target.

    Parameters
    ----------
    texts : p prompts, each one or several texts (several are an ensemble).
    target_names : K names.
    target_of_class : (C,) target of each class, in [0, K).
    prompt_of_target : (K,) prompt that stands for each target, in [0, p); None without text.
    truthful : whether each prompt describes the target it stands for (not so when swapped).
    """

    texts: tuple[tuple[str, ...], ...]
    target_names: tuple[str, ...]
    target_of_class: IntArray
    prompt_of_target: IntArray | None
    truthful: bool = True

    def targets(self, labels: IntArray) -> IntArray:
        """Give the target of each class index: (n,).

        Parameters
        ----------
        labels : (n,) class of each row; -1, an unknown label, stays -1.
        """
        return np.where(labels < 0, -1, self.target_of_class[labels])

    @property
    def distinguishes_targets(self) -> bool:
        """Whether every target has a truthful prompt of its own, so that prompts can name targets."""
        return self.truthful and len(self.texts) == len(self.target_names)

    @property
    def distinguishes_classes(self) -> bool:
        """Whether every class has a truthful prompt of its own."""
        return self.distinguishes_targets and len(self.target_names) == len(self.target_of_class)


def render(
    template: str, name: str, *, group: str = "", description: str | None = None, option: str = "caption"
) -> str:
    """Fill a caption template.

    ``{}`` is the name, ``{a}`` or ``{an}`` its article ("an" before a vowel letter, else "a"), ``{group}``
    the group of the class, ``{description}`` a text about it. A template must contain the description if
    there is one, else the name.

    Parameters
    ----------
    template : text with these fields.
    name : of a class or group.
    group : of the class.
    description : text about the class; None for none.
    option : name of the template's option, for errors.

    Raises
    ------
    InputError
        If the template lacks the field that it must contain, or names one that is not among these.
    """
    more = "" if description is None else ", {description}"
    if not _is_plain(template, {"", "0", "a", "an", "group"} | ({"description"} if more else set())):
        rule = f"must be a template whose fields are {{}} (the name){more}, {{a}} or {{an}} (its article)"
        raise InputError(option, f"{rule} and {{group}}", template)
    article = "an" if name[:1].lower() in "aeiou" else "a"
    fields = {"a": article, "an": article, "group": group}
    blank = dict.fromkeys(fields, "")
    if description is None:
        text, marked = template.format(name, **fields), template.format("\0", **blank)
    else:
        text = template.format(name, **fields, description=description)
        marked = template.format("", **blank, description="\0")
    if "\0" not in marked:
        missing = "{} where the name goes" if description is None else "{description}"
        raise InputError(option, f"must contain {missing}", template)
    return text


def _is_plain(template: str, names: Set[str]) -> bool:
    """Whether fields are these names alone, without width, conversion, attribute or item."""
    try:
        fields = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:  # a brace without the other
        return False
    own = [name for name, _, _ in fields if not name or name.isdigit()]
    return len(own) <= 1 and all(name in names and not spec and not kind for name, spec, kind in fields)


def distinct(prompts: Prompts) -> Prompts:
    """Refuse two targets with the same prompt.

    Parameters
    ----------
    prompts : prompt i is that of target i.

    Raises
    ------
    InputError
        If two targets have the same texts.
    """
    owner: dict[tuple[str, ...], str] = {}
    for name, texts in zip(prompts.target_names, prompts.texts, strict=True):
        if texts in owner:
            rule = f"targets {owner[texts]!r} and {name!r} must have different prompts"
            raise InputError("prompt", rule, texts[0] if len(texts) == 1 else list(texts))
        owner[texts] = name
    return prompts


def _group_of_class(dataset: ImageDataset, strategy: str) -> tuple[str, ...]:
    missing = [name for name in dataset.class_names if name not in dataset.groups]
    if missing:
        raise InputError(
            "dataset.groups",
            f"every class needs a group for prompt={strategy}, and these have none: {', '.join(missing)}",
            hint="Name them on the command line, e.g. 'dataset.groups={pet: [cat, dog], wild: [deer]}'",
        )
    return tuple(dataset.groups[name] for name in dataset.class_names)


def _per_class(dataset: ImageDataset, texts: Sequence[tuple[str, ...]]) -> Prompts:
    index = np.arange(len(dataset.class_names))
    return distinct(Prompts(tuple(texts), dataset.class_names, index, index))


def _targets_by_group(dataset: ImageDataset, strategy: str) -> tuple[tuple[str, ...], IntArray]:
    group_of_class = _group_of_class(dataset, strategy)
    names = tuple(dict.fromkeys(group_of_class))
    return names, np.array([names.index(group) for group in group_of_class])


def targets_of(
    dataset: ImageDataset, targets: Literal["class", "group"], strategy: str
) -> tuple[tuple[str, ...], IntArray]:
    """Name K targets, and the target of each class: (C,).

    Parameters
    ----------
    dataset : names and groups.
    targets : the classes or their groups.
    strategy : of the prompts, for errors.

    Raises
    ------
    InputError
        If a class has no group where groups are the targets.
    """
    if targets == "group":
        return _targets_by_group(dataset, f"{strategy} prompt.targets=group")
    return dataset.class_names, np.arange(len(dataset.class_names))


def task(dataset: ImageDataset) -> Prompts:
    """One prompt a class, from the class's name.

    Parameters
    ----------
    dataset : names, groups and captions.
    """
    template = dataset.captions.task
    return _per_class(
        dataset, [(render(template, name, option="dataset.captions.task"),) for name in dataset.class_names]
    )


def grouped(dataset: ImageDataset) -> Prompts:
    """One prompt a group of classes; the targets are the groups, in order of first appearance.

    Parameters
    ----------
    dataset : names, groups and captions.

    Raises
    ------
    InputError
        If a class has no group.
    """
    names, target_of_class = _targets_by_group(dataset, "grouped")
    template = dataset.captions.grouped
    texts = tuple((render(template, name, option="dataset.captions.grouped"),) for name in names)
    return distinct(Prompts(texts, names, target_of_class, np.arange(len(names))))


def subclasses(dataset: ImageDataset) -> Prompts:
    """One prompt a group: an ensemble of the task captions of its classes; the targets are the groups.

    A group is where its classes are on average. The reference ``zero_shot_via_class`` answers by the nearest
    class instead, as hierarchical label sets do (Novack et al. 2023, arXiv:2302.02551, without their
    reweighting by the group).

    Parameters
    ----------
    dataset : names, groups and captions.

    Raises
    ------
    InputError
        If a class has no group.
    """
    names, target_of_class = _targets_by_group(dataset, "subclasses")
    captions = [texts[0] for texts in task(dataset).texts]
    texts = tuple(
        tuple(captions[kind] for kind in np.flatnonzero(target_of_class == target))
        for target in range(len(names))
    )
    return Prompts(texts, names, target_of_class, np.arange(len(names)))


def swapped(dataset: ImageDataset) -> Prompts:
    """The task prompts, each standing for a neighbouring class (cyclic shift by one).

    A class takes the prompt of its previous or next class, by `ImageDataset.swap`.

    Parameters
    ----------
    dataset : names, groups and captions.

    Raises
    ------
    InputError
        If there is one class only.
    """
    straight = task(dataset)
    if len(straight.texts) < 2:
        raise InputError("prompt", "swapped needs at least two classes", len(straight.texts))
    shift = 1 if dataset.swap == "previous" else -1
    return Prompts(
        straight.texts,
        straight.target_names,
        straight.target_of_class,
        np.roll(np.arange(len(straight.texts)), shift),
        truthful=False,
    )


def none(dataset: ImageDataset) -> Prompts:
    """No text: the image-only baseline.

    Parameters
    ----------
    dataset : names, groups and captions.
    """
    return Prompts((), dataset.class_names, np.arange(len(dataset.class_names)), None)


def generic(dataset: ImageDataset) -> Prompts:
    """One prompt for all classes; it admits every cluster.

    Parameters
    ----------
    dataset : names, groups and captions.

    Raises
    ------
    InputError
        If the caption is blank or has a field.
    """
    text = dataset.captions.generic
    if not text.strip() or not _is_plain(text, set()):
        raise InputError("dataset.captions.generic", "must be a text without fields", text)
    count = len(dataset.class_names)
    one = ((text,),)
    return Prompts(one, dataset.class_names, np.arange(count), np.zeros(count, dtype=np.int64))


def hierarchical(dataset: ImageDataset) -> Prompts:
    """One prompt a class, from the class's name and its group's.

    Parameters
    ----------
    dataset : names, groups and captions.

    Raises
    ------
    InputError
        If a class has no group.
    """
    groups = _group_of_class(dataset, "hierarchical")
    template = dataset.captions.hierarchical
    return _per_class(
        dataset,
        [
            (render(template, name, group=group, option="dataset.captions.hierarchical"),)
            for name, group in zip(dataset.class_names, groups, strict=True)
        ],
    )


def custom(
    dataset: ImageDataset,
    texts: Mapping[str, str | Sequence[str]] | None = None,
    templates: Sequence[str] = (),
    targets: Literal["class", "group"] = "class",
    replace_underscores: bool = False,
) -> Prompts:
    """The user's own texts: by target in `texts`, else `templates` filled with the target's name.

    Parameters
    ----------
    dataset : names and groups.
    texts : one text of a target, or several, which are an ensemble.
    templates : filled with the names of targets that `texts` lacks.
    targets : the classes or their groups.
    replace_underscores : write names with spaces in the templates.

    Raises
    ------
    InputError
        If a target is left without a text, a name in `texts` is not a target, a template is bad, or
        two targets have the same texts.
    """
    texts = {as_name("prompt.texts", name): own for name, own in (texts or {}).items()}
    names, target_of_class = targets_of(dataset, targets, "custom")
    for name in texts:
        if name not in names:
            raise InputError("prompt.texts", "must name targets of the dataset", name, choices=names)
    filled = []
    for name in names:
        word = name.replace("_", " ") if replace_underscores else name
        own = texts.get(name, [render(template, word, option="prompt.templates") for template in templates])
        filled.append((own,) if isinstance(own, str) else tuple(own))
        if not filled[-1]:
            rule = f"every target needs a text, and {name!r} has none"
            hint = "Set prompt.texts for it, or prompt.templates for all"
            raise InputError("prompt.texts", rule, hint=hint)
        if not all(text.strip() for text in filled[-1]):
            raise InputError(f"prompt.texts.{name}", "must not be blank", own)
    return distinct(Prompts(tuple(filled), names, target_of_class, np.arange(len(names))))
