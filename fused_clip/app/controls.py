"""The page's controls: what a visitor types, checked field by field."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import streamlit as st

from fused_clip.app.wishes import Wishes
from fused_clip.guarantee.conformal import Per
from fused_clip.model.constraint_parsing import parse_prior, parse_target_map
from fused_clip.model.saved import SavedModel
from fused_clip.support.errors import InputError

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&])")
_LONGEST = 500  # characters of a sentence
_HOLD_OUT = "Needs a model made with `calibration.share=.2`, which holds images out for it."
_NO_LABELS = "Needs a model made with labels: this one gives margins, no probabilities."
_PER: tuple[Per, ...] = ("all", "target")
_PER_NAMES = {"all": "all images", "target": "each target's images"}
Names: TypeAlias = tuple[str, ...]
Prior: TypeAlias = Mapping[str, float]
Groups: TypeAlias = Mapping[str, Names]
Value = TypeVar("Value")


class Controls:
    """Draws the controls, and collects the wishes and the complaints about them.

    Parameters
    ----------
    model : as it was loaded.

    Attributes
    ----------
    complaints : about fields, each shown below its field.
    withdrawn : whether a guarantee was asked for, and an added target withdraws it.
    """

    def __init__(self, model: SavedModel) -> None:
        self._model = model
        self.complaints: list[InputError] = []
        self.withdrawn = False

    def draw(self) -> Wishes:
        """Draw all controls; a field with a complaint counts as empty."""
        added: dict[str, str] = st.session_state.setdefault("added", {})
        st.subheader("About the images")
        targets, prior, groups = self._constraint((*self._model.head.target_names, *added))
        st.subheader("What the answers promise")
        coverage, per, unknown = self._promises()
        threshold = st.slider(
            "Abstain below a probability of", 0.0, 0.99, 0.0, 0.01, key="threshold", **self._if_calibrated()
        )
        st.subheader("Add a target by a sentence")
        self._additions(added)
        self.withdrawn = bool(added) and (coverage is not None or unknown is not None)
        if added:
            coverage, unknown = None, None
        return Wishes(tuple(added.items()), targets, prior, groups, threshold, coverage, per, unknown)

    def _constraint(self, names: Sequence[str]) -> tuple[Names | None, Prior | None, Groups | None]:
        """Draw what narrows the answers, and give it."""
        known = "Answers are these alone; with none chosen, all are possible."
        every = f"all {len(names):,}"
        targets = st.multiselect("Possible targets", names, key="targets", placeholder=every, help=known)
        merged = "Merges targets into one answer, a line a group."
        groups = self._parsed(
            st.text_area("Groups", key="groups", placeholder="pet: [cat, dog]", height=96, help=merged),
            parse_target_map,
        )
        shares = "How frequent each possible target is where the images come from; the shares sum to 1."
        prior = self._parsed(
            st.text_input("Priors", key="prior", placeholder="cat=.9, dog=.1", **self._if_calibrated(shares)),
            parse_prior,
        )
        members = None if groups is None else {name: tuple(group) for name, group in groups.items()}
        return tuple(targets) or None, prior, members

    def _promises(self) -> tuple[float | None, Per, float | None]:
        """Draw coverage and the share of unknown images, and give them as they stand."""
        off = self._model.calibration is None
        if off:
            st.caption(_HOLD_OUT)
        coverage, per, unknown = None, _PER[0], None
        if st.toggle("Sets of targets with a coverage", key="sets", disabled=off):
            coverage = st.slider("Coverage", 0.5, 0.99, 0.9, 0.01, key="coverage")
            named = _PER_NAMES.__getitem__
            per = st.radio("Coverage of", _PER, key="per", format_func=named, horizontal=True)
        if st.toggle('Say "unknown"', key="unknown_on", disabled=off):
            about = "At most this share of images of the model's targets is called unknown"
            unknown = st.slider(about, 0.01, 0.5, 0.05, 0.01, key="unknown")
        return coverage, per, unknown

    def _if_calibrated(self, hint: str | None = None) -> dict[str, Any]:
        """Arguments of a control that needs probabilities."""
        calibrated = self._model.calibrated
        return {"disabled": not calibrated, "help": hint if calibrated else _NO_LABELS}

    def _parsed(self, text: str, parse: Callable[[str], Value]) -> Value | None:
        """The value of a field; None if it is blank, or after a complaint, which is shown below it."""
        if not text.strip():
            return None
        try:
            return parse(text)
        except InputError as error:
            self.complaints.append(error)
            st.error(plain(str(error)))
            return None

    def _additions(self, added: dict[str, str]) -> None:
        """Draw the form for a new target, and the list of those that were added."""
        with st.form("new", border=False):
            st.text_input("Name", key="new_name", placeholder="zebra", max_chars=_LONGEST)
            st.text_input("Sentence", key="new_text", placeholder=self._example(), max_chars=_LONGEST)
            st.form_submit_button("Add", key="add", on_click=self._add)
        if error := st.session_state.pop("refused", ""):
            st.error(plain(error))
        for name, text in added.items():
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"**{plain(name)}**: {plain(text)}")
                st.button("Remove", key=f"remove-{name}", on_click=_remove, args=(name,))

    def _add(self) -> None:
        """Add what the form has, before the page is drawn anew; text that is refused stays in its field."""
        state = st.session_state
        new = (state["new_name"].strip(), state["new_text"].strip())
        try:
            Wishes((*state["added"].items(), new)).applied(self._model)
        except InputError as error:
            state["refused"] = str(error)
        else:
            state["added"][new[0]] = new[1]
            state["new_name"] = state["new_text"] = ""

    def _example(self) -> str:
        """A sentence in the style of the model's prompts."""
        prompts, names = self._model.head.prompts, self._model.head.target_names
        first = prompts[0][0] if prompts else ""
        return first.replace(names[0], "zebra") if names[0] in first else "This is a zebra"


def _remove(name: str) -> None:
    """Take a target back, also from the possible ones."""
    st.session_state["added"].pop(name, None)
    st.session_state["targets"] = [one for one in st.session_state["targets"] if one != name]


def plain(text: str) -> str:
    """Escape Markdown, so that a name is shown as it is.

    Parameters
    ----------
    text : of a visitor or a model.
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
