"""Where the files of a hub set are: a mirror, Hugging Face's cache, or the hub itself."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fused_clip.support.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 3.0  # seconds to reach the hub


class HubFiles(NamedTuple):
    """Files of each split, and where they came from."""

    files: Mapping[str, Sequence[Path]]
    description: str


def mirror(data_dir: str, folder: str, splits: Sequence[str]) -> HubFiles:
    """Find ``<data_dir>/<folder>/<split>-*.parquet``.

    Parameters
    ----------
    data_dir : directory of mirrors.
    folder : of the set.
    splits : names.
    """
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        hint = "Set data_dir (or FUSED_CLIP_DATA) to a mirror, or data_dir=null to use the hub"
        raise InputError("data_dir", "must be an existing directory", str(data_dir), hint=hint)
    files = {split: _parquet(root / folder, split) for split in splits}
    for split, found in files.items():
        if not found:
            there = sorted({file.parent.name for file in root.glob("*/*.parquet")})
            rule = f"the mirror must contain {folder}/{split}-*.parquet, all parts of it"
            hint = f"It has: {', '.join(there) or 'nothing'}. data_dir=null uses the hub"
            raise InputError("data_dir", rule, str(data_dir), hint=hint)
    return HubFiles(files, f"mirror {root / folder}")


def _parquet(folder: Path, split: str) -> list[Path]:
    """Parquet files of a split: all its parts, or none."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    of = [re.search(r"-of-(\d+)", file.name) for file in files]
    return files if all(parts is None or int(parts[1]) == len(files) for parts in of) else []


def hugging_face(path: str, revision: str, config_name: str | None, splits: Sequence[str]) -> HubFiles:
    """Find files in Hugging Face's caches without asking the hub, else fetch them from it.

    In a cache, the revision ``main`` is the one fetched last.

    Parameters
    ----------
    path : id of the set.
    revision : branch, tag or commit.
    config_name : configuration; None for the only one.
    splits : names.
    """
    snapshot = _snapshot(path, revision)
    commit = snapshot.name if snapshot else revision
    return (
        _prepared(path, None if revision == "main" else commit, config_name, splits)
        or _downloaded(path, snapshot, config_name, splits)
        or _fetched(path, revision, config_name, splits)
    )


def _prepared(
    path: str, commit: str | None, config_name: str | None, splits: Sequence[str]
) -> HubFiles | None:
    """Arrow files that ``datasets`` made: of a commit, or the newest."""
    for folder in _arrow_folders(path, config_name):
        files = {split: _arrow(folder, split) for split in splits}
        if commit in (None, folder.name) and all(files.values()):
            return HubFiles(files, f"Hugging Face cache of {path}@{folder.name}")
    return None


def _downloaded(
    path: str, snapshot: Path | None, config_name: str | None, splits: Sequence[str]
) -> HubFiles | None:
    """Parquet files as they came from the hub."""
    if snapshot is None:
        return None
    found: list[tuple[str, dict[str, list[Path]]]] = []
    for folder in sorted({file.parent for file in snapshot.rglob("*.parquet")}):
        files = {split: _parquet(folder, split) for split in splits}
        if config_name in (None, folder.name) and all(files.values()):
            found.append((folder.name, files))
    _one_configuration(path, config_name, {name for name, _ in found})
    return HubFiles(found[0][1], f"Hugging Face cache of {path}@{snapshot.name}") if found else None


def _snapshot(path: str, revision: str) -> Path | None:
    """Folder of the hub's own files, named after their commit, if they were fetched whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            path, repo_type="dataset", revision=revision, local_files_only=True, allow_patterns="*.parquet"
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        rule = "must be the id of a set on the hub, e.g. ylecun/mnist"
        raise InputError("dataset.path", rule, path) from error
    return Path(found)


def _arrow_folders(path: str, config_name: str | None) -> list[Path]:
    """Folders ``<set>/<configuration>/<version>/<commit>`` that ``datasets`` prepared, newest first."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    *owner, name = path.split("/")
    root = Path(config.HF_DATASETS_CACHE, "___".join([*owner, camelcase_to_snakecase(name)]))
    folders = [folder for folder in root.glob(f"{config_name or '*'}/*/*") if _COMMIT.fullmatch(folder.name)]
    _one_configuration(path, config_name, {folder.parent.parent.name for folder in folders})
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _one_configuration(path: str, config_name: str | None, known: Iterable[str]) -> None:
    names = sorted(known)
    if len(names) > 1:
        rule = f"must name one of the configurations of {path}"
        raise InputError("dataset.config_name", rule, config_name, choices=names)


def _arrow(folder: Path, split: str) -> list[Path]:
    """Arrow files of a split; the name of a split has no hyphen."""
    endings = f"{split}.arrow", f"{split}-[0-9]*-of-[0-9]*.arrow"
    return sorted(file for ending in endings for file in folder.glob(f"*-{ending}"))


def _fetched(path: str, revision: str, config_name: str | None, splits: Sequence[str]) -> HubFiles:
    commit = _commit(path, revision)
    from datasets import load_dataset_builder

    builder = load_dataset_builder(path, config_name, revision=commit)
    builder.download_and_prepare()
    files = {split: _arrow(Path(builder.cache_dir), split) for split in splits}
    for split, found in files.items():
        if not found:
            rule = f"must have a split {split!r}"
            raise InputError("dataset.path", rule, path, choices=sorted(builder.info.splits or ()))
    return HubFiles(files, f"Hugging Face hub {path}@{commit}")


def _commit(path: str, revision: str) -> str:
    """Ask the hub which commit a revision is; once, so that an answer comes in seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().dataset_info(path, revision=revision, timeout=_TIMEOUT).sha
    except RepositoryNotFoundError as error:
        raise InputError("dataset.path", "must be a set on the hub that you may read", path) from error
    except RevisionNotFoundError as error:
        rule = f"must be a branch, tag or commit of {path}"
        raise InputError("dataset.revision", rule, revision) from error
    except Exception as error:  # the hub's client lets through the errors of its HTTP library
        raise InputError(
            "dataset.path",
            f"the hub can't be reached ({type(error).__name__}: {error}), and it is in no cache",
            path,
            hint="To work offline set data_dir or FUSED_CLIP_DATA to a folder with "
            f"{path.split('/')[-1]}/<split>-*.parquet, or bring a filled cache (HF_HOME)",
        ) from error
    return str(commit)
