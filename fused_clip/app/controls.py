"""The page's controls: what a visitor types, checked field by field."""

import re
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from fused_clip.app.wishes import Wishes
from fused_clip.model.constraint_parsing import parse_prior, parse_target_map
from fused_clip.model.saved import SavedModel
from fused_clip.support.errors import InputError

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&])")
_LONGEST = 500  # characters of a sentence
_HOLD_OUT = "Needs a model made with calibration.share=.2, which holds labelled images out for it."
_NO_LABELS = "Needs a model made with labels: this one gives margins, no probabilities."
Value = TypeVar("Value")


class Controls:
    """Draws the controls, and collects the wishes and the complaints about them.

    Parameters
    ----------
    model : as it was loaded.
    """

    def __init__(self, model: SavedModel) -> None:
        self._model = model
        self.complaints: list[InputError] = []

    def draw(self) -> Wishes:
        """Draw all controls; a field with a complaint counts as empty."""
        added = self._added()
        names = (*self._model.head.target_names, *(name for name, _ in added))
        st.subheader("What is known of the images")
        targets = tuple(
            st.multiselect(
                "Possible targets", names, key="targets", placeholder=f"all {len(names)}",
                help="Answers are these alone. None chosen: all.",
            )
        )  # fmt: skip
        groups = self._parsed(
            st.text_area(
                "Groups", key="groups", placeholder="pet: [cat, dog]", height=96,
                help="Merges targets into one answer, a line a group.",
            ),
            parse_target_map,
        )  # fmt: skip
        prior = self._parsed(
            st.text_input(
                "Priors", key="prior", placeholder="cat=.9, dog=.1", disabled=not self._model.calibrated,
                help="How frequent each possible target is; they sum to 1." if self._model.calibrated
                else _NO_LABELS,
            ),
            parse_prior,
        )  # fmt: skip
        members = None if groups is None else {name: tuple(group) for name, group in groups.items()}
        return Wishes(added, targets or None, prior, members)

    def _parsed(self, text: str, parse: Callable[[str], Value]) -> Value | None:
        """The value of a field; None if it is blank, or after a complaint, which is shown below it."""
        if not text.strip():
            return None
        try:
            return parse(text)
        except InputError as error:
            self.complain(error)
            return None

    def complain(self, error: InputError) -> None:
        """Show a complaint where the page is drawn, and keep it.

        Parameters
        ----------
        error : about a field.
        """
        self.complaints.append(error)
        st.error(plain(str(error)))

    def _added(self) -> tuple[tuple[str, str], ...]:
        """Draw the form for a new target, and the list of those that were added."""
        added: dict[str, str] = st.session_state.setdefault("added", {})
        st.subheader("Add a target by a sentence")
        with st.form("new", clear_on_submit=True, border=False):
            name = st.text_input("Name", key="new_name", placeholder="zebra", max_chars=_LONGEST)
            text = st.text_input(
                "Sentence", key="new_text", placeholder=self._example(), max_chars=_LONGEST
            )
            if st.form_submit_button("Add"):
                self._add(added, name.strip(), text.strip())
        for name in tuple(added):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"**{plain(name)}**: {plain(added[name])}")
                if st.button("Remove", key=f"remove-{name}"):
                    del added[name]
                    st.rerun()
        return tuple(added.items())

    def _add(self, added: dict[str, str], name: str, text: str) -> None:
        try:
            Wishes((*added.items(), (name, text))).applied(self._model)
        except InputError as error:
            self.complain(error)
        else:
            added[name] = text

    def _example(self) -> str:
        """A sentence in the style of the model's prompts."""
        prompts, names = self._model.head.prompts, self._model.head.target_names
        first = prompts[0][0] if prompts else ""
        return first.replace(names[0], "zebra") if names[0] in first else "This is a zebra"


def plain(text: str) -> str:
    """Escape Markdown, so that a name is shown as it is.

    Parameters
    ----------
    text : of a visitor or a model.
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))

