"""Answers as cards: one block of HTML, in which every name is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fused_clip.app.studio import AnswerSheet
from fused_clip.predict.gallery import GalleryItem
from fused_clip.support import web

ORDERS = ("as given", "least certain first")
_FLAGS = ("unknown", "abstained")
_SHARES = 3  # largest shares of a cluster that a card lists


@dataclass(frozen=True)
class Card(GalleryItem):
    """An upload with its answer, or with the reason why it is unreadable.

    Parameters
    ----------
    record : row of an `AnswerSheet`.
    thumbnail : WebP; empty for an unreadable image.
    """

    thumbnail: bytes

    @property
    def error(self) -> str:
        """Why it is unreadable; empty for an answer."""
        return str(self.record.get("error", ""))

    @property
    def flags(self) -> list[str]:
        """Words that call for attention."""
        return [word for word in _FLAGS if self.record.get(word)]

    @property
    def members(self) -> Sequence[str] | None:
        """Answers in its set; None without sets."""
        found: Sequence[str] | None = self.record.get("set")
        return found

    @property
    def composition(self) -> str:
        """Largest shares of the answer's cluster, as text; empty if they are not known."""
        shares: Mapping[str, float] = self.record.get("composition") or {}
        return ", ".join(f"{share:.0%} {name}" for name, share in list(shares.items())[:_SHARES])


def cards(sheet: AnswerSheet, places: Sequence[int]) -> list[Card]:
    """Make the cards of some uploads.

    Parameters
    ----------
    sheet : n answers.
    places : positions in [0, n), in the order of the cards.
    """
    return [Card(sheet.rows[place], sheet.images[place].thumbnail) for place in places]


def html(shown: Sequence[Card], neighbors: Mapping[int, bytes]) -> str:
    """Draw cards.

    Parameters
    ----------
    shown : in their order.
    neighbors : thumbnails of training images by position, WebP; others are named alone.
    """
    return web.fragment("cards.html", "cards.css", cards=shown, neighbors=neighbors)


def positions(shown: Sequence[Card]) -> set[int]:
    """Find the training images that the evidence names.

    Parameters
    ----------
    shown : cards.
    """
    return {near["position"] for card in shown for near in card.neighbors}


def order(rows: Sequence[Mapping[str, Any]], by: str) -> list[int]:
    """Positions of rows in the order that a visitor chose; unreadable images come last, unknown ones first.

    Parameters
    ----------
    rows : of an `AnswerSheet`.
    by : one of `ORDERS`.
    """
    if by == ORDERS[0]:
        return list(range(len(rows)))

    def doubt(place: int) -> tuple[bool, bool, float]:
        row = rows[place]
        rank = 0.0 if "error" in row else GalleryItem(row).rank
        return "error" in row, not row.get("unknown", False), rank

    return sorted(range(len(rows)), key=doubt)
