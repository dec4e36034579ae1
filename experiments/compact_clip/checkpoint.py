"""What a run leaves to go on from: taken up by the run that it belongs to and by no other."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fused_clip.support.errors import InputError
from fused_clip.support.files import write_atomic

if TYPE_CHECKING:
    from experiments.compact_clip.corpus import Corpus
    from experiments.compact_clip.settings import Settings

#: Decides the weights, with the settings and the data.
CODE = ("captions.py", "corpus.py", "data.py", "fit.py", "model.json", "recipe.py", "settings.py")
HERE = Path(__file__).parent
_DIGEST = hashlib.sha256().digest_size


def code() -> dict[str, str]:
    """Return the SHA-256 of each file that decides the weights."""
    return {name: hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in CODE}


def write(state: dict[str, Any], corpus: Corpus, settings: Settings) -> None:
    """Keep `state` in `output_dir`, with what it belongs to, after the SHA-256 of both."""
    file = io.BytesIO()
    torch.save(_of_settings(settings) | _of_data(corpus) | state, file)
    write_atomic(_path(settings), hashlib.sha256(file.getbuffer()).digest() + file.getbuffer())


def read(settings: Settings) -> dict[str, Any] | None:
    """Return the state kept in `output_dir`; None if there is none.

    Raises
    ------
    InputError
        If it is damaged, or of settings that these don't continue, or of other code.
    """
    path = _path(settings)
    if not path.exists():
        return None
    content = memoryview(path.read_bytes())
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        rule = "must be a checkpoint as this code writes it, and undamaged"
        raise InputError("output_dir", rule, str(path), hint="Delete it to begin anew")
    state: dict[str, Any] = torch.load(io.BytesIO(content[_DIGEST:]), weights_only=True)
    own = _of_settings(settings)
    if not settings.continues(state["recipe"]):
        _refuse(settings, "settings", own["recipe"], state["recipe"])
    if own["code"] != state["code"]:
        _refuse(settings, "code", own["code"], state["code"])
    return state


def check_data(state: dict[str, Any], corpus: Corpus, settings: Settings) -> None:
    """Raise InputError if `state` is of a run on other data."""
    own = _of_data(corpus)
    if own != {key: state[key] for key in own}:
        _refuse(settings, "data", own, state)


def _of_settings(settings: Settings) -> dict[str, Any]:
    return {"recipe": settings.recipe(), "code": code()}


def _of_data(corpus: Corpus) -> dict[str, Any]:
    return {"fingerprint": corpus.fingerprint, "superclasses": corpus.superclasses}


def _path(settings: Settings) -> Path:
    return settings.output_dir / "checkpoint.pt"


def _refuse(settings: Settings, what: str, own: dict[str, Any], known: dict[str, Any]) -> None:
    differing = sorted(key for key in own if own[key] != known.get(key))
    rule = f"must not hold a run of other {what} ({', '.join(differing)})"
    raise InputError(
        "output_dir", rule, str(settings.output_dir), hint="Name another folder, or delete that one"
    )
