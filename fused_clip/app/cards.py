"""Answers as cards: one block of HTML, in which every name is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fused_clip.app.studio import AnswerSheet, Row
from fused_clip.support import web


@dataclass(frozen=True)
class Near:
    """A training image near an upload.

    Parameters
    ----------
    title : its label and similarity.
    thumbnail : WebP; empty if it can't be had.
    """

    title: str
    thumbnail: bytes


@dataclass(frozen=True)
class Why:
    """Evidence for an answer.

    Parameters
    ----------
    neighbors : nearest training images.
    lines : sentences.
    """

    neighbors: Sequence[Near] = ()
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Card:
    """An upload with its answer, as text.

    Parameters
    ----------
    name : of the upload.
    thumbnail : WebP; empty for an unreadable image.
    error : why it is unreadable; empty if it can be read.
    answer, certainty, second : the answer, how sure it is, and the second answer; the last may be empty.
    probability : of the answer; None where there are none.
    flags : words that call for attention.
    members : of the prediction set; None where there are no sets.
    why : evidence; None for none.
    """

    name: str
    thumbnail: bytes = b""
    error: str = ""
    answer: str = ""
    certainty: str = ""
    second: str = ""
    probability: float | None = None
    flags: Sequence[str] = field(default_factory=tuple)
    members: Sequence[str] | None = None
    why: Why | None = None

    @property
    def doubtful(self) -> bool:
        """Whether it calls for attention."""
        return bool(self.flags or self.error)


def card(row: Row, thumbnail: bytes, why: Why | None = None) -> Card:
    """Describe one row of the table.

    Parameters
    ----------
    row : of `AnswerSheet`.
    thumbnail : of its image.
    why : evidence for its answer; None for none.
    """
    if "error" in row:
        return Card(row["path"], error=row["error"])
    probability, second = row["probability"], row.get("probability_2")
    runner_up = row["runner_up"]
    return Card(
        row["path"],
        thumbnail,
        answer=row["target"],
        certainty=f"margin {row['margin']:.3g}" if probability is None else f"{probability:.0%}",
        second=""
        if runner_up is None
        else f"2nd: {runner_up}" + ("" if second is None else f" {second:.0%}"),
        probability=probability,
        flags=[word for word in ("abstained", "unknown") if row.get(word)],
        members=row.get("set"),
        why=why,
    )


def html(cards: Sequence[Card]) -> str:
    """Draw cards.

    Parameters
    ----------
    cards : in their order.
    """
    return web.fragment("cards.html", "cards.css", cards=cards)


def order(answered: AnswerSheet, by: str) -> list[int]:
    """Positions of the rows in the order that a visitor chose.

    Parameters
    ----------
    answered : n answers.
    by : one of `ORDERS`.
    """
    rows = answered.rows
    if by == ORDERS[0]:
        return list(range(len(rows)))

    def doubt(position: int) -> tuple[bool, bool, float]:
        row = rows[position]
        sure = row.get("probability")
        certainty = row.get("margin", 0.0) if sure is None else sure
        return "error" in row, not row.get("unknown", False), certainty

    return sorted(range(len(rows)), key=doubt)


ORDERS = ("as given", "least certain first")
