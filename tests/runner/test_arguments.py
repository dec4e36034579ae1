"""Arguments of parts: their annotations are rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from fused_clip.runner.arguments import check_arguments
from fused_clip.runner.config import ClustererOptions, FusionOptions, build
from fused_clip.support.errors import InputError


def part(
    count: Annotated[int, Field(ge=1)] = 1,
    share: float = 0.5,
    kind: Literal["a", "b"] | None = None,
    number: int | Literal["auto"] = "auto",
    pair: tuple[int, int] = (1, 2),
    file: str | Path = "",
    names: Sequence[str] = (),
    free=None,  # type: ignore[no-untyped-def]
) -> None:
    """Takes arguments of every kind."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 0}, r"text\.count: must be greater than or equal to 1, got 0"),
        ({"count": True}, r"text\.count: must be a valid integer, got True"),
        ({"count": 1.5}, r"text\.count: must be a valid integer, got 1\.5"),
        ({"share": "x"}, r"text\.share: must be a valid number, got 'x'"),
        ({"share": float("nan")}, r"text\.share: must be a finite number, got nan"),
        ({"kind": "c"}, r"text\.kind: must be 'a' or 'b', got 'c'"),
        ({"number": "many"}, r"text\.number: must be a valid integer or must be 'auto', got 'many'"),
        ({"pair": [1, "x"]}, r"text\.pair\.1: must be a valid integer, got 'x'"),
        ({"names": [7]}, r"text\.names\.0: must be a valid string, got 7"),
        ({"names": None}, r"text\.names: must be .*, got None"),
    ],
)
def test_a_value_that_the_annotation_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        check_arguments("text", part, given)


def test_a_value_that_the_annotation_allows() -> None:
    given: dict[str, Any] = {"count": 3, "share": 1, "kind": None, "number": "auto", "free": object}
    check_arguments("text", part, {**given, "free": [1]})
    check_arguments("text", part, {"pair": [1, 2], "file": "x", "names": ["a"], "number": 5})
    check_arguments("text", part, {"names": {"_target_": "builtins.list"}})  # made when the part is


def broken(alpha: float = 0.5) -> None:
    raise KeyError(alpha)


def nothing(alpha: float = 0.5) -> None:
    """Makes no part."""


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        (FusionOptions, f"{__name__}.broken", r"fusion: .*broken failed \(KeyError: 0\.5\)\. hydra\.verbose"),
        (FusionOptions, f"{__name__}.nothing", r"fusion\._target_: must make a fusion, .*__call__, got"),
        (ClustererOptions, f"{__name__}.nothing", r"clusterer\._target_: must make .* no fit_predict"),
        (ClustererOptions, "os.path", r"clusterer\._target_: must be .*got 'os\.path'"),
    ],
)
def test_a_target_that_makes_no_part(kind: type[Any], target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(kind.model_validate({"_target_": target}).with_allowed(["tests"]))
