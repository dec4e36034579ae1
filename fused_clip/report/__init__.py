"""Runs to tables and pages: Markdown, LaTeX, CSV and one self-contained HTML page.

``python -m fused_clip.report --study NAME`` makes a page of any study. One with a page of its own has
``conf/report/<study>.yaml``, whose ``_target_`` is a function ``(records: Sequence[RunRecord]) -> Page``: it
gets every cell of the study once, finished or not.
"""

from fused_clip.report.page import Details, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.summary import group_by, summarize
from fused_clip.tracking.records import RunRecord

__all__ = [
    "Details", "Figure", "Page", "Prose", "RunRecord", "Section", "Table", "TableCell",
    "group_by", "summarize",
]  # fmt: skip
