"""Parse targets, priors and groups of the command line."""

import csv
import math
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.option_types import Name, complaints
from fused_clip.support.yaml_files import load_yaml

Groups = dict[str, list[str]]
_Members = Annotated[list[Name], Field(min_length=1)]


def parse_targets(text: str) -> list[str]:
    """Parse distinct names such as ``cat,dog``; a name with a comma is quoted as in csv.

    Parameters
    ----------
    text : names, separated by commas.
    """
    names = _parted(text)
    if not names or "" in names or len(set(names)) < len(names):
        raise InputError("targets", "must be distinct names, separated by commas", text)
    return names


def _parted(text: str) -> list[str]:
    """Parts between commas; none if the quotes are wrong."""
    try:
        return [part.strip() for part in next(csv.reader([text], skipinitialspace=True, strict=True), [])]
    except csv.Error:  # a line break, or a quote without its end
        return []


def parse_prior(text: str) -> dict[str, float]:
    """Parse frequencies such as ``cat=.9,dog=.1``.

    Parameters
    ----------
    text : name=number, separated by commas.
    """
    prior: dict[str, float] = {}
    for part in _parted(text) or [""]:
        name, _, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name.strip() or math.isnan(value):
            raise InputError("prior", "must be name=number, separated by commas, such as cat=.9,dog=.1", text)
        if name.strip() in prior:
            raise InputError("prior", f"must name a target once, and names {name.strip()!r} twice", text)
        prior[name.strip()] = value
    return prior


def read_target_map(path: Path) -> Groups:
    """Read a YAML file of ``group: [targets]``.

    Parameters
    ----------
    path : of the file, in UTF-8.
    """
    try:
        text = read_regular(path, MOST_TEXT).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_map(str(path), error) from error
    return parse_target_map(text, str(path))


def parse_target_map(text: str, name: str | None = None) -> Groups:
    """Parse YAML of ``group: [targets]``, such as ``{pet: [cat, dog]}``.

    Parameters
    ----------
    text : YAML.
    name : of the text, for errors; by default the text itself.
    """
    content = None
    try:
        content = load_yaml(text)
        groups: Groups = TypeAdapter(dict[Name, _Members]).validate_python(content, strict=True)
    except ValidationError as error:
        if isinstance(content, dict):
            raise complaints(error, content, "target_map")[0] from error
        raise _no_map(name or text, "it is no mapping") from error
    except ValueError as error:
        raise _no_map(name or text, error) from error
    if not groups:
        raise InputError("target_map", "must name a group", name or text)
    return groups


def check_threshold(threshold: float, *, calibrated: bool = True) -> None:
    """Check that threshold is in [0, 1], and 0 for an uncalibrated model.

    Parameters
    ----------
    threshold : answers below this probability are abstentions.
    calibrated : whether the model gives probabilities.
    """
    if not 0 <= threshold <= 1:
        raise InputError("threshold", "must be a probability, between 0 and 1", threshold)
    if threshold and not calibrated:
        rule = "needs a calibrated model, and this one was made without labels: it gives no probabilities"
        raise InputError("threshold", rule, threshold, hint="Filter the answers by their margins instead")


def _no_map(name: str, error: Exception | str) -> InputError:
    rule = f"must be YAML of 'group: [targets]' ({str(error).splitlines()[0]})"
    return InputError("target_map", rule, name, hint="For example: pet: [cat, dog]")


def check_promise(coverage: float | None, per: str, unknown: float | None) -> None:
    """Check options of a guarantee that need no model.

    Parameters
    ----------
    coverage : share of images whose set has the true target; None for no sets.
    per : ``all``, or ``target``, which goes with a coverage.
    unknown : share of known images that may be called unknown; None for no such call.

    Raises
    ------
    InputError
        Unless each share is above 0 and below 1, and `per` fits the coverage.
    """
    for option, level in (("coverage", coverage), ("unknown", unknown)):
        if level is not None and not 0 < level < 1:
            raise InputError(option, "must be above 0 and below 1", level)
    if per == "target" and coverage is None:
        raise InputError("coverage_per", "goes with a coverage, and none is given", per)
