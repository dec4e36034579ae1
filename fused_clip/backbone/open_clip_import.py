"""open_clip, imported without what most of its models do not need."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from fused_clip.support import collector

_TRANSFORMERS = "transformers"


def load_open_clip(*, transformers: bool = False) -> Any:
    """Import open_clip: seconds, of which Python's collector would take a third.

    open_clip imports transformers where it is installed. Only text towers of Hugging Face's need it, so in a
    command others go without. In a notebook the user may need it for models of open_clip's.

    Parameters
    ----------
    transformers : whether the model needs it.
    """
    open_clip = _without_transformers()
    if transformers and open_clip.hf_model.transformers is None:
        importlib.reload(open_clip.hf_model)  # its classes find transformers among the module's own names
    return open_clip


@cache
def _without_transformers() -> Any:
    with collector.resting(), _hidden(_TRANSFORMERS):
        import open_clip

    return open_clip


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """In a command, let a package that is not imported yet be missing: None among the modules says so."""
    if name in sys.modules or not collector.in_command():
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
