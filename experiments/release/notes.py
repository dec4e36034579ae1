"""Notes of a release: ``python -m experiments.release.notes v0.1.0 --out notes.md``.

The tag must be the version of `fused_clip`, and CHANGELOG.md must have a section of it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.release import ROOT
from fused_clip.support.errors import InputError
from fused_clip.support.versions import own_version


def notes(tag: str, version: str, changelog: str) -> str:
    """Return the section of a version without its heading.

    Parameters
    ----------
    tag : of git, ``v`` and the version.
    version : of the package.
    changelog : text of CHANGELOG.md, with a heading ``## [version]`` or ``## [version] - date``.

    Raises
    ------
    InputError
        If the tag names another version, or the section is missing or empty.
    """
    if tag != f"v{version}":
        raise InputError("tag", f"must be v{version}, as __version__ in fused_clip/__init__.py says", tag)
    heading = re.compile(rf"^## \[{re.escape(version)}\].*$", re.MULTILINE)
    found = heading.search(changelog)
    following = re.compile(r"^(?:## |\[[^\]]+\]: )", re.MULTILINE)
    end = found and following.search(changelog, found.end())
    section = changelog[found.end() : end.start() if end else None].strip() if found else ""
    if not section:
        rule = f"needs a section ## [{version}] with what changed"
        raise InputError("CHANGELOG.md", rule, hint="Rename [Unreleased]")
    return f"{section}\n"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return the exit code: 1 if the release may not be made.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    root : folder of the repository.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.release.notes", description=__doc__)
    parser.add_argument("tag", help="name of the tag, such as v0.1.0")
    parser.add_argument("--out", type=Path, help="file for the notes; by default they are printed")
    args = parser.parse_args(arguments)
    try:
        text = notes(args.tag, own_version(), (root / "CHANGELOG.md").read_text(encoding="utf-8"))
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
