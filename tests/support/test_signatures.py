from functools import partial
from typing import Any

from fused_clip.support.signatures import accepted, keywords, takes_any_keyword


def plain(a: int, *, b: int = 0) -> tuple[int, int]:
    return a, b


def greedy(a: int, *others: int, **more: int) -> None: ...


class Part:
    def __init__(self, a: int) -> None: ...


def test_only_what_a_signature_names_is_accepted() -> None:
    available: dict[str, Any] = {"a": 1, "b": 2, "c": 3}
    assert accepted(plain, available) == {"a": 1, "b": 2}
    assert accepted(partial(plain, b=5), available) == {"a": 1, "b": 2}
    assert accepted(greedy, available) == accepted(Part, available) == {"a": 1}


def test_variadic_parameters_have_no_name() -> None:
    assert keywords(greedy) == ["a"]
    assert takes_any_keyword(greedy)
    assert not takes_any_keyword(plain)
