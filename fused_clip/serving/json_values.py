"""Values of JSON: image files as base64, kinds for errors, numbers that it does not have."""

import base64
import binascii
import math
from typing import Any

from fused_clip.support.errors import InputError


def from_base64(name: str, text: Any) -> bytes:
    """Decode an image file; line breaks are allowed.

    Parameters
    ----------
    name : of the image, for errors.
    text : base64, as str or bytes.

    Raises
    ------
    InputError
        If it is no text, or no base64.
    """
    rule = f"{name} must be the base64 text of an image file"
    if not isinstance(text, str | bytes):
        raise InputError("images", f"{rule}, and is {kind_of(text)}")
    try:
        encoded = text.encode() if isinstance(text, str) else text
        return base64.b64decode(b"".join(encoded.split()), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InputError("images", f"{rule}; paths are not read", text[:50]) from error


def kind_of(value: Any) -> str:
    """Name the kind of a value, as JSON has it.

    Parameters
    ----------
    value : as Python has it.
    """
    if value is None:
        return "null"
    kinds = {bool: "true or false", str: "a text", dict: "an object", int: "a number", float: "a number"}
    return kinds.get(type(value), "a list")


def finite(value: Any) -> Any:
    """Replace a number that JSON does not have by None.

    Parameters
    ----------
    value : of a record.
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value
