from pathlib import Path

import pytest

from experiments import words
from experiments.words import Passage

MODULE = '''"""Names the thing that surely works."""  # beside the point


def join(first: str, second: str) -> str:
    """Join two words.

    Parameters
    ----------
    first : the word in front.
    """
    raise ValueError(f"{first} holds no {second!r}")


def _private(third: str) -> str:
    return "key"  # noqa: S105


class Pair:
    """Two words.

    Parameters
    ----------
    left, right : the words.
    """

    def __init__(self, left: str, right: str) -> None:
        self.words = (left, right)
'''


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A package of one module, one option and a README with a generated table."""
    (tmp_path / "fused_clip").mkdir()
    (tmp_path / "fused_clip" / "__init__.py").write_text("")
    (tmp_path / "fused_clip" / "pair.py").write_text(MODULE)
    (tmp_path / "conf" / "prompt").mkdir(parents=True)
    (tmp_path / "conf" / "prompt" / "task.yaml").write_text("# One prompt.\na: 'x'  # tells more\n")
    generated = "<!-- report:x.csv -->\nit surely holds\n<!-- /report -->\n"
    (tmp_path / "README.md").write_text(f"Two words.\n\n{generated}\n```\ntold\n```\n\nWhat\nis it\n")
    return tmp_path


def test_every_kind_of_text_is_read_and_generated_tables_are_not(repository: Path) -> None:
    texts = list(words.passages(repository))
    kinds = {kind: [one.text.strip() for one in texts if one.kind == kind] for kind in words.KINDS}
    assert kinds["docstrings"][0] == "Names the thing that surely works."
    assert len(kinds["docstrings"]) == 3
    assert kinds["comments"] == ["beside the point", "One prompt.", "tells more"]
    assert kinds["messages"] == ["{} holds no {}"]
    assert len(kinds["documents"]) == 1
    assert "surely" not in kinds["documents"][0]


def test_an_occurrence_has_its_line_and_may_cross_one(repository: Path) -> None:
    found = words.occurrences(list(words.passages(repository)), "what is")
    assert found == [Passage("documents", Path("README.md"), 11, "What is")]
    assert not words.occurrences([Passage("comments", Path("a.py"), 1, "stellar retold")], "tells?|told")


def test_parameters_without_a_description_are_found(repository: Path) -> None:
    found = {(one.owner.rpartition(".")[2], one.name): one.described for one in words.parameters(repository)}
    assert found == {
        ("join", "first"): True,
        ("join", "second"): False,
        ("Pair", "left"): True,
        ("Pair", "right"): True,
    }


def test_the_command_lists_what_to_mend(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert words.main(["--where"], repository) == 1
    printed = capsys.readouterr().out
    assert "fused_clip/pair.py:1: surely (docstrings)" in printed
    assert "public parameters described: 3 of 4\n  fused_clip.pair.join: second" in printed
    assert "words of the README: 17 (at most 900)" in printed


def test_plain_words_pass_and_a_long_readme_fails(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = MODULE.replace("surely ", "").replace("  # beside the point", "").replace("holds", "has")
    plain = plain.replace("    first : the word in front.", "    first, second : the words.")
    (repository / "fused_clip" / "pair.py").write_text(plain)
    (repository / "conf" / "prompt" / "task.yaml").write_text("# One prompt.\n")
    (repository / "README.md").write_text("Two words.\n")
    assert words.main([], repository) == 0
    (repository / "README.md").write_text("word " * 1301)
    assert words.main([], repository) == 1
    assert "words of the README: 1,301" in capsys.readouterr().out


def test_comments_are_counted_against_lines_of_code(repository: Path) -> None:
    # 7 lines of code; the directive is no comment.
    assert words.comments_per_100_lines(repository) == pytest.approx(100 / 7)
