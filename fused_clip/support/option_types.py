"""Types of option values, and errors on values that are none of them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fused_clip.support.errors import InputError

_UNKNOWN = object()


def _name(value: object) -> object:
    """Accept numbers, as YAML reads an unquoted name 0 as a number; refuse booleans, null and blanks."""
    if isinstance(value, (bool, type(None))):
        raise ValueError(f"must be a name; YAML reads it as {value!r}: quote it")
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be blank")
    return str(value) if isinstance(value, (int, float)) else value


def _count_or_auto(value: object) -> object:
    """Refuse any other value, with one rule in place of one for each kind."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("must be 'auto' or a number greater than or equal to 1")
    return value


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
CountOrAuto = Annotated[int | Literal["auto"], BeforeValidator(_count_or_auto)]
Rounds = Annotated[int, Field(ge=1, le=1_000_000)]  # of a loop: more would never end
RoundsOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
TwoOrMore = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class StrictOptions(BaseModel):
    """Options whose types are not converted; an unknown key is an error."""

    model_config = ConfigDict(strict=True, extra="forbid")


def complaints(error: ValidationError, content: object, prefix: str = "") -> list[InputError]:
    """Turn an error of pydantic into errors of this package, one for each option at fault.

    Parameters
    ----------
    error : of pydantic.
    content : what was validated.
    prefix : name of what was validated; empty for a whole config.
    """
    found: dict[str, tuple[list[str], object]] = {}
    for detail in error.errors():
        place, value = _place(detail["loc"], content, missing=detail["type"] == "missing")
        option = ".".join(filter(None, [prefix, *map(str, place)]))
        rule = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
        rules, _ = found.setdefault(option, ([], detail["input"] if value is _UNKNOWN else value))
        if rule not in rules:
            rules.append(rule)
    return [InputError(option, " or ".join(rules), value) for option, (rules, value) in found.items()]


def _place(loc: tuple[int | str, ...], content: object, *, missing: bool) -> tuple[list[int | str], object]:
    """The keys of an error that are in the content: others name members of a union."""
    place: list[int | str] = []
    for number, key in enumerate(loc):
        last = number == len(loc) - 1
        inside = range(len(content)) if isinstance(content, list) else content
        if isinstance(inside, (range, Mapping)) and key in inside:
            content = content[key]  # type: ignore[index]  # one of the two
            place.append(key)
        elif missing and last:
            return [*place, key], _UNKNOWN
        elif last or not isinstance(content, Mapping):  # else it names a member of a union
            break
    return place, content
