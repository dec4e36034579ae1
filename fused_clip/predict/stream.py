"""Images through a model, batch by batch, into a journal."""

import logging
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Literal

from fused_clip.backbone.batches import bad_rows, read_ahead
from fused_clip.model.saved import SavedModel
from fused_clip.predict.decoding import ReadBatch, read
from fused_clip.predict.journal import Journal, Record
from fused_clip.predict.sources import OPTION, Item, Source
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)

OnBadImage = Literal["skip", "report", "error"]


def predict_into(
    journal: Journal, model: SavedModel, source: Source, *, threshold: float, on_bad_image: OnBadImage
) -> None:
    """Predict all images that the journal does not have yet.

    The next batches are read and decoded while the model computes; memory does not grow with the number of
    images. On a terminal a bar shows images a second and the time left.

    Parameters
    ----------
    threshold : least probability of an answer that is no abstention.
    on_bad_image : whether an image that can't be read is named and passed, or an error.

    Raises
    ------
    InputError
        On such an error; if the journal began with other images, unless it is to be fresh; if nothing can be
        written. What was predicted is in the journal.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    backbone = model.require_backbone()
    rest, done = _rest(source, journal)
    backbone.load()
    batches = read_ahead(partial(read, prepare=backbone.prepare), batched(rest, backbone.batch_size))
    with (
        closing(batches),
        logging_redirect_tqdm(),
        tqdm(total=len(source), initial=done, desc=backbone.name, unit="image", disable=None) as bar,
    ):
        for batch in batches:
            records = _records(model, batch, threshold)
            bad = [place for place, record in enumerate(records) if "error" in record]
            if bad and on_bad_image == "error":
                journal.extend(records[: bad[0]])
                raise _bad_image(records[bad[0]])
            journal.extend(records)
            for place in bad:
                log.warning("%s can't be read: %s", records[place]["path"], records[place]["error"])
            bar.update(len(records))


def _rest(source: Source, journal: Journal) -> tuple[Iterator[Item], int]:
    """The items that are not predicted yet, and the number of those that are."""
    items, done = iter(source), 0
    for record in journal:
        done += 1
        item = next(items, None)
        if item is None or (item.path, item.state()) != (record["path"], record["state"]):
            if journal.fresh:
                journal.clear()
                return iter(source), 0
            hint = "--overwrite starts anew"
            rule = f"must be those that {journal.path} began with; {record['path']!r} is not what it was"
            raise InputError(OPTION, rule, hint=hint)
    return items, done


def _records(model: SavedModel, batch: ReadBatch, threshold: float) -> list[Record]:
    """One record an image, in order."""
    errors = batch.errors
    found: Iterator[Record] = iter(())
    if batch.pixels:
        rows = model.require_backbone().encode_prepared(batch.pixels)
        bad = set(bad_rows(rows))
        good = [row for row in range(len(rows)) if row not in bad]
        readable = [place for place, error in enumerate(errors) if not error]
        for row in bad:
            errors[readable[row]] = "its embedding is not finite, or zero"
        found = model.predict_embeddings(rows[good]).records(threshold) if good else found
    return [
        {"path": path, "state": state, **({"error": error} if error else next(found))}
        for path, state, error in zip(batch.paths, batch.states, errors, strict=True)
    ]


def _bad_image(record: Record) -> InputError:
    hint = "Mend it and run again, which goes on after what is predicted; or use --on-bad-image skip"
    return InputError(OPTION, f"{record['path']} can't be read: {record['error']}", hint=hint)
