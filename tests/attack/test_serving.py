"""Models that MLflow serves, under load and bad requests.

Good requests get the answers of ``fused-clip-predict``, to the last digit. Bad ones get 4xx, and no traceback
or path, but where MLflow's own code refuses them.
"""

import io
import json
import random
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.attack.bad_requests import JSON, bad_requests, large_picture, whole
from tests.attack.scale import record, tries
from tests.forks import ROOT, Commands
from tests.records import png
from tests.served import Server, base64_of, mlflow_server

CLIENTS = 8
RUN = (
    "dataset=digits",
    "dataset.n_train=800",
    "dataset.n_test=50",
    "calibration.share=.3",
    "figures.enabled=false",
    "references.enabled=false",
    "tracking.registered_model=digits",
)
# Options of requests, and the same of the command.
OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "none": ({}, ()),
    "threshold": ({"threshold": 0.9}, ("--threshold", ".9")),
    "best": ({"top_k": 3, "probabilities": True}, ("--top-k", "3", "--probabilities")),
    "narrowed": (
        {"targets": "3,8,9", "prior": "3=.5,8=.25,9=.25", "target_map": "{round: ['8', '9']}"},
        ("--targets", "3,8,9", "--prior", "3=.5,8=.25,9=.25", "--target-map", "map.yaml"),
    ),
    "one": ({"targets": "3"}, ("--targets", "3")),
    "promised": (
        {"coverage": 0.9, "coverage_per": "target", "unknown": 0.1},
        ("--coverage", ".9", "--coverage-per", "target", "--unknown", ".1"),
    ),
}


@dataclass(frozen=True)
class Served:
    """A run, its images, and the answers of the command for each choice of options."""

    model: Path
    store: str
    contents: list[bytes]
    answers: dict[str, list[dict[str, Any]]]
    secret: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Served:
    root = tmp_path_factory.mktemp("served")
    done = commands("run", *RUN, f"output_dir={root / 'out'}", cwd=root)
    assert done.code == 0, done.said
    (model,) = (root / "out" / "runs").glob("*/*")
    contents = pictures()
    for n, content in enumerate(contents):
        place = root / "pictures" / f"{n:03}.{'png' if content[1:4] == b'PNG' else 'jpg'}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    (root / "map.yaml").write_text("{round: ['8', '9']}")
    answers = {}
    for name, (_, words) in OPTIONS.items():
        out = root / f"{name}.jsonl"
        done = commands("predict", model, root / "pictures", "--out", out, *words, cwd=root)
        assert done.code == 0, done.said
        answers[name] = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row.pop("path")[-7:-4] for row in answers[name]] == [f"{n:03}" for n in range(len(contents))]
    secret = root / "secret.png"
    secret.write_bytes(png())
    return Served(model, f"sqlite:///{root / 'out' / 'mlflow.db'}", contents, answers, str(secret))


def pictures() -> list[bytes]:
    """Real digits, and cuts of two photos, as PNG and JPEG of many sizes."""
    from sklearn.datasets import load_digits, load_sample_images

    images = [
        np.kron(digit / 16 * 255, np.ones((4, 4))).astype(np.uint8) for digit in load_digits().images[:40]
    ]
    for n in range(24):
        photo = load_sample_images().images[n % 2]
        images.append(photo[n : n + 60 + 15 * n, 2 * n : 2 * n + 400 - 10 * n])
    found = []
    for n, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG" if n % 2 else "JPEG")
        found.append(file.getvalue())
    return found


