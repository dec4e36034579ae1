"""The command; tests/attack/test_serving.py and the example of docs/serving.md start it as a server."""

import socket
from pathlib import Path

import pytest

from tests.forks import Commands


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "Error: model: must be an existing run or model directory, got 'gone'"),
        (["runs:/gone/model"], "Error: tracking-uri: must name the MLflow store"),
        (["gone", "--max-body", "0"], "Error: max-body: must be at least 1, got 0"),
        (["gone", "--max-images", "0"], "Error: max-images: must be at least 1, got 0"),
        (["gone", "--max-pixels", "-5"], "Error: max-pixels: must be at least 1, got -5"),
        (["gone", "--timeout", "nan"], "Error: timeout: must be a number of seconds above 0, got nan"),
        (["gone", "--timeout", "0"], "Error: timeout: must be a number of seconds above 0, got 0.0"),
        (["gone", "--port", "65536"], "Error: port: must be between 0 and 65535, got 65536"),
        (["gone", "--host", "no such host"], "Error: host and port: this address can't be had"),
        ([], "required: MODEL"),
    ],
)
def test_what_can_not_be_served_is_a_line(
    words: list[str], message: str, commands: Commands, tmp_path: Path
) -> None:
    more = [] if "--port" in words else ["--port", "0"]
    done = commands("serve", *words, *more, cwd=tmp_path, env={"MLFLOW_TRACKING_URI": None})
    assert done.code in (1, 2), done
    assert message in done.err, done.err
    assert not done.traceback


def test_an_address_in_use_is_found_before_the_model_is_loaded(commands: Commands, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = commands("serve", "gone", "--port", port, cwd=tmp_path)
    assert f"this address can't be had (Address already in use), got '127.0.0.1:{port}'" in done.err
    assert done.code == 1
