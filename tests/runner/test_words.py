import pytest

from fused_clip.runner.overrides import check_words
from fused_clip.support.errors import InputError


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("dataset.display_names={кот: cat}", r"display_names: .*Write it into a file .*--config-dir mine"),
        ("study=кот", r'''Quote it twice: "study='кот'"'''),
        ("dataset.class_names=[кот,dog]", r'''Quote it twice: "dataset.class_names=\['кот',dog\]"'''),
        ("prompt=task,кот", r'''Quote it twice: "prompt=task,'кот'"'''),
        ("кот=1", "Write it into a file"),
    ],
)
def test_letters_that_hydra_does_not_read_are_refused_with_a_way(word: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        check_words(["-m", word])


def test_what_hydra_reads_is_left_alone() -> None:
    check_words(["study='кот'", "--config-dir", "мой", "--config-dir=мой", "seed=0,1", "no=[broken"])
