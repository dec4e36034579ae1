"""The words of the command that a page shows."""

import shlex

import pytest

from fused_clip.app.wishes import Wishes
from fused_clip.model.constraint_parsing import parse_prior, parse_targets


def test_nothing_asked_is_the_bare_command() -> None:
    assert Wishes().command("runs/a b") == "fused-clip-predict 'runs/a b' photos/ --out answers.csv"


def test_no_option_adds_a_target() -> None:
    assert Wishes(added=(("x", "This is x"),)).command("run") == ""


@pytest.mark.parametrize("name", ["a,b", 'the "cat"', "it's", "a=b", "$(rm -rf ~)", "`x`", "ü \U0001f600"])
def test_odd_names_come_back_as_they_are(name: str) -> None:
    wishes = Wishes(targets=(name, "dog"), prior={name: 0.123456789, "dog": 1 - 0.123456789})
    words = shlex.split(wishes.command("run"))
    assert parse_targets(words[words.index("--targets") + 1]) == [name, "dog"]
    assert parse_prior(words[words.index("--prior") + 1]) == wishes.prior


def test_knowledge_is_equal_for_other_promises_and_differs_for_other_targets() -> None:
    base = Wishes(targets=("cat",), coverage=0.9)
    assert base.known == Wishes(targets=("cat",), unknown=0.1, threshold=0.5).known
    others = [Wishes(targets=("dog",)), Wishes(prior={"cat": 1.0}), Wishes(groups={"pet": ("cat",)})]
    assert len({one.known for one in (base, *others)}) == 4
