"""A loaded model with the images that it has seen, answering what visitors ask."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Self

import numpy as np
from PIL import Image

from fused_clip.app.image_memory import ImageMemory, SeenImage
from fused_clip.app.uploads import Upload
from fused_clip.app.wishes import Wishes
from fused_clip.guarantee import Guarantee, ShiftTest
from fused_clip.model.predictions import Predictions
from fused_clip.model.saved import SavedModel, load_model
from fused_clip.predict import answers
from fused_clip.predict.explanation import Explainer
from fused_clip.predict.journal import Record
from fused_clip.predict.totals import Totals
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError

_BLANK = (224, 224)
_MOST_TESTS = 256  # of shift that are kept: some seconds each


@dataclass(frozen=True)
class AnswerSheet:
    """Answers for n uploads.

    Parameters
    ----------
    rows : n rows of the table, with further keys; one of an unreadable image has its name and the reason
        alone.
    images : n images, in the same order.
    totals : counts, and whether a guarantee stands.
    """

    rows: tuple[Record, ...]
    images: tuple[SeenImage, ...]
    totals: Totals

    def csv(self) -> bytes:
        """The table that ``fused-clip-predict`` writes; unreadable images are left out."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "answers.csv"
            answers.write(path, self.rows, (*answers.COLUMNS, *self.totals.columns))
            return path.read_bytes()


class Studio:
    """Answers for images with one model, embedding each image once.

    Parameters
    ----------
    model : as it was loaded, with its backbone.
    place : that it was loaded from.

    Attributes
    ----------
    explainer : gives evidence for answers; None without the run's training rows.
    no_evidence : why there is none; empty if there is.

    Raises
    ------
    InputError
        If the model takes embeddings alone.
    """

    def __init__(self, model: SavedModel, place: str) -> None:
        self.model = model
        self.place = place
        self.memory = ImageMemory(model.require_backbone())
        self.explainer, self.no_evidence = _explainer(place, model)
        self._shifts: dict[Hashable, ShiftTest] = {}
        self._lock = Lock()

    @classmethod
    def load(cls, place: str, device: str = "auto", weights: str = "") -> Self:
        """Load a model and its backbone, and answer once: the first answer takes seconds more than others.

        Parameters
        ----------
        place, device : path and device of `load_model`.
        weights : of `load_model`; empty for where the run had them.
        """
        studio = cls(load_model(place, device=device, weights=weights or None), place)
        blank = BytesIO()
        Image.new("RGB", _BLANK).save(blank, "PNG")
        studio.answer([Upload.of("blank", blank.getvalue())] * 2, Wishes())
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
        found: Iterator[Record] = iter(())
        if len(rows):
            promised = guarantee.answer(rows) if guarantee else None
            predictions = promised.predictions if promised else model.predict_embeddings(rows)
            # Cards show the probability of the second answer.
            top_k = 2 if model.calibrated and len(model.names) > 1 else 1
            plain = (promised or predictions).records(wishes.threshold, top_k=top_k)
            why = self._evidence(model, wishes, rows, predictions)
            found = ({**record, **one} for record, one in zip(plain, why, strict=True))
        records = [
            {"path": upload.name, **({"error": image.error} if image.error else next(found))}
            for upload, image in zip(uploads, images, strict=True)
        ]
        totals = Totals.of(records, None)
        if guarantee and len(rows):
            shift = self._shift(guarantee, rows, (wishes.known, *(upload.key for upload in uploads)))
            totals = replace(totals, guarantee=guarantee, shift=shift)
        return AnswerSheet(tuple(map(totals.completed, records)), tuple(images), totals)

    def thumbnails(self, positions: Iterable[int]) -> dict[int, bytes]:
        """Pictures of training images that evidence names, WebP by position.

        Parameters
        ----------
        positions : as in the evidence.
        """
        return self.explainer.thumbnails(positions) if self.explainer else {}

    def _evidence(
        self, model: SavedModel, wishes: Wishes, rows: FloatArray, predictions: Predictions
    ) -> list[dict[str, Any]]:
        """Evidence for each answer, as keys of its row; none without the run's training rows."""
        if self.explainer is None:
            return [{}] * len(rows)
        if not wishes.added:
            explained = self.explainer.with_model(model).explain(rows, predictions)
            return [one.record() for one in explained]
        # The run knows nothing of an added target: the nearest images are evidence for any answer.
        near = self.explainer.explain(rows, self.model.predict_embeddings(rows))
        sentences = dict(wishes.added)
        names = map(str, predictions.targets)
        return [
            {"neighbors": one.record()["neighbors"], "prompt": sentences.get(name)}
            for one, name in zip(near, names, strict=True)
        ]

    def _shift(self, guarantee: Guarantee, rows: FloatArray, key: Hashable) -> ShiftTest:
        """Test the images, once for the same images and the same knowledge of them."""
        with self._lock:
            if key not in self._shifts:
                if len(self._shifts) >= _MOST_TESTS:
                    self._shifts.clear()
                self._shifts[key] = guarantee.test_shift(rows)
            return self._shifts[key]


def _explainer(place: str, model: SavedModel) -> tuple[Explainer | None, str]:
    """What explains the answers, or why nothing does."""
    try:
        return Explainer.of(place, model), ""
    except (InputError, OSError) as error:
        return None, str(error)


opened = cache(Studio.load)
