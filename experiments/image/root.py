"""A file system that stands in for an image: a stage's instructions are carried out in it."""

# Commands are those of this file and of the Dockerfile.
# ruff: noqa: S603, S607

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.image.dockerfile import Instruction, Stage, context, filled

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = "python3,python3-pip,python3-venv,ca-certificates"


def make_base(root: Path, release: str) -> None:
    """Make a small Debian with Python, pip and nothing else, as the slim images of Python are."""
    command = ["debootstrap", "--variant=minbase", f"--include={_PYTHON}", release, str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (root / "usr/bin/python").symlink_to("python3")
    for marker in (root / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    shutil.rmtree(root / "var/cache/apt")
    shutil.rmtree(root / "var/lib/apt/lists")


class Root:
    """A stage in the making.

    `own` are files and folders of this machine that its pip needs, and `settings` its variables for pip.
    """

    def __init__(self, path: Path, own: Sequence[Path], settings: Mapping[str, str]) -> None:
        self.path = path
        self.own = own
        self.settings = settings
        self.env = {"PATH": _PATH}
        self.arguments: dict[str, str] = {}
        self.user = "0"
        self.folder = "/"

    def carry_out(
        self, stage: Stage, source: Path, others: Mapping[str, "Root"], given: Mapping[str, str]
    ) -> None:
        """Carry out the instructions of a stage."""
        for one in stage.instructions:
            print(f"  {one.name} {one.text[:90]}", flush=True)
            match one.name:
                case "ARG":
                    name, _, default = one.text.partition("=")
                    self.arguments[name] = given.get(name, default)
                case "ENV":
                    self.env |= dict(word.split("=", 1) for word in one.words)
                case "USER":
                    self.user = one.text
                case "WORKDIR":
                    self.folder = one.text
                    self.inside(one.text).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(one, source)
                case "RUN":
                    self._run(one, others)

    def inside(self, path: str) -> Path:
        """A path of the image on this machine."""
        return self.path / path.lstrip("/")

    def command(self, words: Sequence[str], user: str | None = None) -> list[str]:
        """A command in the image."""
        named = self.user if user is None else user
        there = [
            "chroot",
            f"--userspec={named}:{named}",
            str(self.path),
            "/usr/bin/env",
            "--default-signal",  # background processes of a shell ignore SIGINT
            "-i",
            f"--chdir={self.folder}",
        ]
        return [*there, *(f"{name}={value}" for name, value in self.env.items()), *words]

    @contextmanager
    def mounted(self, more: Mapping[Path, str] | None = None) -> Iterator[None]:
        """Mount what a container has, and what else is named, each at its path of the image."""
        places = {
            Path("/proc"): "/proc",
            Path("/dev"): "/dev",
            **{path: str(path) for path in self.own},
            **(more or {}),
        }
        done: list[Path] = []
        try:
            for path, place in places.items():
                there = self.inside(place)
                if path.is_dir():
                    there.mkdir(parents=True, exist_ok=True)
                elif not there.exists():
                    there.parent.mkdir(parents=True, exist_ok=True)
                    there.touch()
                subprocess.run(["mount", "--rbind", str(path), str(there)], check=True)
                done.append(there)
            yield
        finally:
            for there in reversed(done):
                subprocess.run(["umount", "--recursive", "--lazy", str(there)], check=True)

    def size(self) -> int:
        """Bytes on this disk."""
        du = subprocess.run(
            ["du", "-sx", "--block-size=1", str(self.path)], check=True, capture_output=True, text=True
        )
        return int(du.stdout.split()[0])

    def _copy(self, one: Instruction, source: Path) -> None:
        if one.words != [".", "."]:
            raise ValueError(f"COPY {one.text} is not known here")
        for path in context(source):
            there = self.inside(self.folder) / path.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)

    def _run(self, one: Instruction, others: Mapping[str, "Root"]) -> None:
        more = {}
        if "mount" in one.flags:
            options = dict(word.split("=", 1) for word in one.flags["mount"].split(","))
            if options["type"] != "bind":
                raise ValueError(f"a mount of type {options['type']} is not known here")
            more[others[options["from"]].inside(options["source"])] = options["target"]
        kept = dict(self.env)
        self.env |= {**self.settings, **self.arguments}
        try:
            with self.mounted(more):
                subprocess.run(self.command(["sh", "-c", one.text]), check=True)
        finally:
            self.env = kept


def build(
    stages: Sequence[Stage], arguments: Mapping[str, str], source: Path, base: Path, own: Sequence[Path]
) -> Root:
    """Carry out all stages; the last is the image."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    made: dict[str, Root] = {}
    for number, stage in enumerate(stages):
        print(f"FROM {filled(stage.base, arguments)} AS {stage.name or 'image'}", flush=True)
        root = Root(base.with_name(f"stage{number}"), own, settings)
        subprocess.run(["cp", "--archive", str(base), str(root.path)], check=True)
        root.carry_out(stage, source, made, arguments)
        made[stage.name or "image"] = root
    return root
