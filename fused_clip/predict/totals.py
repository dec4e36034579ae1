"""Counts of a whole prediction, and whether its guarantee stands."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from fused_clip.guarantee import Guarantee, ShiftTest, promised_columns
from fused_clip.predict.journal import Record
from fused_clip.predict.shift_sample import sampled_rows


@dataclass(frozen=True)
class Totals:
    """Counts of a finished prediction.

    Parameters
    ----------
    counts : images ``predicted``, ``bad`` and ``abstained``; with a guarantee also ``unknown``, ``empty``,
        ``single`` and ``several``, the sizes of the sets.
    guarantee : that was asked for; None for none.
    shift : test of the images; None without a guarantee.
    """

    counts: Mapping[str, int]
    guarantee: Guarantee | None = None
    shift: ShiftTest | None = None

    @classmethod
    def of(cls, records: Iterable[Record], guarantee: Guarantee | None) -> Self:
        """Count the records and test the images.

        Parameters
        ----------
        records : of the journal; read twice.
        guarantee : that was asked for.
        """
        counts: Counter[str] = Counter()
        for record in records:
            counts["bad" if "error" in record else "predicted"] += 1
            counts["abstained"] += bool(record.get("abstained"))
            counts["unknown"] += bool(record.get("unknown"))
            if "set_size" in record:
                counts[{0: "empty", 1: "single"}.get(record["set_size"], "several")] += 1
        if guarantee is None or not counts["predicted"]:
            return cls(counts, guarantee)
        rows = sampled_rows(records, guarantee.model.head.dim)
        return cls(counts, guarantee, guarantee.test_shift(rows) if len(rows) else None)

    @property
    def columns(self) -> list[str]:
        """Columns of the table that the guarantee adds."""
        if self.guarantee is None:
            return []
        own = self.guarantee
        return promised_columns(coverage=own.coverage is not None, unknown=own.unknown is not None)

    def completed(self, record: Record) -> Record:
        """Add whether the guarantee stands, which follows from all images.

        Parameters
        ----------
        record : of the journal.
        """
        if self.guarantee is None or "set" not in record:
            return record
        return {**record, "guarantee": self.guarantee.stated(self.shift)}

    @property
    def warning(self) -> str:
        """That the guarantee is withdrawn; empty if it stands, or none was asked for."""
        if self.guarantee is None or self.shift is None or not self.shift.withdrawn:
            return ""
        own = self.guarantee
        sets = f"the sets do not have a coverage of {own.coverage:g}" if own.coverage is not None else ""
        called = f"more than {own.unknown:g} of known images may be called unknown" if own.unknown else ""
        rest = "; ".join(filter(None, [sets, called]))
        return f"GUARANTEE WITHDRAWN: these images differ from the calibration images, so {rest}."

    @property
    def lines(self) -> list[str]:
        """What to print about the guarantee."""
        own, counts = self.guarantee, self.counts
        if own is None:
            return []
        found = []
        if own.coverage is not None:
            sizes = f"{counts['single']} with one target, {counts['several']} with several"
            sizes += f", {counts['empty']} empty"
            found.append(f"Sets: {sizes}. Coverage {own.stated(self.shift)}.")
        if own.unknown is not None:
            found.append(f"{counts['unknown']} images are called unknown.")
        found += [self.shift.sentence] if self.shift else []
        return [*found, *filter(None, [self.warning])]
