"""The common style of all figures: colours, shapes, short names, text and legends in inches."""

from __future__ import annotations

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from fused_clip.model.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.2  # inches: one column and the full width of a two-column page
MARGIN = 0.08
GREY, INK, FAINT = "#b4b4b4", "#222222", "#666666"

# Eight colours of Petroff (arXiv:2107.02270) without his two greys (noise is grey), and two more. Every pair
# is at least 18 CIELAB units apart in normal vision and in simulated protan-, deuter- and tritanopia.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59",
    "#e76300", "#b9ac70", "#92dadd", "#1307f9", "#621147",
)  # fmt: skip
# 11 shapes and 10 colours have no common divisor: 110 different pairs. Targets of one colour are 10 apart,
# so neighbours in this list are shapes that differ clearly.
MARKERS = ("o", "^", "s", "v", "X", "D", "P", "<", "p", ">", "*")

FALLBACK_FONTS = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei",
    "Arial Unicode MS", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Noto Sans Arabic",
    "Noto Sans Devanagari",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """Colour and shape of a category.

    Parameters
    ----------
    colour : as hex.
    marker : of matplotlib.
    """

    colour: str
    marker: str


NOISE = Mark(GREY, "o")


def facts(result: Result) -> tuple[str, ...]:
    """First facts of every caption: dataset, prompt, backbone, and whether labels are missing.

    Parameters
    ----------
    result : of a run.
    """
    return (
        cut(result.dataset, 30),
        f"prompt {cut(result.prompt, 30)}",
        f"backbone {cut(result.backbone, 40)}",
        *(() if result.test.labelled else ("no labels: targets not known",)),
    )


def mark(index: int) -> Mark:
    """Mark of a category.

    Parameters
    ----------
    index : of the category; -1 (noise or no prediction) is grey.
    """
    return NOISE if index < 0 else Mark(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


def shade(colour: str, rank: int, ranks: int) -> str:
    """Shade of a colour, as hex: from itself to a lighter or darker one.

    Parameters
    ----------
    colour : as hex.
    rank : of the shade, from 0.
    ranks : number of shades.
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(colour)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.6
    share = 0.5 * rank / max(ranks - 1, 1)
    red, green, blue = ((1 - share) * part + share * dark for part in (red, green, blue))
    return to_hex((red, green, blue))


def cut(name: str, length: int) -> str:
    """Shorten a name to one line without control characters; never empty.

    Parameters
    ----------
    name : any text.
    length : most characters.
    """
    kept = "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} else c for c in name)
    line = " ".join(kept.split()) or "(no name)"
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw with fixed settings instead of the user's; names are text, never mathematics."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": _fonts(),
        "text.parse_math": False,
        "pdf.fonttype": 42,  # TrueType, as publishers require
        "axes.linewidth": 0.5,
        "axes.edgecolor": FAINT,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        # A character without a font is drawn as a box, which needs no warning.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from", category=UserWarning)
        yield


@cache
def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]


def width_of(text: str, size: float) -> float:
    """Measure a line of text, in inches; hinting in a PNG file widens small type by up to 4 %.

    Parameters
    ----------
    text : one line.
    size : in points.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    prop = FontProperties(family=_fonts(), size=size)
    return float(text_to_path.get_text_width_height_descent(text, prop, ismath=False)[0]) / 72 * 1.045


def wrap(parts: Sequence[str], size: float, width: float) -> list[str]:
    """Join parts with middle dots, in as many lines as needed.

    Parameters
    ----------
    parts : texts, each kept on one line.
    size : in points.
    width : of a line, in inches.
    """
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines else part
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


@dataclass(frozen=True)
class Heading:
    """Title and caption at the top of a figure.

    Parameters
    ----------
    title : one line.
    caption : facts, joined by middle dots and wrapped.
    """

    title: str
    caption: tuple[str, ...]

    def _lines(self, width: float) -> list[str]:
        return wrap(self.caption, 6.5, width - 2 * MARGIN)

    def height(self, width: float) -> float:
        """Height in inches.

        Parameters
        ----------
        width : of the figure, in inches.
        """
        return 0.25 + 0.115 * len(self._lines(width)) + 0.04

    def put(self, figure: Figure) -> None:
        """Write it at the top left.

        Parameters
        ----------
        figure : to write on.
        """
        width, height = figure.get_size_inches()
        x = MARGIN / width
        figure.text(x, 1 - 0.06 / height, self.title, size=9, color=INK, va="top")
        for number, line in enumerate(self._lines(width)):
            y = 1 - (0.235 + 0.115 * number) / height
            figure.text(x, y, line, size=6.5, color=FAINT, va="top")


@dataclass(frozen=True)
class LegendEntry:
    """A line of a legend.

    Parameters
    ----------
    marks : from left to right.
    text : after the marks.
    """

    marks: tuple[Mark, ...]
    text: str


class Legend:
    """Entries in columns, read downwards.

    matplotlib's own legend drops names that start with an underscore and is measured only when drawn.

    Parameters
    ----------
    entries : lines of the legend.
    width : of the figure, in inches.
    """

    def __init__(self, entries: Sequence[LegendEntry], width: float) -> None:
        self.entries = list(entries)
        self.size = 6.5 if len(self.entries) <= 40 else 5.0
        self._step = self.size * 1.5 / 72
        handles = max((len(entry.marks) for entry in self.entries), default=0)
        self._handle = self._step * (0.3 + 0.7 * handles)
        texts = max((width_of(entry.text, self.size) for entry in self.entries), default=0.0)
        self._column = self._handle + texts + 0.12
        columns = max(1, min(len(self.entries), int((width - 2 * MARGIN + 0.12) / self._column)))
        self._rows = -(-len(self.entries) // columns)

    @property
    def height(self) -> float:
        """Height in inches."""
        return self._rows * self._step + MARGIN if self.entries else 0.0

    def put(self, figure: Figure) -> None:
        """Draw it along the bottom.

        Parameters
        ----------
        figure : to draw on.
        """
        width, height = figure.get_size_inches()
        axes = figure.add_axes((0, 0, 1, self.height / height))
        axes.set(xlim=(0, width), ylim=(0, self.height))
        axes.axis("off")
        for number, entry in enumerate(self.entries):
            column, row = divmod(number, self._rows)
            x, y = MARGIN + column * self._column, self.height - (row + 0.5) * self._step
            for place, one in enumerate(entry.marks):
                at = x + self._step * (0.35 + 0.7 * place)
                axes.plot(at, y, one.marker, color=one.colour, ms=self.size * 0.65, mec="white", mew=0.2)
            axes.text(x + self._handle, y, entry.text, size=self.size, color=INK, va="center_baseline")
