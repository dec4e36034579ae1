"""Types of option values."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _name(value: object) -> object:
    """Accept numbers, as YAML reads an unquoted name 0 as a number; refuse booleans, null and blanks."""
    if isinstance(value, (bool, type(None))):
        raise ValueError(f"must be a name; YAML reads it as {value!r}: quote it")
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be blank")
    return str(value) if isinstance(value, (int, float)) else value


def _count_or_auto(value: object) -> object:
    """Refuse what is neither, with one rule in place of one for each kind."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("must be 'auto' or a number greater than or equal to 1")
    return value


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
CountOrAuto = Annotated[int | Literal["auto"], BeforeValidator(_count_or_auto)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class StrictOptions(BaseModel):
    """Options whose types are not converted; an unknown key is an error."""

    model_config = ConfigDict(strict=True, extra="forbid")
