"""Classes of a user's data: matched by name, renamed, chosen and grouped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fused_clip.dataset.image_dataset import Images
from fused_clip.dataset.names import class_name
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Images with their labels, as the data name them.

    Parameters
    ----------
    images : n images.
    labels : (n,) index into `names`; all -1 where there are no labels.
    names : names of the labels; None for plain integers.
    origin : set and split, e.g. ``mnist/train``.
    """

    images: Images
    labels: IntArray
    names: tuple[str, ...] | None
    origin: str


def as_name(option: str, value: object) -> str:
    """Read a name from YAML: text, or an integer by its digits.

    Parameters
    ----------
    option : names the value in errors.
    value : what YAML gave.
    """
    if isinstance(value, str) and value:
        return class_name(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(option, "must be a name (in YAML, put it in quotes)", value)


def renamed(parts: Sequence[Labelled], display_names: Mapping[str, str] | None) -> list[Labelled]:
    """Replace class names by display names; all spellings of a name that `class_name` joins are one.

    Parameters
    ----------
    parts : of the data.
    display_names : name in the data -> name used.
    """
    parts = [replace(part, names=part.names and tuple(map(class_name, part.names))) for part in parts]
    if not display_names:
        return parts
    option = "dataset.display_names"
    numbers = tuple(map(str, range(_n_integers(parts))))
    known = known_names(parts) or numbers
    other = {class_name(old): class_name(new) for old, new in display_names.items()}
    for name in other:
        if name not in known:
            raise InputError(option, "must rename classes of the data", name, choices=known)
    shown = [other.get(name, name) for name in known]
    if repeated := sorted({name for name in shown if shown.count(name) > 1}):
        raise InputError(option, "must leave each class a name of its own", repeated)
    return [
        replace(part, names=tuple(other.get(name, name) for name in part.names or numbers)) for part in parts
    ]


def resolve(
    parents: Sequence[Labelled], class_names: Sequence[str] | None, option: str = "dataset.class_names"
) -> tuple[str, ...]:
    """Names of the classes used, in class order: `class_names`, or all that the data name.

    Parameters
    ----------
    parents : parts of the data.
    class_names : the classes chosen; None for all.
    option : names them in errors.
    """
    known = known_names(parents)
    if class_names is None:
        names = known or tuple(map(str, range(_n_integers(parents))))
    else:
        names = tuple(map(class_name, class_names))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(option, "must be distinct", repeated)
    if len(names) < 2:
        raise InputError(option, "must be two classes or more", list(names))
    for name in names if known else ():
        if name not in known:
            raise InputError(option, "must be classes of the data", name, choices=known)
    if not known and len(names) < _n_integers(parents):
        rule = f"must name each of the {_n_integers(parents)} integer labels of the data, which name none"
        raise InputError(option, rule, list(names))
    return names


def known_names(parents: Sequence[Labelled]) -> tuple[str, ...]:
    """List the class names of the data, in their order; empty where labels are plain integers.

    Parameters
    ----------
    parents : parts of the data.
    """
    return tuple(dict.fromkeys(name for parent in parents for name in parent.names or ()))


def _n_integers(parents: Sequence[Labelled]) -> int:
    """Count the integers from 0 to the largest label."""
    return max((int(parent.labels.max(initial=-1)) for parent in parents), default=-1) + 1


def group_of_class(
    groups: Mapping[str, Sequence[str]], used: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    """Map each class used to its group.

    Parameters
    ----------
    groups : group -> its classes, used or not.
    used : the classes used.
    known : all classes of the data.
    """
    found: dict[str, str] = {}
    for name_of_group, members in groups.items():
        group = class_name(name_of_group)
        option = f"dataset.groups.{group}"
        for name in map(class_name, members):
            if name not in known:
                raise InputError(option, "must list classes of the data", name, choices=known)
            if name in found:
                raise InputError(option, f"a class has one group, and {found[name]!r} has it", name)
            found[name] = group
    return {name: found[name] for name in used if name in found}
