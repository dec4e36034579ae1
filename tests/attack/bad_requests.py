"""Requests that a server of a model must refuse, and how."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from PIL import Image

from tests.records import png
from tests.served import base64_of

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
LARGE = 50_000_000  # bytes of a body


@dataclass(frozen=True)
class Bad:
    """A request with something wrong in it.

    MLflow's own code refuses some before ours is called: it may answer 500, or show its traceback.
    """

    make: Callable[[], bytes]
    kind: str | None = JSON
    statuses: tuple[int, ...] = (400,)
    shows_traceback: bool = False


def whole(cell: Any, **params: Any) -> bytes:
    """A request for one image."""
    return json.dumps({"inputs": [cell], **({"params": params} if params else {})}).encode()


def split(columns: list[Any], *rows: list[Any]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": columns, "data": list(rows)}}).encode()


def bomb(side: int = 30_000) -> bytes:
    """A whole PNG of white pixels, one bit each: 112 MB of them in 110 kB, 2.7 GB as RGB."""
    deflate = zlib.compressobj(1)
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    packed = b"".join([*(deflate.compress(row) for _ in range(side)), deflate.flush()])

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def boastful_jpeg() -> bytes:
    """A JPEG of 32 x 32 pixels that states 65,500 x 65,500."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(file, "JPEG")
    content = bytearray(file.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(content)


def large_picture() -> bytes:
    """A BMP of 37 MB."""
    file = io.BytesIO()
    Image.new("RGB", (3500, 3500), "teal").save(file, "BMP")
    return file.getvalue()


def bad_requests(secret: str) -> dict[str, Bad]:
    """Make bad requests.

    `secret` is the path of an image on the disk of the server.
    """
    good = base64_of(png())

    def parquet(table: pd.DataFrame) -> bytes:
        file = io.BytesIO()
        table.to_parquet(file)
        return file.getvalue()

    def of(body: bytes) -> Callable[[], bytes]:
        return lambda: body

    return {
        "no body": Bad(of(b"")),
        "broken JSON": Bad(of(b'{"inputs": [')),
        "no UTF-8": Bad(of(b'{"inputs": ["\xff\xfe"]}')),
        "a list": Bad(of(b"[1]")),
        "a number": Bad(of(b"3")),
        "NaN": Bad(of(b'{"inputs": [NaN]}')),
        "infinity": Bad(of(b'{"inputs": [1e999]}')),
        "deep JSON": Bad(of(b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), statuses=(400, 500)),
        "a number of 10,000 digits": Bad(of(b'{"inputs": [' + b"9" * 10_000 + b"]}"), statuses=(400, 500)),
        "half a character": Bad(of(b'{"inputs": ["\\ud800"]}'), statuses=(400, 500)),
        "no images": Bad(of(json.dumps({"inputs": []}).encode())),
        "no rows": Bad(of(split(["image"]))),
        "too many images": Bad(of(json.dumps({"inputs": [good] * 1001}).encode())),
        "null images": Bad(of(json.dumps({"inputs": None}).encode())),
        "two formats": Bad(of(json.dumps({"inputs": [good], "instances": [good]}).encode())),
        "no format": Bad(of(json.dumps({"images": [good]}).encode())),
        "a chat": Bad(of(json.dumps({"messages": [{"role": "user", "content": secret}]}).encode())),
        "a prompt": Bad(of(json.dumps({"prompt": "x", "path": [secret]}).encode())),
        "a null": Bad(of(split(["image"], [None]))),
        "an integer": Bad(of(split(["image"], [3]))),
        "an object": Bad(of(split(["image"], [{"b64": good}]))),
        "a nested list": Bad(of(split(["image"], [[good]]))),
        "two cells in a column": Bad(of(split(["image"], [good, good]))),
        "a column twice": Bad(of(split(["image", "image"], [good, good]))),
        "another column": Bad(of(split(["label"], [good]))),
        "a column without a name": Bad(of(split([None], [good]))),
        "no base64": Bad(of(whole("!!!"))),
        "no image": Bad(of(whole(base64_of(b"hello")))),
        "a truncated PNG": Bad(of(whole(base64_of(png()[:60])))),
        "a bomb": Bad(lambda: whole(base64_of(bomb()))),
        "a boastful JPEG": Bad(of(whole(base64_of(boastful_jpeg())))),
        "a thin image": Bad(of(whole(base64_of(png(size=(3000, 2)))))),
        "a bad one of many": Bad(of(json.dumps({"inputs": [good] * 20 + [good[:40]]}).encode())),
        "a threshold above 1": Bad(of(whole(good, threshold=2))),
        "a threshold of text": Bad(of(whole(good, threshold="high"))),
        "a target that is none": Bad(of(whole(good, targets="unicorn"))),
        "a prior that is none": Bad(of(whole(good, prior="0=.5"))),
        "a deep map": Bad(of(whole(good, target_map="[" * 5000))),
        "a map of aliases": Bad(of(whole(good, target_map=_LAUGHS))),
        "too many answers": Bad(of(whole(good, top_k=11))),
        "coverage of 1": Bad(of(whole(good, coverage=1.0))),
        "coverage per cow": Bad(of(whole(good, coverage=0.9, coverage_per="cow"))),
        "too little unknown": Bad(of(whole(good, unknown=1e-6))),
        "params that are a list": Bad(of(json.dumps({"inputs": [good], "params": [1]}).encode())),
        "a path in inputs": Bad(of(whole(secret))),
        "a path in a split": Bad(of(split(["path"], [secret]))),
        "a path in records": Bad(of(json.dumps({"dataframe_records": [{"path": secret}]}).encode())),
        "a path in instances": Bad(of(json.dumps({"instances": [{"path": secret}]}).encode())),
        "a path in CSV": Bad(of(f"path\n{secret}\n".encode()), CSV),
        "a path in Parquet": Bad(lambda: parquet(pd.DataFrame({"path": [secret]})), PARQUET),
        "broken CSV": Bad(of(b'a,b\n1\n"'), CSV, shows_traceback=True),
        "broken Parquet": Bad(of(b"PAR1xx"), PARQUET, shows_traceback=True),
        "no type": Bad(of(whole(good)), None, (400, 415, 500)),
        "another type": Bad(of(whole(good)), "application/xml", (415,)),
        "another charset": Bad(of(whole(good)), f"{JSON}; charset=latin-1", (415,)),
        "50 MB of no JSON": Bad(lambda: b"x" * LARGE),
        "50 MB of no image": Bad(lambda: whole("QUJD" * (LARGE // 4))),
    }


_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
)
