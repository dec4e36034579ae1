"""Training rows of a finished run, and their pictures: evidence for its answers and against its labels."""

import io
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.checksums import intact
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.dataset.image_dataset import ImageDataset, Images

log = logging.getLogger(__name__)

FILES = ("predictions.parquet", "embeddings.npz", "config.yaml")
_VECTORS = "fused_clip.dataset.embeddings"  # a dataset that comes embedded, and is in no store
_NO_PIXELS = "they are vectors"


def run_directory(place: str | Path, option: str) -> Path:
    """Find the directory of a run.

    Parameters
    ----------
    place : the directory, or the folder ``model`` in it.
    option : names the place in errors.

    Raises
    ------
    InputError
        If its files are not there.
    """
    place = Path(place).expanduser()
    for folder in [place, *([place.parent] if place.name == "model" else [])]:
        if all((folder / name).is_file() for name in FILES):
            return folder
    lacking = next(name for name in FILES if not (place / name).is_file())
    rule = f"needs the directory of a run, which has its training rows, and there is no {lacking} in it"
    raise InputError(option, rule, str(place), hint="Give a directory such as outputs/latest")


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training rows of a finished run, in the order of its ``predictions.parquet``.

    Parameters
    ----------
    directory : of the run.
    target_names : K names.
    ids : n stable row names.
    targets : (n,) target of the given label, in [0, K); all -1 where no label is known.
    clusters : (n,) cluster of each row; -1 is noise.
    prompts : (n,) prompt that each row was fused with; -1 without text.
    images : (n, d) image embeddings, as the backbone gave them.
    texts : (p, d) text rows as they were fused, before any normalisation; (0, 0) without text.
    rows : (n,) rows of the parent split of images.
    fingerprint : of the parent split of images.
    """

    directory: Path
    target_names: tuple[str, ...]
    ids: tuple[str, ...]
    targets: IntArray
    clusters: IntArray
    prompts: IntArray
    images: FloatArray
    texts: FloatArray
    rows: IntArray
    fingerprint: str

    @classmethod
    def of(cls, directory: Path, option: str) -> Self:
        """Read them.

        Parameters
        ----------
        directory : of the run, as `run_directory` finds it.
        option : names the run in errors.

        Raises
        ------
        InputError
            If a file of the run is damaged, or the embeddings of its training images are no longer there.
        """
        with np.load(io.BytesIO(intact(option, directory, "embeddings.npz")), allow_pickle=False) as file:
            names = tuple(map(str, file["target_names"]))
            rows, prompts = file["train_store_rows"], file["train_prompts"]
            keys, texts = json.loads(str(file["store_keys"])), file["text_embeddings"]
        table = _table(intact(option, directory, "predictions.parquet"))
        position = {name: index for index, name in enumerate(names)}
        return cls(
            directory,
            names,
            tuple(table["row_id"]),
            np.array([position.get(name, -1) for name in table["target"]], dtype=np.int64),
            np.asarray(table["cluster"], dtype=np.int64),
            prompts,
            _images(directory, keys, rows, option),
            texts,
            rows,
            keys["train_images"],
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known."""
        return bool((self.targets >= 0).all())

    @cached_property
    def text_uses_labels(self) -> bool:
        """Whether the text rows were made with the labels of these rows."""
        text = _config(self.directory).get("text")
        return bool(isinstance(text, dict) and text.get("uses_labels", False))

    @cached_property
    def dataset(self) -> "ImageDataset":
        """The run's dataset, made again from its ``config.yaml``.

        Raises
        ------
        InputError
            If it can't be made, or its images are no longer those of the run. Parts of your own code are not
            called: a run's files can't choose code to run.
        """
        return _dataset(self.directory, self.fingerprint)

    @cached_property
    def prompt_of_target(self) -> IntArray | None:
        """(K,) prompt that stands for each target, made again with the dataset; None without text.

        Raises
        ------
        InputError
            As `dataset`.
        """
        return _prompt_of_target(self.directory, self.dataset)

    @cached_property
    def _pictures(self) -> "Images | None":
        """The images; None, with a warning, where they are gone or can't be had."""
        from fused_clip.dataset.vectors import Vectors

        try:
            images = self.dataset.train.images
            reason = _NO_PIXELS if isinstance(images, Vectors) else ""
        except (InputError, OSError) as error:
            reason = str(error)
        if reason:
            log.warning("No thumbnails of training images: %s", reason)
        return None if reason else images

    def thumbnail(self, position: int) -> bytes | None:
        """Picture of a training image as WebP; None where it can't be had.

        Parameters
        ----------
        position : of the row, in [0, n).

        Raises
        ------
        IndexError
            If there is no such row.
        """
        from fused_clip.dataset.thumbnails import thumbnail_of_pixels

        row = self.rows[position : position + 1] if position >= 0 else self.rows[:0]
        if not len(row):
            raise IndexError(f"there is no training row {position}")
        if self._pictures is None:
            return None
        try:
            return thumbnail_of_pixels(next(iter(self._pictures.read(row))))
        except (InputError, OSError) as error:
            log.warning("No thumbnail of %s: %s", self.ids[position], error)
            return None

    def thumbnails(self, positions: Iterable[int]) -> dict[int, bytes]:
        """Pictures of several training images by position; those that can't be had are left out.

        Parameters
        ----------
        positions : of the rows, each in [0, n).
        """
        # In the order of the parent split, so that each part of a table is read once.
        ordered = sorted(set(positions), key=lambda position: int(self.rows[position]))
        found = ((position, self.thumbnail(position)) for position in ordered)
        return {position: picture for position, picture in found if picture is not None}


