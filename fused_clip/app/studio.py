"""A loaded model with the images that it has seen, answering what visitors ask."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Self

import numpy as np

from fused_clip.app.image_memory import ImageMemory, SeenImage
from fused_clip.app.uploads import Upload
from fused_clip.app.wishes import Wishes
from fused_clip.guarantee import Guarantee, ShiftTest
from fused_clip.model.saved import SavedModel, load_model
from fused_clip.predict import answers
from fused_clip.predict.outcome import Outcome
from fused_clip.support.arrays import FloatArray

Row = dict[str, Any]
_MOST_TESTS = 256  # of shift that are kept: some seconds each


@dataclass(frozen=True)
class AnswerSheet:
    """Answers for n uploads.

    Parameters
    ----------
    rows : n rows of the table; one of an unreadable image has its name and the reason alone.
    images : n images, in the same order.
    outcome : counts, and whether a guarantee stands.
    """

    rows: tuple[Row, ...]
    images: tuple[SeenImage, ...]
    outcome: Outcome

    def csv(self) -> bytes:
        """The table that ``fused-clip-predict`` writes; unreadable images are left out."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "answers.csv"
            answers.write(path, self.rows, (*answers.COLUMNS, *self.outcome.columns))
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
        self._shifts: dict[Hashable, ShiftTest] = {}
        self._lock = Lock()

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
        guarantee = wishes.guarantee(model)
        images = self.memory.look(uploads)
        rows = np.array([image.row for image in images if image.row is not None])
        found: Iterator[Row] = iter(())
        if len(rows):
            answered = guarantee.answer(rows) if guarantee else model.predict_embeddings(rows)
            # Cards show the probability of the second answer.
            top_k = 2 if model.calibrated and len(model.names) > 1 else 1
            found = answered.records(wishes.threshold, top_k=top_k)
        records = [
            {"path": upload.name, **({"error": image.error} if image.error else next(found))}
            for upload, image in zip(uploads, images, strict=True)
        ]
        outcome = Outcome.of(records, None)
        if guarantee and len(rows):
            shift = self._shift(guarantee, rows, (wishes.known, *(upload.key for upload in uploads)))
            outcome = replace(outcome, guarantee=guarantee, shift=shift)
        return AnswerSheet(tuple(map(outcome.completed, records)), tuple(images), outcome)

    def _shift(self, guarantee: Guarantee, rows: FloatArray, key: Hashable) -> ShiftTest:
        """Test the images, once for the same images and the same knowledge of them."""
        with self._lock:
            if key not in self._shifts:
                if len(self._shifts) >= _MOST_TESTS:
                    self._shifts.clear()
                self._shifts[key] = guarantee.test_shift(rows)
            return self._shifts[key]


opened = cache(Studio.load)
