"""Build the image of the Dockerfile and try it: ``python -m experiments.image``.

With Docker it builds the image ``fused-clip`` and runs it. Without, as root, it makes a small Debian with
debootstrap and carries out the Dockerfile's instructions in it, with this machine's settings of pip. Then a
run is made in the image, its model is served as the entry point does, asked, and used by fused-clip-predict.
"""

# Commands and addresses are those of this file and of the Dockerfile.
# ruff: noqa: S310, S603, S606, S607

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from signal import Signals
from tempfile import mkdtemp
from urllib.request import Request, urlopen

import psutil

from experiments.image import dockerfile
from experiments.image.root import Root, build, make_base

REPOSITORY = Path(__file__).parents[2]
RUN = (
    "dataset=digits",
    "dataset.n_train=300",
    "dataset.n_test=60",
    "references.enabled=false",
    "figures.enabled=false",
    "output_dir=/outputs",
    "tracking.registered_model=tried",
)
MODEL = "models:/tried/1"
STORE = "sqlite:////outputs/mlflow.db"
URL = "http://127.0.0.1:5000"
SECONDS = 900  # until the server must be healthy, on a busy machine
SECONDS_TO_END = 60  # Docker allows 10; a busy machine may need more
MEGABYTE = 1_000_000


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.image", description=__doc__)
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as of docker build"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the file systems of an image without Docker"
    )
    args = parser.parse_args()
    given = dict(word.split("=", 1) for word in args.build_arg)
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        _with_docker(args.build_arg)
    elif "FUSED_CLIP_IMAGE_MOUNTS" not in os.environ:
        # Mounts of a namespace of our own are gone when it ends, however it ends.
        os.environ["FUSED_CLIP_IMAGE_MOUNTS"] = "own"
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "experiments.image"]
        os.execvp(words[0], [*words, *sys.argv[1:]])
    else:
        _without_docker(given, keep=args.keep)


def _with_docker(build_args: Sequence[str]) -> None:
    start = time.monotonic()
    words = [word for one in build_args for word in ("--build-arg", one)]
    subprocess.run(["docker", "build", *words, "--tag", "fused-clip", str(REPOSITORY)], check=True)
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", "fused-clip"],
        check=True,
        capture_output=True,
        text=True,
    )
    print(f"built in {time.monotonic() - start:.0f} s, {int(size.stdout) / MEGABYTE:,.0f} MB")
    outputs = Path(mkdtemp(prefix="fused-clip-outputs-"))
    outputs.chmod(0o777)
    there = [
        "docker",
        "run",
        "--rm",
        "--volume",
        f"{outputs}:/outputs",
        "--env",
        f"MLFLOW_TRACKING_URI={STORE}",
    ]
    try:
        subprocess.run([*there, "--entrypoint", "fused-clip", "fused-clip", *RUN], check=True)
        named = ["--publish", "5000:5000", "--name", "fused-clip-tried"]
        server = subprocess.Popen([*there, *named, "fused-clip", "-m", MODEL])
        try:
            _wait(server, lambda: _answers("/ping"))
            _ask()
        finally:
            subprocess.run(["docker", "stop", "fused-clip-tried"], check=True, stdout=subprocess.DEVNULL)
        words = ["--entrypoint", "fused-clip-predict", "fused-clip", *_predict(outputs)]
        subprocess.run([*there, *words], check=True)
        print((outputs / "answers.csv").read_text())
    finally:
        shutil.rmtree(outputs)


def _without_docker(given: dict[str, str], *, keep: bool) -> None:
    for needed in ("debootstrap", "chroot", "mount"):
        if not shutil.which(needed) or os.geteuid():
            sys.exit(f"Error: without Docker this needs root and {needed}.")
    if _answers("/ping"):
        sys.exit(f"Error: something answers at {URL}: the image is tried there.")
    defaults, stages = dockerfile.read(REPOSITORY / "Dockerfile")
    place = Path(mkdtemp(prefix="fused-clip-image-"))
    try:
        base = place / "base"
        seconds = _timed(lambda: make_base(base, _release({**defaults, **given}["BASE"])))
        before = Root(base, (), {}).size()
        print(f"base: {seconds:.0f} s, {before / MEGABYTE:,.0f} MB", flush=True)
        start = time.monotonic()
        image = build(stages, {**defaults, **given}, REPOSITORY, base, _pips_own())
        seconds = time.monotonic() - start
        print(
            f"image: {seconds:.0f} s, {(image.size() - before) / MEGABYTE:,.0f} MB more than the base",
            flush=True,
        )
        _largest(image)
        _check_files(image)
        _try(image, stages[-1], place)
    finally:
        if keep:
            print(f"kept: {place}")
        else:
            shutil.rmtree(place)