def _table(content: bytes) -> Any:
    """Columns of the training rows, each a list."""
    import pyarrow.parquet as parquet

    columns = ["row_id", "target", "cluster"]
    return parquet.read_table(
        io.BytesIO(content), columns=columns, filters=[("split", "=", "train")]
    ).to_pydict()


def _images(directory: Path, keys: dict[str, str], rows: IntArray, option: str) -> FloatArray:
    """(n, d) embeddings from the store of the run's output_dir, or from the data if they came embedded."""
    from fused_clip.store import Store

    config = _config(directory)
    if dict(config.get("dataset") or {}).get("_target_") == _VECTORS:
        vectors: FloatArray = _dataset(directory, keys["train_images"]).train.images.vectors[rows]  # type: ignore[attr-defined]
        return vectors
    stores = [parent / "store" for parent in directory.resolve().parents]
    stores.append(Path(str(config.get("output_dir", ""))) / "store")
    places = [place for place in stores if place.is_dir()]
    for place in places:
        try:
            return Store(place).stored(keys["train_images"], keys["backbone_fingerprint"], rows)
        except InputError:
            continue  # a folder above may be of another project
    rule = "needs the embeddings of the run's training images, and no store above its directory has them"
    looked = ", ".join(map(str, places)) or str(stores[0])
    hint = "Run again with the same options: that fills the store"
    raise InputError(option, f"{rule} ({looked})", str(directory), hint=hint)


def _config(directory: Path) -> dict[str, Any]:
    from fused_clip.tracking.records import read_config

    intact("run", directory, "config.yaml")
    return read_config(directory / "config.yaml")


def _dataset(directory: Path, fingerprint: str) -> "ImageDataset":
    from fused_clip.runner.build import make_dataset
    from fused_clip.runner.config import DatasetOptions

    config = _config(directory)
    dataset = make_dataset(_options(DatasetOptions, config, "dataset"), config.get("data_dir"))
    if dataset.train.images.fingerprint != fingerprint:
        rule = "its images are no longer those of the run, or paths in its config.yaml start elsewhere"
        raise InputError("dataset", rule, dataset.name, hint="Start the command where the run was started")
    return dataset


def _prompt_of_target(directory: Path, dataset: "ImageDataset") -> IntArray | None:
    from fused_clip.runner.config import PromptOptions, build

    found: IntArray | None = build(
        _options(PromptOptions, _config(directory), "prompt"), dataset=dataset
    ).prompt_of_target
    return found


def _options(kind: Any, config: dict[str, Any], group: str) -> Any:
    """Options of a group as a run's file has them, with parts of this package alone."""
    from pydantic import ValidationError

    from fused_clip.runner.targets import check_targets
    from fused_clip.support.option_types import complaints

    node = config.get(group)
    check_targets(group, node)
    try:
        return kind.model_validate(node)
    except ValidationError as error:
        raise complaints(error, node, group)[0] from error