def formats(cells: list[str]) -> list[dict[str, Any]]:
    """A request in each format that both servers take."""
    return [
        {"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}},
        {"dataframe_records": [{"image": cell} for cell in cells]},
        {"instances": cells},
        {"instances": [{"image": cell} for cell in cells]},
        {"inputs": cells},
    ]


class Load:
    """Requests of many clients to a server, and what was wrong with the answers."""

    def __init__(self, server: Server, served: Served) -> None:
        self.server = server
        self.served = served
        self.bad = bad_requests(served.secret)
        self.bodies = {name: bad.make() for name, bad in self.bad.items()}
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.wrong: list[str] = []

    def run(self, count: int) -> None:
        """Send `count` good requests, and each bad one at least once in between, from all clients."""
        jobs: list[Callable[[], None]] = [lambda seed=seed: self.good(seed) for seed in range(count)]  # type: ignore[misc]
        times = max(1, count // 200)
        jobs += [lambda name=name: self.refused(name) for name in self.bad for _ in range(times)]  # type: ignore[misc]
        jobs += [lambda seed=seed: self.dropped(seed) for seed in range(count // 20)]  # type: ignore[misc]
        random.Random(0).shuffle(jobs)
        with ThreadPoolExecutor(CLIENTS) as clients:
            for done in [clients.submit(job) for job in jobs]:
                done.result()

    def good(self, seed: int) -> None:
        """One image or some, in one of the formats, under one of the options."""
        rng = random.Random(seed)
        size = 1 if rng.random() < 0.7 else rng.randrange(2, 12)
        chosen = rng.sample(range(len(self.served.contents)), size)
        option = rng.choice(list(OPTIONS))
        body = rng.choice(formats([base64_of(self.served.contents[n]) for n in chosen]))
        params = OPTIONS[option][0]
        reply = self.server.post({**body, **({"params": params} if params else {})})
        wanted = [self.served.answers[option][n] for n in chosen]
        if option == "promised":
            wanted = [{**row, "guarantee": "0.9 per target, untested for shift"} for row in wanted]
        self.counts["good"] += 1
        self.seconds.append(reply.seconds)
        if reply.status != 200 or [*map(items, reply.records)] != [*map(items, wanted)]:
            self.wrong.append(
                f"{option} {list(body)}: {reply.status} {reply.text[:300]}\nnot {wanted}"[:1000]
            )

    def refused(self, name: str) -> None:
        bad = self.bad[name]
        reply = self.server.post(self.bodies[name], bad.kind)
        self.counts["bad"] += 1
        problems = [] if reply.status in bad.statuses else [f"status {reply.status}, not {bad.statuses}"]
        problems += [] if bad.shows_traceback else leaks(reply.text, self.served)
        if problems:
            self.wrong.append(f"{name}: {problems}: {reply.text[:500]}")

    def dropped(self, seed: int) -> None:
        """A client that goes before its request is whole, or before the answer."""
        body = whole(base64_of(self.served.contents[seed % len(self.served.contents)]))
        sent = body if seed % 2 else body[: len(body) // 2]
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.sendall(head(len(body)) + sent)
        self.counts["dropped"] += 1

    def check(self) -> None:
        assert not self.wrong, "\n".join(self.wrong[:20])
        assert self.server.process.poll() is None, "it ended"
        assert self.server.ask("GET", "/ping").status == 200

    def record(self, name: str, before: int) -> None:
        middle, most, almost_all = (round(1000 * float(x)) for x in np.percentile(self.seconds, [50, 95, 99]))
        record(
            name,
            **self.counts,
            wrong=len(self.wrong),
            median_ms=middle,
            p95_ms=most,
            p99_ms=almost_all,
            MB_at_first=before >> 20,
            MB_at_most=self.server.most >> 20,
            MB_at_last=self.server.memory() >> 20,
        )


def items(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """Columns in order."""
    return list(row.items())


def head(length: int) -> bytes:
    lines = ("POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {JSON}", f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def leaks(text: str, served: Served) -> list[str]:
    """What an answer shows of the server."""
    own = str(served.model.parents[3])
    signs = ("Traceback", 'File "', "site-packages", '.py"', ".py:", str(ROOT), own)
    # A server may repeat what a client sent, a path included.
    plain = text.replace(served.secret, "").replace(served.secret[:50], "")
    return [f"shows {sign}" for sign in signs if sign in plain]


def together(server: Server, served: Served) -> None:
    """All images in one request are tested for shift, as the command tests them."""
    params, _ = OPTIONS["promised"]
    reply = server.post({"inputs": list(map(base64_of, served.contents)), "params": params})
    assert reply.records == served.answers["promised"]


@pytest.mark.slow
def test_a_served_model_under_load(served: Served, tmp_path: Path) -> None:
    with mlflow_server("models:/digits/1", tmp_path / "log", MLFLOW_TRACKING_URI=served.store) as server:
        before = server.memory()
        load = Load(server, served)
        load.run(tries(100, 1000))
        load.record("served", before)
        load.check()
        together(server, served)
        assert server.post(whole(base64_of(large_picture()))).status == 200
        assert server.most - before < 1_500_000_000
        slow_clients(server, served)


def slow_clients(server: Server, served: Served) -> None:
    """Clients that never end their request do not hold up others."""
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    for n, client in enumerate(slow):
        client.sendall([b"", b"POST /invoc", head(100_000) + b'{"inputs": ["'][n % 3])
    body = whole(base64_of(served.contents[0]))
    assert server.post(body).records == [served.answers["none"][0]]
    for client in slow:
        client.close()
    assert server.post(body).records == [served.answers["none"][0]]