def _try(image: Root, stage: dockerfile.Stage, place: Path) -> None:
    """What a user does with it: a run, requests to its model, a table of answers."""
    health, entry, stop = (stage.last(name) for name in ("HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL"))
    if health is None or entry is None or stop is None:
        sys.exit("Error: the Dockerfile needs HEALTHCHECK, ENTRYPOINT and STOPSIGNAL.")
    outputs = place / "outputs"
    outputs.mkdir()
    outputs.chmod(0o777)
    image.own = ()
    image.env["MLFLOW_TRACKING_URI"] = STORE
    with image.mounted({outputs: "/outputs"}):
        subprocess.run(image.command(["fused-clip", *RUN]), check=True)
        start = time.monotonic()
        server = subprocess.Popen(image.command([*entry.words, "-m", MODEL]))
        try:
            check = json.loads(health.text.removeprefix("CMD").strip())
            _wait(server, lambda: not subprocess.run(image.command(check), capture_output=True).returncode)
            print(f"healthy after {time.monotonic() - start:.0f} s")
            _ask()
            family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            if {one.uids().real for one in family} != {int(image.user)}:
                sys.exit("Error: the server belongs to another user.")
            print(f"resident: {max(one.memory_info().rss for one in family) / MEGABYTE:,.0f} MB")
        finally:
            server.send_signal(Signals[stop.text])
            code = server.wait(60)
        print(
            f"{stop.text}: ended with {code}; {'still answers' if _answers('/ping') else 'the port is free'}"
        )
        subprocess.run(image.command(["fused-clip-predict", *_predict(outputs)]), check=True)
    print((outputs / "answers.csv").read_text())


def _end(server: "subprocess.Popen[bytes]", stop: Signals) -> None:
    """Stop the server as Docker does, with the time that it allows, and then by force."""
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    start = time.monotonic()
    server.send_signal(stop)
    _, alive = psutil.wait_procs(family, timeout=SECONDS_TO_END)
    for one in alive:
        one.kill()
    server.wait()
    if alive:
        sys.exit(f"Error: {stop.name} does not end the server.")
    print(f"ended by {stop.name} after {time.monotonic() - start:.0f} s")


def _picture() -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (32, 32), "grey").save(file, "PNG")
    return file.getvalue()


def _predict(outputs: Path) -> list[str]:
    (outputs / "grey.png").write_bytes(_picture())
    return [MODEL, "/outputs/grey.png", "--out", "/outputs/answers.csv"]


def _ask() -> None:
    body = json.dumps({"inputs": [base64.b64encode(_picture()).decode()]}).encode()
    request = Request(f"{URL}/invocations", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        print(answer.read().decode())


def _answers(path: str) -> bool:
    try:
        with urlopen(URL + path, timeout=5):
            return True
    except OSError:
        return False


def _wait(server: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            sys.exit("Error: the server ended, or is not healthy in time.")
        time.sleep(0.5)


def _timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _release(base: str) -> str:
    """Release of Debian that a slim image of Python is made of: the last word of its tag."""
    return base.rpartition("-")[2]


def _pips_own() -> list[Path]:
    """Files and folders of this machine that its pip uses: settings, certificates, folders of wheels."""
    pip = [sys.executable, "-m", "pip", "config"]
    said = "".join(
        subprocess.run([*pip, word], check=True, capture_output=True, text=True).stdout
        for word in ("debug", "list")
    )
    files = re.findall(r"^\s*(/\S+), exists: True", said, re.MULTILINE)
    values = re.findall(r"(?:file://)?(/[^\s'\"]+)", "\n".join(re.findall(r"='(.*)'", said)))
    # An index of files refers to the folder above it.
    found = [Path(path).parent if "simple" in Path(path).name else Path(path) for path in (*files, *values)]
    return sorted({path for path in found if path.exists()})


def _largest(image: Root) -> None:
    (packages,) = image.path.glob("usr/local/lib/python3*/dist-packages")
    du = subprocess.run(
        ["du", "--max-depth=1", "--block-size=1000000", str(packages)], check=True, capture_output=True
    )
    sizes = sorted(
        (int(size), Path(path).name) for size, path in map(str.split, du.stdout.decode().splitlines())
    )
    print("largest, in MB:", ", ".join(f"{name} {size}" for size, name in sizes[-12:-1][::-1]))


def _check_files(image: Root) -> None:
    """Nothing is left that only the build needed."""
    left = [
        path
        for path in ("root/.cache", "tmp/pip-*", "wheels/*", "source", "var/lib/apt/lists/*")
        if any(image.path.glob(path))
    ]
    if left:
        sys.exit(f"Error: left in the image: {', '.join(left)}")


if __name__ == "__main__":
    main()
