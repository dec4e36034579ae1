"""The page, as a script that Streamlit runs anew after every change."""

from hashlib import sha256
from typing import TYPE_CHECKING

import streamlit as st

from fused_clip.app.cards import ORDERS, cards, html, order, positions
from fused_clip.app.controls import Controls, plain
from fused_clip.app.studio import AnswerSheet, Studio, opened
from fused_clip.app.uploads import MOST_IMAGES, Accepted, Upload, accept
from fused_clip.app.wishes import Wishes
from fused_clip.predict.gallery import About
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

_PER_PAGE = 24


def show(studio: Studio) -> None:
    """Draw the page.

    Parameters
    ----------
    studio : the model in use.
    """
    st.set_page_config(page_title="Try a model", layout="wide")
    st.html("<style>[data-testid='stMainBlockContainer'] { padding-top: 3.5rem }</style>")
    about = About.of(studio.model, studio.place)
    st.title("Try a model")
    if about.warning:
        st.warning(plain(about.warning))
    with st.sidebar:
        controls = Controls(studio.model)
        wishes = controls.draw()
        with st.expander("About the model"):
            for name, value in about.facts.items():
                st.caption(f"**{name}**: {plain(value)}")
    accepted = _uploads()
    if controls.complaints:
        for complaint in controls.complaints:
            st.error(plain(str(complaint)))
    elif accepted.uploads:
        _answers(studio, accepted, wishes, without=controls.withdrawn)


def _uploads() -> Accepted:
    """Draw the two places for images, and give those that are answered."""
    one, all_ = st.tabs(["Images", "A folder"])
    with one:
        files = st.file_uploader("Images", accept_multiple_files=True, key="files")
    with all_:
        folder = st.file_uploader("A folder", accept_multiple_files="directory", key="folder")
    accepted = accept(list(map(_upload, files)), list(map(_upload, folder)))
    if accepted.too_many:
        st.warning(f"The first {MOST_IMAGES} images are answered; {accepted.too_many:,} more are left out.")
    if accepted.other_files:
        st.caption(f"{accepted.other_files:,} files of the folder are no images.")
    return accepted


def _upload(file: "UploadedFile") -> Upload:
    """Hash a file once in a session: its bytes are not read again after a change of a control."""
    keys: dict[str, bytes] = st.session_state.setdefault("keys", {})
    if file.file_id not in keys:
        keys[file.file_id] = sha256(file.getbuffer()).digest()
    return Upload(file.name, keys[file.file_id], file.getvalue)


def _answers(studio: Studio, accepted: Accepted, wishes: Wishes, *, without: bool) -> None:
    try:
        with st.spinner("Looking at the images ..."):
            sheet = studio.answer(accepted.uploads, wishes)
    except InputError as error:
        st.error(plain(str(error)))
        return
    _summary(sheet)
    _promise(sheet, without=without)
    _gallery(studio, sheet)
    command = wishes.command(studio.place)
    if command:
        st.caption("The same answers on the command line:")
        st.code(command, language="bash", wrap_lines=True)


def _summary(sheet: AnswerSheet) -> None:
    """Draw the counts and the table's button."""
    good, bad = sheet.totals.counts["predicted"], sheet.totals.counts["bad"]
    words = f"**{good:,} {'image' if good == 1 else 'images'} answered**"
    if bad:
        words += f", {bad:,} unreadable"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(words, width="content")
        st.download_button(
            "Download the answers (CSV)", sheet.csv(), "answers.csv", "text/csv", disabled=not good
        )


def _promise(sheet: AnswerSheet, *, without: bool) -> None:
    """Draw what the answers promise, and first of all that they no longer do."""
    if without:
        st.error("**GUARANTEE WITHDRAWN: a target that was added by a sentence has no calibration images.**")
    if sheet.totals.guarantee is None:
        return
    warning = sheet.totals.warning
    lines = [plain(line) for line in sheet.totals.lines if line != warning]
    if warning:
        st.error("  \n".join([f"**{plain(warning)}**", *lines]))
    else:
        st.success("  \n".join(lines))


def _gallery(studio: Studio, sheet: AnswerSheet) -> None:
    """Draw the cards, a page at a time."""
    by = st.radio("Order", ORDERS, horizontal=True, key="order", label_visibility="collapsed")
    if studio.no_evidence:
        st.caption(plain(f"Answers come without evidence. {studio.no_evidence}"))
    places = order(sheet.rows, by)
    pages = -(-len(places) // _PER_PAGE)
    page = st.pagination(pages, key="page") if pages > 1 else 1
    shown = cards(sheet, places[(page - 1) * _PER_PAGE : page * _PER_PAGE])
    st.html(html(shown, studio.thumbnails(positions(shown))))


if __name__ == "__main__":
    show(opened(**st.secrets["model"]))
