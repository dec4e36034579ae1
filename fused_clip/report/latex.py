"""A page as a LaTeX document whose tables (booktabs) can be taken into a paper as they are."""

from collections.abc import Mapping, Sequence

from fused_clip.report.page import Block, Cell, Details, Figure, Page, Prose, Section, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "−": r"$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    # At the start of a row these would be read as arguments of the \\ before it.
    "[": "{[}",
    "*": "{*}",
}
_PREAMBLE = r"""\documentclass{article}
\usepackage{booktabs,graphicx,iftex,longtable}
\ifPDFTeX\usepackage[T1]{fontenc}\else\usepackage{fontspec}\fi % names beyond Latin need LuaLaTeX
\usepackage[margin=2cm]{geometry}
\begin{document}"""


def escape(text: str) -> str:
    """`text` on one line, read as it is and not as commands."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def latex(page: Page, figures: Mapping[Figure, str]) -> str:
    """Write a page; the runs behind a table's row stand in a comment after it.

    Parameters
    ----------
    figures : address of each figure's file.
    """
    parts = [_PREAMBLE, rf"\section*{{{escape(page.title)}}}"]
    if page.problems:
        items = "\n".join(rf"\item {escape(text)}" for text in page.problems)
        parts.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    parts += [_section(section, figures) for section in page.sections]
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _section(section: Section, figures: Mapping[Figure, str]) -> str:
    blocks = [_block(block, figures) for block in section.blocks]
    return "\n\n".join([rf"\subsection*{{{escape(section.title)}}}", *blocks])


def _block(block: Block, figures: Mapping[Figure, str]) -> str:
    match block:
        case Table():
            return _table(block)
        case Figure():
            picture = rf"\includegraphics[width=\linewidth]{{{figures[block]}}}"
            return (
                f"\\begin{{figure}}[ht]\n\\centering\n{picture}\n"
                f"\\caption{{{escape(block.caption)}}}\n\\end{{figure}}"
            )
        case Prose():
            return escape(block.text)
        case Details():
            lines = r" \\ ".join(escape(line) or r"\mbox{}" for line in block.text.splitlines())
            return rf"\paragraph{{{escape(block.summary)}}} {{\footnotesize\ttfamily\raggedright {lines}}}"


def _table(table: Table) -> str:
    """A longtable, which may break across pages."""
    columns = "".join("r" if place in table.numeric else "l" for place in range(len(table.columns)))
    heads = " & ".join(escape(column) for column in table.columns)
    return "\n".join(
        [
            rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
            rf"\caption{{{escape(table.caption)}}} \\",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            r"\endhead",
            *(_row(row) for row in table.rows),
            r"\bottomrule",
            r"\end{longtable}",
        ]
    )


def _row(row: Sequence[Cell]) -> str:
    fields = " & ".join(_field(cell) for cell in row)
    runs = dict.fromkeys(run for cell in row for run in cell.run_ids)
    return rf"{fields} \\" + (f" % runs: {' '.join(runs)}" if runs else "")


def _field(cell: Cell) -> str:
    text = escape(cell.text)
    return rf"{text} \textit{{({escape(cell.flag)})}}" if cell.flag else text
