"""Commits of this checkout, and a temporary worktree of one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fused_clip.support.errors import InputError

MAIN = "origin/main"


def resolve(root: Path, revision: str) -> str:
    """Find the commit to compare with: 40 hex digits.

    Parameters
    ----------
    root : folder of the checkout.
    revision : a commit, branch or tag; empty for the last tag of the present branch, or without one for the
        commit where it left ``origin/main``.

    Raises
    ------
    InputError
        If git or a checkout is missing, the revision is unknown, or an empty one leads to none or to the
        working tree itself.
    """
    if git(root, "rev-parse", "--git-dir") is None:
        raise InputError("base", "needs a git checkout, which the folder is not", str(root))
    if revision:
        commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if commit is None:
            hint = "Fetch it (git fetch --tags --unshallow), or name another"
            raise InputError("base", "must be a commit, branch or tag of this checkout", revision, hint=hint)
        return commit
    tag = git(root, "describe", "--tags", "--abbrev=0", "HEAD")
    commit = git(root, "rev-parse", f"{tag}^{{commit}}") if tag else git(root, "merge-base", "HEAD", MAIN)
    hint = "make bench-regression BASE=<commit>"
    if commit is None:
        rule = f"must be named here, where neither a tag nor a branch {MAIN} leads to the present commit"
        raise InputError("base", rule, hint=hint)
    if commit == git(root, "rev-parse", "HEAD") and not git(root, "status", "--porcelain"):
        rule = f"must be named here, where {tag or MAIN} is the working tree itself"
        raise InputError("base", rule, hint=hint)
    return commit


def git(root: Path, *arguments: str) -> str | None:
    """Run git without hooks; its output, or None if it fails.

    Raises
    ------
    InputError
        If git is not installed.
    """
    command = ["git", "-C", str(root), "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise InputError("base", "needs git, which is not installed") from None
    return done.stdout.strip() if done.returncode == 0 else None


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """Check a commit out in a temporary folder, which is gone afterwards.

    Parameters
    ----------
    root : folder of the checkout.
    commit : from `resolve`.

    Raises
    ------
    InputError
        If git can't make the worktree.
    """
    with TemporaryDirectory() as name:
        tree = Path(name, "base")
        if git(root, "worktree", "add", "--detach", str(tree), commit) is None:
            raise InputError("base", "can't be checked out in a worktree", commit, hint=f"Try it in {root}")
        try:
            yield tree
        finally:
            git(root, "worktree", "remove", "--force", str(tree))
