"""What a user writes on the command line about targets -> what a model takes."""

import csv
import math
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fused_clip.config import Name
from fused_clip.errors import InputError

Groups = dict[str, list[str]]


def parse_targets(text: str) -> list[str]:
    """Read ``cat,dog``; a name with a comma is quoted as in csv.

    Raises
    ------
    InputError
        If a name is empty or there twice.
    """
    names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not names or "" in names or len(set(names)) < len(names):
        raise InputError("targets", "must be distinct names with commas between them", text)
    return names


def parse_prior(text: str) -> dict[str, float]:
    """Read ``cat=.9,dog=.1``.

    Raises
    ------
    InputError
        If it is anything else.
    """
    prior = {}
    for part in parse_targets(text):
        name, _, number = part.rpartition("=")
        try:
            prior[name.strip()] = float(number)
        except ValueError:
            prior[name.strip()] = math.nan
        if not name.strip() or math.isnan(prior[name.strip()]):
            raise InputError("prior", "must be name=number with commas between them, as cat=.9,dog=.1", text)
    return prior


def read_target_map(path: Path) -> Groups:
    """Read a YAML file of ``group: [targets]``.

    Raises
    ------
    InputError
        If it can't be read or is anything else.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        groups: Groups = TypeAdapter(dict[Name, list[Name]]).validate_python(content, strict=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        hint = "For example: pet: [cat, dog]"
        raise InputError(
            "target_map", f"must be a YAML file of 'group: [targets]' ({reason})", str(path), hint=hint
        ) from error
    if not groups:
        raise InputError("target_map", "must name a group", str(path))
    return groups
