"""A page as a LaTeX document whose booktabs tables can be pasted into a paper."""

from collections.abc import Mapping, Sequence

from fused_clip.report.page import Block, Details, Figure, Page, Prose, Section, Table, TableCell

_ESCAPES = str.maketrans(
    {letter: f"\\{letter}" for letter in "{}$&#%_"}
    | {letter: f"\\text{name}{{}}" for letter, name in {
        "\\": "backslash", "^": "asciicircum", "~": "asciitilde", "<": "less", ">": "greater", "|": "bar",
        '"': "quotedbl",
    }.items()}
    | {"±": r"$\pm$", "→": r"$\rightarrow$", "−": r"$-$", "≤": r"$\leq$", "≥": r"$\geq$"}
    # At the start of a row these would be read as arguments of the \\ before it.
    | {"[": "{[}", "*": "{*}"}
)  # fmt: skip
_PREAMBLE = r"""\documentclass{article}
\usepackage{booktabs,graphicx,iftex,longtable}
\ifPDFTeX\usepackage[T1]{fontenc}\else\usepackage{fontspec}\fi % names beyond Latin need LuaLaTeX
\usepackage[margin=2cm]{geometry}
\begin{document}"""


def escape(text: str) -> str:
    """Return `text` on one line, with every command escaped.

    Parameters
    ----------
    text : any.
    """
    return " ".join(text.split()).translate(_ESCAPES)


def latex(page: Page, figures: Mapping[Figure, str]) -> str:
    """Write a page; a comment after each row of a table names its runs.

    Parameters
    ----------
    page : the report.
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
    caption = rf"\caption{{{escape(table.caption)}}} \\"
    head = [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", caption, r"\toprule", rf"{heads} \\"]
    rows = [r"\midrule", r"\endhead", *map(_row, table.rows), r"\bottomrule", r"\end{longtable}"]
    return "\n".join([*head, *rows])


def _row(row: Sequence[TableCell]) -> str:
    fields = " & ".join(_field(cell) for cell in row)
    runs = dict.fromkeys(run for cell in row for run in cell.run_ids)
    return rf"{fields} \\" + (f" % runs: {' '.join(runs)}" if runs else "")


def _field(cell: TableCell) -> str:
    text = escape(cell.text)
    return rf"{text} \textit{{({escape(cell.flag)})}}" if cell.flag else text
