"""Prompts from a file of texts about each class, as language models write them."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fused_clip.dataset.classes import as_name
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method.prompt import Prompts, distinct, render, targets_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.json_files import parse_json
from fused_clip.support.yaml_files import load_yaml

log = logging.getLogger(__name__)
_OPTION = "prompt.file"


def descriptions(
    dataset: ImageDataset,
    file: str | None,
    template: str = "{description}",
    targets: Literal["class", "group"] = "class",
) -> Prompts:
    """An ensemble a target, of its sentences or descriptors in a file.

    Sentences stand alone (CuPL, Pratt et al. 2022, arXiv:2209.03320); descriptors complete a template such as
    ``"{}, which has {description}"`` (Menon and Vondrick 2022, arXiv:2210.07183).

    Parameters
    ----------
    dataset : names and groups.
    file : a JSON or YAML file that maps each target to a list of texts; other names are left out.
    template : what becomes of a text: ``{description}`` is the text, ``{}`` the target, ``{a}`` its article.
    targets : the classes or their groups.

    Raises
    ------
    InputError
        If there is no such file, it is no such mapping, it lacks a target, a list is empty, the template is
        bad, or two targets have the same texts.
    """
    names, target_of_class = targets_of(dataset, targets, "descriptions")
    found = {as_name(_OPTION, name): own for name, own in _read(file).items()}
    if others := [name for name in found if name not in names]:
        log.info("%s also describes %s, which are no targets.", file, ", ".join(others[:5]))
    filled = []
    for name in names:
        own = found.get(name)
        if own is None:
            rule = f"every target needs a list of texts, and {name!r} has none"
            raise InputError(_OPTION, rule, file, choices=sorted(found))
        if not isinstance(own, list) or not own or not all(isinstance(text, str) and text for text in own):
            raise InputError(_OPTION, f"{name!r} must have a list of one text or more, none empty", own)
        filled.append(
            tuple(render(template, name, description=text, option="prompt.template") for text in own)
        )
    return distinct(Prompts(tuple(filled), names, target_of_class, np.arange(len(names))))


def _read(file: str | None) -> dict[Any, Any]:
    if file is None:
        raise InputError(_OPTION, "must be a JSON or YAML file", None)
    path = Path(file)
    try:
        content = read_regular(path, MOST_TEXT)
        found = parse_json(content) if path.suffix == ".json" else load_yaml(content)
    except OSError as error:
        raise InputError(_OPTION, f"must be a file that can be read ({error.strerror})", file) from error
    except ValueError as error:
        raise InputError(_OPTION, f"must be JSON or YAML ({str(error).splitlines()[0]})", file) from error
    if not isinstance(found, dict):
        raise InputError(_OPTION, "must map each target to a list of texts", file)
    return found
