"""`make image` builds it; here is what decides what is built."""

from pathlib import Path

import pytest

from experiments.image import dockerfile
from tests.forks import ROOT


def test_the_dockerfile_is_understood() -> None:
    arguments, (wheel, image) = dockerfile.read(ROOT / "Dockerfile")
    assert {dockerfile.filled(stage.base, arguments) for stage in (wheel, image)} == {arguments["BASE"]}
    assert ":" in arguments["BASE"], "a version"
    user, entry, health = (image.last(name) for name in ("USER", "ENTRYPOINT", "HEALTHCHECK"))
    assert user
    assert int(user.text) > 0
    assert entry
    assert entry.words[:3] == ["mlflow", "models", "serve"]
    assert health
    assert "5000/ping" in health.text
    for run in [one for stage in (wheel, image) for one in stage.instructions if one.name == "RUN"]:
        assert "pip" not in run.text or "--no-cache-dir" in run.text, run.text


def test_the_context_is_what_a_wheel_is_made_of(tmp_path: Path) -> None:
    for name in (
        "pyproject.toml",
        "conf/a.yaml",
        "fused_clip/a.py",
        "fused_clip/__pycache__/a.pyc",
        "tests/a.py",
        ".git/conf",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    found = {str(path.relative_to(tmp_path)) for path in dockerfile.context(tmp_path)}
    assert found == {"pyproject.toml", "conf/a.yaml", "fused_clip/a.py"}


def test_what_is_not_known_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM a AS b\nADD x y\n")
    with pytest.raises(ValueError, match="Dockerfile: ADD is not known here"):
        dockerfile.read(file)
    file.write_text(
        "# a comment\nARG A=1\nFROM x:${A} AS b\nRUN --mount=type=bind,from=c one \\\n  # not this\n  two\n"
    )
    arguments, (stage,) = dockerfile.read(file)
    assert (arguments, stage.base, stage.name) == ({"A": "1"}, "x:${A}", "b")
    (run,) = stage.instructions
    assert (run.words, run.flags) == (["one", "two"], {"mount": "type=bind,from=c"})
