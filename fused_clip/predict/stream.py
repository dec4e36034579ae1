"""Predict images batch by batch, into a journal."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

from fused_clip.backbone.batches import bad_rows, read_ahead
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.model.saved import SavedModel
from fused_clip.predict.decoding import ReadBatch, read
from fused_clip.predict.journal import Journal, Record
from fused_clip.predict.sources import OPTION, ImageSource, Item
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)

OnBadImage = Literal["skip", "report", "error"]


@dataclass(frozen=True)
class Wanted:
    """Options of a prediction.

    Parameters
    ----------
    threshold : answers below this probability are abstentions, in [0, 1].
    top_k : number of answers with their probabilities, at least 1.
    probabilities : whether to give the probability of each target.
    on_bad_image : ``error`` stops at an unreadable image; else it is recorded with the reason and logged.
    max_pixels : an image with more is unreadable.
    """

    threshold: float = 0.0
    top_k: int = 1
    probabilities: bool = False
    on_bad_image: OnBadImage = "skip"
    max_pixels: int = MAX_PIXELS


def predict_into(journal: Journal, model: SavedModel, source: ImageSource, wanted: Wanted) -> None:
    """Predict the images that the journal lacks, in constant memory, with read-ahead and a progress bar.

    Parameters
    ----------
    journal : gets one record per image.
    model : predicts.
    source : the images.
    wanted : options of the prediction.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    backbone = model.require_backbone()
    rest, done = _rest(source, journal)
    backbone.load()
    reading = partial(read, prepare=backbone.prepare, max_pixels=wanted.max_pixels)
    batches = read_ahead(reading, batched(rest, backbone.batch_size))
    with (
        closing(batches),
        logging_redirect_tqdm(),
        tqdm(total=len(source), initial=done, desc=backbone.name, unit="image", disable=None) as bar,
    ):
        for batch in batches:
            records = _records(model, batch, wanted)
            bad = [place for place, record in enumerate(records) if "error" in record]
            if bad and wanted.on_bad_image == "error":
                journal.extend(records[: bad[0]])
                rule = f"{records[bad[0]]['path']} can't be read: {records[bad[0]]['error']}"
                hint = "Replace it and run the same command again, or use --on-bad-image skip"
                raise InputError(OPTION, rule, hint=hint)
            journal.extend(records)
            for place in bad:
                log.warning("%s can't be read: %s", records[place]["path"], records[place]["error"])
            bar.update(len(records))
        bar.total = bar.n  # len(source) may count an image twice


def _rest(source: ImageSource, journal: Journal) -> tuple[Iterator[Item], int]:
    """Items without a prediction, and the number of items with one."""
    items, done = iter(source), 0
    for record in journal:
        done += 1
        item = next(items, None)
        if item is None or (item.path, item.state()) != (record["path"], record["state"]):
            if journal.fresh:
                journal.clear()
                return iter(source), 0
            hint = "--overwrite starts anew"
            rule = f"must be those that {journal.path} began with; {record['path']!r} has changed"
            raise InputError(OPTION, rule, hint=hint)
    return items, done


def _records(model: SavedModel, batch: ReadBatch, wanted: Wanted) -> list[Record]:
    """One record per image, in order."""
    errors = batch.errors
    found: Iterator[Record] = iter(())
    if batch.pixels:
        rows = model.require_backbone().encode_prepared(batch.pixels)
        bad = set(bad_rows(rows))
        good = [row for row in range(len(rows)) if row not in bad]
        readable = [place for place, error in enumerate(errors) if not error]
        for row in bad:
            errors[readable[row]] = "its embedding is not finite, or zero"
        # The gallery needs the probability of the second answer.
        top_k = max(wanted.top_k, 2 if model.calibrated and len(model.names) > 1 else 1)
        if good:
            predictions = model.predict_embeddings(rows[good])
            found = predictions.records(wanted.threshold, top_k=top_k, each=wanted.probabilities)
    return [
        {"path": path, "state": state, **({"error": error} if error else next(found))}
        for path, state, error in zip(batch.paths, batch.states, errors, strict=True)
    ]
