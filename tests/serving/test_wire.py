import json
from typing import Any

import pytest

from fused_clip import InputError
from fused_clip.serving.asked import Asked
from fused_clip.serving.wire import read_request, written
from tests.served import base64_of

CELLS = [base64_of(b"first"), base64_of(b"second")]
WHOLE: list[dict[str, Any]] = [
    {"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in CELLS]}},
    {"dataframe_split": {"data": [[cell] for cell in CELLS], "index": [5, 6]}},
    {"dataframe_records": [{"image": cell} for cell in CELLS]},
    {"instances": CELLS},
    {"instances": [{"image": cell} for cell in CELLS]},
    {"inputs": CELLS},
    {"inputs": {"image": CELLS}},
]


@pytest.mark.parametrize("body", WHOLE, ids=str)
def test_each_format_is_read(body: dict[str, Any]) -> None:
    assert read_request(json.dumps(body).encode(), 2) == ([b"first", b"second"], Asked())


def test_base64_may_have_line_breaks_and_options_are_read() -> None:
    body = {"inputs": ["Zmly\nc3Q=\r\n"], "params": {"top_k": 2, "coverage": 0.9, "threshold": None}}
    assert read_request(json.dumps(body).encode(), 1) == ([b"first"], Asked(top_k=2, coverage=0.9))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", r"body: must be JSON \(EOF"),
        (b'{"inputs": [NaN]}', "body: must be JSON"),
        (b"[" * 100_000, r"body: must be JSON \(recursion"),
        (
            b"[]",
            "body: must be a JSON object with one of these, .* got 'a list'; choose from: dataframe_split",
        ),
        ({"image": CELLS}, r"body: .* got \['image'\]; choose from"),
        ({"inputs": CELLS, "instances": CELLS}, r"body: .* got \['inputs', 'instances'\]"),
        ({"inputs": CELLS, "params": [1]}, r"params: must be an object of names and values, got \[1\]"),
        (
            {"inputs": CELLS, "params": {"top_n": 1}},
            r"params: must name options, got 'top_n'; .*mean 'top_k'",
        ),
        ({"inputs": CELLS, "params": {"top_k": "1"}}, r"params\.top_k: must be a valid integer, got '1'"),
        (
            {"inputs": CELLS, "params": {"targets": "x" * 1_000_001}},
            r"params\.targets: .* at most 1000000 char",
        ),
        ({"inputs": []}, "inputs: must have between 1 and 2 images, got 0"),
        ({"inputs": [*CELLS, *CELLS]}, "inputs: must have between 1 and 2 images, got 4"),
        ({"inputs": None}, "inputs: must be a list, and is null"),
        ({"inputs": {"path": CELLS}}, r"inputs: must have \{'image': \.\.\.\} and nothing else"),
        ({"inputs": [3]}, "images: image 1 must be the base64 text of an image file, and is a number"),
        ({"inputs": [True]}, "and is true or false"),
        (
            {"inputs": [CELLS[0], "/etc/passwd!"]},
            "images: image 2 must be .*; paths are not read, got '/etc/pa",
        ),
        ({"instances": [{"image": CELLS[0], "path": "a"}]}, "instances: .* and nothing else; row 1 is not"),
        ({"dataframe_records": CELLS}, "dataframe_records: .*; row 1 is not"),
        ({"dataframe_split": CELLS}, "dataframe_split: must be an object with a list data"),
        (
            {"dataframe_split": {"columns": ["path"], "data": []}},
            r"columns: must be \['image'\], got \['path'\]",
        ),
        (
            {"dataframe_split": {"data": [[CELLS[0]], CELLS]}},
            "data: must have rows of one image; row 2 is not",
        ),
    ],
)
def test_anything_else_is_refused(body: bytes | dict[str, Any], message: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InputError, match=message) as refused:
        read_request(content, 2)
    assert "\n" not in str(refused.value)


def test_answers_are_json() -> None:
    row = {"target": "müde", "margin": float("inf"), "probability": 0.1, "set": ["a"], "runner_up": None}
    content = written([row])
    assert json.loads(content) == {"predictions": [{**row, "margin": None}]}
    assert "müde" in content.decode()
