"""``fused-clip-app`` as a user meets it, before a page is served."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import Commands
from tests.predict.test_command_line import HEAVY

ROOT = Path(__file__).parents[2]


def spoken(*words: str, prepare: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a new process, which ends by naming the heavy modules that it loaded."""
    script = (
        "import sys, runpy, atexit\n"
        f"atexit.register(lambda: print('LOADED', sorted({{*{HEAVY!r}, 'streamlit'}} & set(sys.modules))))\n"
        f"{prepare}\n"
        "runpy.run_module('fused_clip.app', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", script, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_help_comes_without_heavy_imports() -> None:
    done = spoken("--help")
    assert "LOADED []" in done.stdout
    assert "--port" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/nowhere"], "Error: model: must be an existing run or model directory, got '/nowhere'"),
        ([str(ROOT / "docs")], "Error: model: must contain model.json, or model/model.json, got "),
        (["{run}", "--port", "99999"], "Error: port: must be between 1 and 65535, got 99999"),
        (["{run}", "--host", "nowhere.invalid"], "Error: host: must be a name or an address of this machine"),
    ],
)
def test_bad_words_are_one_line_before_anything_is_loaded(words: list[str], line: str, run: Path) -> None:
    done = spoken(*[word.format(run=run) for word in words])
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == "LOADED []\n"
    assert done.returncode == 1


def test_a_port_in_use_is_one_line(run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = spoken(str(run), "--port", str(taken.getsockname()[1]))
    assert "can't be taken (Address already in use). Give another --port" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == "LOADED []\n"
    assert done.returncode == 1


def test_without_streamlit_the_line_says_what_to_install(run: Path) -> None:
    hide = (
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'streamlit' else real(name, *rest)"
    )
    done = spoken(str(run), prepare=hide)
    line = "Error: app: needs Streamlit, which is not installed. pip install 'fused_clip[app]'\n"
    assert done.stderr == line
    assert done.returncode == 1


@pytest.mark.slow
def test_a_damaged_model_is_one_line(commands: Commands, tmp_path: Path, run: Path) -> None:
    import shutil

    shutil.copytree(run / "model", tmp_path / "model")
    (tmp_path / "model" / "arrays.safetensors").write_bytes(b"x")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = commands("app", tmp_path, "--port", port, "--device", "cpu")
    assert done.err.startswith("Error: model: is damaged: arrays.safetensors")
    assert len(done.err.splitlines()) == 1
    assert done.code == 1
