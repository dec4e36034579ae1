"""Predict images, batch by batch or all together, into a journal."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from fused_clip.backbone.batches import bad_rows
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.guarantee import Guarantee
from fused_clip.guarantee.conformal import Per
from fused_clip.model.predictions import Predictions
from fused_clip.model.saved import SavedModel
from fused_clip.predict.decoding import ReadBatch, decode_items
from fused_clip.predict.journal import Journal, Record
from fused_clip.predict.shift_sample import ShiftSample
from fused_clip.predict.sources import OPTION, ImageSource, Item
from fused_clip.support.arrays import FloatArray
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.overlap import read_ahead, work_behind

if TYPE_CHECKING:
    from fused_clip.predict.explanation import Explainer

log = logging.getLogger(__name__)

_RECORDS_A_WRITE = 10_000

OnBadImage = Literal["skip", "report", "error"]
Embedded: TypeAlias = tuple[ReadBatch, FloatArray]  # rows of the images without an error


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
    coverage, coverage_per, unknown : as of `fused_clip.guarantee.Guarantee`; None for no guarantee.
    explain : whether to give the columns of `fused_clip.predict.explanation.Explanation`.
    """

    threshold: float = 0.0
    top_k: int = 1
    probabilities: bool = False
    on_bad_image: OnBadImage = "skip"
    max_pixels: int = MAX_PIXELS
    coverage: float | None = None
    coverage_per: Per = "all"
    unknown: float | None = None
    explain: bool = False


def predict_into(
    journal: Journal,
    model: SavedModel,
    source: ImageSource,
    wanted: Wanted,
    guarantee: Guarantee | None = None,
    explainer: "Explainer | None" = None,
) -> None:
    """Predict the images that the journal lacks, with a progress bar.

    While the model computes, a thread reads the next batches, and another writes the answers of the last
    ones. Memory is constant, but for a transductive model: it answers for all images together, so that their
    embeddings and states are in memory, and the journal gets all records at the end. One that was stopped
    starts anew.

    Parameters
    ----------
    journal : gets one record per image.
    model : predicts.
    source : the images.
    wanted : options of the prediction.
    guarantee : of its answers; None for none. The records of some images then have their embeddings.
    explainer : of the model, where `wanted` asks for explanations.

    Raises
    ------
    InputError
        If an image can't be read and ``on_bad_image`` is ``error``; if the images of the journal have
        changed; if a transductive model has one image.
    """
    rest, done = _rest(source, journal)
    if model.transductive:
        whole = bool(done) and next(rest, None) is None
        _predict_together(journal, model, source, wanted, guarantee, explainer, whole=whole)
        return
    sample = ShiftSample(len(source)) if guarantee else None

    def answer(embedded: Embedded) -> None:
        batch, rows = embedded
        records = list(_records(model, [batch], rows, wanted, guarantee, sample, explainer))
        bad = _first_bad(batch, wanted)
        journal.extend(records[:bad])
        if bad is not None:
            raise _unreadable(batch, bad)

    with closing(_embedded(model, rest, done, len(source), wanted)) as batches:
        work_behind(answer, batches)


def _predict_together(
    journal: Journal,
    model: SavedModel,
    source: ImageSource,
    wanted: Wanted,
    guarantee: Guarantee | None,
    explainer: "Explainer | None",
    *,
    whole: bool,
) -> None:
    """Embed all images, then predict them as one batch, unless the journal is whole."""
    if whole:
        return
    journal.clear()
    read_in, parts = [], []
    with closing(_embedded(model, iter(source), 0, len(source), wanted)) as batches:
        for batch, rows in batches:
            bad = _first_bad(batch, wanted)
            if bad is not None:
                raise _unreadable(batch, bad)
            read_in.append(batch)
            parts.append(rows)
    together = np.concatenate(parts)
    try:
        model.head.check_batch(len(together))
    except InputError:
        journal.remove()
        raise
    sample = ShiftSample(len(source)) if guarantee else None
    records = _records(model, read_in, together, wanted, guarantee, sample, explainer)
    for some in batched(records, _RECORDS_A_WRITE):
        journal.extend(some)


def _first_bad(batch: ReadBatch, wanted: Wanted) -> int | None:
    """Place of the first unreadable image, where it is to stop the command."""
    bad = [place for place, error in enumerate(batch.errors) if error]
    return bad[0] if bad and wanted.on_bad_image == "error" else None


def _unreadable(batch: ReadBatch, place: int) -> InputError:
    rule = f"{batch.paths[place]} can't be read: {batch.errors[place]}"
    hint = "Replace it and run the same command again, or use --on-bad-image skip"
    return InputError(OPTION, rule, hint=hint)


def _embedded(
    model: SavedModel, rest: Iterator[Item], done: int, total: int, wanted: Wanted
) -> Generator[Embedded, None, None]:
    """Batches without their pixels, and the embeddings of images without an error; the others are logged."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    backbone = model.require_backbone()
    backbone.load()
    side, prepare = backbone.reduced_side, backbone.prepare
    reading = partial(decode_items, prepare=prepare, max_pixels=wanted.max_pixels, side=side)
    batches = read_ahead(reading, batched(rest, backbone.batch_size))
    with (
        closing(batches),
        logging_redirect_tqdm(),
        tqdm(total=total, initial=done, desc=backbone.name, unit="image", disable=None) as bar,
    ):
        for decoded in batches:
            batch = decoded.prepared(prepare)
            rows = _rows(model, batch)
            yield replace(batch, pixels=[]), rows
            for path, error in zip(batch.paths, batch.errors, strict=True):
                if error:
                    log.warning("%s can't be read: %s", path, error)
            bar.update(len(batch.paths))
        bar.total = bar.n  # the total may count an image twice


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


def _rows(model: SavedModel, batch: ReadBatch) -> FloatArray:
    """Embeddings of the images that can be read; one that is no embedding becomes an error of the batch."""
    if not batch.pixels:
        return np.empty((0, model.head.dim), np.float32)
    rows = model.require_backbone().encode_prepared(batch.pixels)
    bad = set(bad_rows(rows))
    readable = [place for place, error in enumerate(batch.errors) if not error]
    for row in bad:
        batch.errors[readable[row]] = "its embedding is not finite, or zero"
    return rows[[row for row in range(len(rows)) if row not in bad]]


def _records(
    model: SavedModel,
    batches: Sequence[ReadBatch],
    rows: FloatArray,
    wanted: Wanted,
    guarantee: Guarantee | None,
    sample: ShiftSample | None,
    explainer: "Explainer | None",
) -> Iterator[Record]:
    """One record per image, in order; all rows are predicted together."""
    found: Iterator[Record] = iter(())
    if len(rows):
        # The gallery needs the probability of the second answer.
        top_k = max(wanted.top_k, 2 if model.calibrated and len(model.names) > 1 else 1)
        answered = guarantee.answer(rows) if guarantee else model.predict_embeddings(rows)
        found = answered.records(wanted.threshold, top_k=top_k, each=wanted.probabilities)
        if explainer is not None:
            predictions = answered if isinstance(answered, Predictions) else answered.predictions
            explained = explainer.explain(rows, predictions)
            found = ({**record, **why.record()} for record, why in zip(found, explained, strict=True))
    readable = iter(rows)
    for batch in batches:
        for path, state, error in zip(batch.paths, batch.states, batch.errors, strict=True):
            named = {"path": path, "state": state}
            if error:
                yield {**named, "error": error}
            else:
                row = next(readable)
                yield {**named, **next(found), **(sample.kept(path, row) if sample else {})}
