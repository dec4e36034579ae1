"""A loaded model with the images that it has seen, answering what visitors ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from fused_clip.app.image_memory import ImageMemory, SeenImage
from fused_clip.app.uploads import Upload
from fused_clip.app.wishes import Wishes
from fused_clip.model.saved import SavedModel, load_model
from fused_clip.predict import answers
from fused_clip.support.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class AnswerSheet:
    """Answers for n uploads.

    Parameters
    ----------
    names : G answers that were possible.
    rows : n rows of the table; one of an unreadable image has its name and the reason alone.
    images : n images, in the same order.
    columns : of the table.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    images: tuple[SeenImage, ...]
    columns: tuple[str, ...]

    def csv(self) -> bytes:
        """The table that ``fused-clip-predict`` writes; unreadable images are left out."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "answers.csv"
            answers.write(path, self.rows, self.columns)
            return path.read_bytes()


class Studio:
    """Answers for images with one model, embedding each image once.

    Parameters
    ----------
    model : as it was loaded, with its backbone.
    place : that it was loaded from.

    Raises
    ------
    InputError
        If the model takes embeddings alone.
    """

    def __init__(self, model: SavedModel, place: str) -> None:
        self.model = model
        self.place = place
        self.memory = ImageMemory(model.require_backbone())

    @classmethod
    def load(cls, place: str, device: str = "auto", weights: str = "") -> Self:
        """Load a model and its backbone.

        Parameters
        ----------
        place, device : path and device of `load_model`.
        weights : of `load_model`; empty for where the run had them.
        """
        studio = cls(load_model(place, device=device, weights=weights or None), place)
        studio.model.require_backbone().load()
        return studio

    def answer(self, uploads: Sequence[Upload], wishes: Wishes) -> AnswerSheet:
        """Answer for each upload.

        Parameters
        ----------
        uploads : images, and files that are none: these get an error.
        wishes : options of the answers.

        Raises
        ------
        InputError
            If the wishes don't fit the model, or a transductive model has one image.
        """
        model = wishes.applied(self.model)
        images = self.memory.look(uploads)
        rows = np.array([image.row for image in images if image.row is not None])
        found = iter(())
        if len(rows):
            top_k = 2 if model.calibrated and len(model.names) > 1 else 1  # cards show the second's probability
            found = model.predict_embeddings(rows).records(wishes.threshold, top_k=top_k)
        table = [
            {"path": upload.name, **({"error": image.error} if image.error else next(found))}
            for upload, image in zip(uploads, images, strict=True)
        ]
        return AnswerSheet(model.names, tuple(table), tuple(images), answers.COLUMNS)


opened = cache(Studio.load)
