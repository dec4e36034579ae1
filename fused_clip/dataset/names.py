"""Names of classes and rows as users' files have them."""

import re
import unicodedata
from collections.abc import Iterable


def class_name(text: str) -> str:
    """One name for a class, whether its source composes accents or not.

    Parameters
    ----------
    text : as the source has it.
    """
    return unicodedata.normalize("NFC", printable(text))


def printable(name: str) -> str:
    """Write bytes that are no text as escapes, so that the name can be stored.

    Parameters
    ----------
    name : may contain bytes that are no text.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort the distinct names so that "2" comes before "10".

    Parameters
    ----------
    names : may repeat.
    """
    return sorted(set(names), key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.findall(r"(\d+)|(\D+)", name)
    return [(0, int(digits), "") if digits else (1, 0, text.casefold()) for digits, text in parts], name


def shortened(names: Iterable[str], most: int = 5) -> str:
    """List names in an error: the first ones, and how many more there are.

    Parameters
    ----------
    names : all of them.
    most : number of names listed.
    """
    listed = list(names)
    more = f"; and {len(listed) - most} more" if len(listed) > most else ""
    return "; ".join(listed[:most]) + more
