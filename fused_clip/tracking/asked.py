"""What a request asks of a model besides its images, and the answers."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from threading import Lock
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError

from fused_clip.guarantee import Guarantee, promised, promised_columns
from fused_clip.guarantee.conformal import Per
from fused_clip.model.constraint_parsing import (
    check_threshold,
    parse_prior,
    parse_target_map,
    parse_targets,
)
from fused_clip.model.predictions import check_further
from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import StrictOptions, complaints
from fused_clip.tracking.shared_embedder import SharedEmbedder

_Words = Annotated[str, Field(max_length=1_000_000)]  # names of 20,000 targets; parsing takes a second
_LEAST_TESTED = 20  # images: with 400 calibration images the test finds shifts of a quarter of their distance


class Asked(StrictOptions):
    """Options of a request, as those of ``fused-clip-predict``.

    Parameters
    ----------
    targets : admits these targets only, such as ``cat,dog``; empty for all.
    prior : their frequencies, such as ``cat=.9,dog=.1``; empty for equal ones.
    target_map : YAML of ``group: [targets]``; empty for none.
    threshold : answers below this probability are abstentions, in [0, 1].
    top_k : number of answers with their probabilities, at least 1.
    probabilities : whether to give the probability of each answer.
    coverage : of the sets, in (0, 1); None for no sets.
    coverage_per : whether the coverage is that of all images, or of those of each answer.
    unknown : at most this share of known images is called unknown, in (0, 1); None for no such call.
    """

    model_config = ConfigDict(frozen=True)

    targets: _Words = ""
    prior: _Words = ""
    target_map: _Words = ""
    threshold: float = 0.0
    top_k: int = 1
    probabilities: bool = False
    coverage: float | None = None
    coverage_per: Per = "all"
    unknown: float | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Check the types of a request's options.

        Parameters
        ----------
        params : values by name; None is the default.

        Raises
        ------
        InputError
            On an unknown name or a value of another type.
        """
        unknown = [name for name in params if name not in cls.model_fields]
        if unknown:
            raise InputError("params", "must name options", unknown[0], choices=cls.model_fields)
        plain = {name: value for name, value in params.items() if value is not None}
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise complaints(error, plain, "params")[0] from error


class Respondent:
    """A model with its embedder: image files and options -> the rows of a table.

    Threads may share it.

    Parameters
    ----------
    model : answers; its backbone is loaded now.

    Raises
    ------
    InputError
        If the weights can't be had, or the model takes embeddings alone.
    """

    def __init__(self, model: SavedModel) -> None:
        self._embedder = SharedEmbedder(model.require_backbone())
        self._narrowed = lru_cache(maxsize=16)(partial(_narrowed, model))
        self._alone = Lock()  # tests of shift and transductive answers take memory of their own

    def answer(self, names: Sequence[str], contents: Iterable[bytes], asked: Asked) -> list[dict[str, Any]]:
        """Answer for the images of a request, which is judged by itself.

        Parameters
        ----------
        names : of n images, for errors.
        contents : n image files, read batch by batch.
        asked : options.

        Raises
        ------
        InputError
            If an image can't be read; if the options do not fit the model; if the model is transductive and
            there is one image.
        """
        model, guarantee = self._narrowed(asked)
        model.head.check_batch(len(names))
        rows = self._embedder.embed(names, contents)
        if not len(rows):
            return []
        with self._alone:
            answered = guarantee.answer(rows) if guarantee else model.predict_embeddings(rows)
            records = list(answered.records(asked.threshold, top_k=asked.top_k, each=asked.probabilities))
            if guarantee is None or guarantee.coverage is None:
                return records
            return _stated(records, guarantee, rows)


def _narrowed(model: SavedModel, asked: Asked) -> tuple[SavedModel, Guarantee | None]:
    """The model under the constraint of a request, and what it promises."""
    check_threshold(asked.threshold, calibrated=model.calibrated)
    narrowed = model.constrain(
        targets=parse_targets(asked.targets) if asked.targets else None,
        prior=parse_prior(asked.prior) if asked.prior else None,
        target_map=parse_target_map(asked.target_map) if asked.target_map else None,
    )
    each, calibrated = asked.probabilities, narrowed.calibrated
    check_further(narrowed.names, top_k=asked.top_k, each=each, calibrated=calibrated)
    return narrowed, promised(narrowed, asked.coverage, asked.coverage_per, asked.unknown)


def _stated(
    records: Sequence[dict[str, Any]], guarantee: Guarantee, rows: FloatArray
) -> list[dict[str, Any]]:
    """Add the column ``guarantee``: the coverage, whether it is withdrawn, or that shift is not tested."""
    stated = guarantee.stated(guarantee.test_shift(rows) if len(rows) >= _LEAST_TESTED else None)
    columns = promised_columns(coverage=True, unknown=guarantee.unknown is not None)
    return [
        {name: value for name, value in record.items() if name not in columns}
        | {name: {**record, "guarantee": stated}[name] for name in columns}
        for record in records
    ]
