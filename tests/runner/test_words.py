from pathlib import Path

import pytest

from fused_clip.runner.overrides import check_words
from fused_clip.support.errors import InputError
from tests.attack.bad_files import bomb


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
    check_words(
        ["study='кот'", "--config-dir", "мой", "--config-dir=мой", "seed=0,1", "a={b: [1]}", "~c", "+d=1"]
    )


@pytest.mark.parametrize(
    "word",
    [
        *(
            "dataset=0.5",
            "clusterer=1",
            "clusterer=null",
            "clusterer=true",
            "clusterer=[a,1]",
            "reference=[1]",
        ),
        *(
            "reference=[[a]]",
            "reference=[{a:1}]",
            "clusterer=kmeans,1",
            "clusterer=range(1,3)",
            "~clusterer=1",
        ),
        *("+clusterer=1", "@x=0.5", "hydra/launcher=.5"),
    ],
)
def test_an_option_of_a_group_is_a_name(word: str) -> None:
    with pytest.raises(InputError, match="must name an option, got"):
        check_words([word])


def test_the_names_of_a_group_are_given() -> None:
    with pytest.raises(
        InputError, match=r"clusterer: must name an option, got 'null'; choose from: .*kmeans"
    ):
        check_words(["clusterer=null"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=" + "1" * 5_000, r"seed: can't be read \(Exceeds the limit"),
        ("fusion.alpha=[" + "a," * 40_000 + "a]", r"at most 32,000 characters .*Write it into a file"),
        ("classifier=" + "a" * 300, "classifier: must name an option, in at most 200 characters"),
        ("a.b" * 100 + "=1", "overrides: a key must have at most 200 characters"),
    ],
    ids=range(4),
)
def test_what_is_too_long_for_hydra_is_refused(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_words([word])


def test_names_lists_and_dictionaries_are_left_to_hydra() -> None:
    check_words(
        ["clusterer=kmeans", "reference=[zero_shot]", "reference=[]", "clusterer=a,b", "clusterer={a: 1}"]
    )
    check_words(
        ["~clusterer", "~dataset=digits", "clusterer=glob(*)", "clusterer=choice(a,b)", "clusterer='1'"]
    )
    check_words(["prompt.texts={0: " + "a" * 20_000 + "}", "seed=5", "hydra.job.num=3"])


@pytest.mark.parametrize("word", ["seed=[1", "+seed=[1", "dataset={a: 1", "a='b"])
def test_what_hydra_does_not_read_is_named(word: str) -> None:
    key, _, value = word.partition("=")
    with pytest.raises(InputError) as caught:
        check_words(["seed=1", word])
    assert caught.value.option == key.lstrip("+")
    assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bomb", bomb(), r"experiment: .*bomb\.yaml must be YAML \(aliases make it larger"),
        ("open", "seed: [1", r"experiment: .*open\.yaml must be YAML \(.*line "),
        ("twice", "seed: 1\nseed: 2", r"experiment: .*the key 'seed' stands twice, line 2"),
        ("list", "- seed", r"experiment: .*list\.yaml must map options to values, got 'list'"),
    ],
)
def test_yaml_of_the_user_that_hydra_can_not_read(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    (tmp_path / "experiment" / "right.yaml").write_text("# @package _global_\nseed: 1\n")
    for place in (["--config-dir", str(tmp_path)], ["-cd", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        with pytest.raises(InputError, match=message):
            check_words([*place, f"experiment={name}"])
        check_words([*place, "experiment=right"])
        check_words([*place, "seed=1"])
    check_words([f"experiment={name}"])
