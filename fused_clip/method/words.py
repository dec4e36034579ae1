"""Words that a clusterer looks images up in: read, checked, and written as texts to embed.

A clusterer with the parameters `words`, a file or a list, and `word_rows`, None, is given the embeddings of
its words as `word_rows` before it is fitted. Each word is embedded as its parameter `template` writes it, or
as it is.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fused_clip.backbone.base import Backbone
from fused_clip.backbone.precomputed import Precomputed, UnknownTextError
from fused_clip.method.prompt import render
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular

OPTION = "clusterer.words"
NOUNS = Path(__file__).parents[1] / "assets" / "nouns" / "nouns.txt"
WORD = re.compile(r"[^\W_]+")  # an underscore ends a word, as in CLIP's tokenizers


class Words(NamedTuple):
    """Words of a clusterer.

    Parameters
    ----------
    words : m distinct words.
    texts : m texts, by which they are embedded.
    """

    words: tuple[str, ...]
    texts: tuple[str, ...]


def has_words(clusterer: Any) -> bool:
    """Whether a clusterer looks images up in words.

    Parameters
    ----------
    clusterer : any scikit-learn clusterer.
    """
    return {"words", "word_rows"} <= set(clusterer.get_params(deep=False))


def wants_words(clusterer: Any) -> bool:
    """Whether a clusterer has words and lacks their embeddings.

    Parameters
    ----------
    clusterer : any scikit-learn clusterer.
    """
    return has_words(clusterer) and clusterer.get_params(deep=False)["word_rows"] is None


def read_words(words: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Read words: m distinct ones, at least one.

    Parameters
    ----------
    words : a list of them, a UTF-8 text file of one a line, or None for the 5,000 nouns of this package.

    Raises
    ------
    InputError
        If the file can't be read, an entry is no text, or there is no word.
    """
    found: Sequence[Any]
    if words is None or isinstance(words, (str, Path)):
        try:
            found = read_regular(Path(words or NOUNS), MOST_TEXT).decode().splitlines()
        except (OSError, ValueError) as error:
            rule = f"must be a list, or a UTF-8 text file of one word a line ({error})"
            raise InputError(OPTION, rule, str(words)) from error
    else:
        found = words
    if not all(isinstance(word, str) for word in found):
        raise InputError(OPTION, "must be texts", found)
    distinct = tuple(dict.fromkeys(word.strip() for word in found if word.strip()))
    if not distinct:
        raise InputError(OPTION, "must name at least one word", words)
    return distinct


def words_of(clusterer: Any, backbone: Backbone) -> Words:
    """Words of a clusterer that a backbone knows, and their texts.

    A backbone with a vocabulary gives other words rows without meaning, so these are left out.

    Parameters
    ----------
    clusterer : for which `wants_words` is true.
    backbone : embeds the texts.

    Raises
    ------
    InputError
        If the words can't be read, the backbone knows none, or the template is none.
    """
    params = clusterer.get_params(deep=False)
    words, known = read_words(params["words"]), backbone.vocabulary
    if known is not None:
        words = tuple(word for word in words if known.issuperset(WORD.findall(word.lower())))
    if not words:
        rule = f"must include a word that {backbone.name} was trained on"
        raise InputError(OPTION, rule, params["words"], hint="backbone=open knows English")
    template = params.get("template", "{}")
    return Words(words, tuple(render(template, word, option="clusterer.template") for word in words))


def check_words(clusterer: Any, backbone: Backbone) -> None:
    """Refuse words that can't be embedded, before anything is.

    Parameters
    ----------
    clusterer : any scikit-learn clusterer.
    backbone : of the run.

    Raises
    ------
    InputError
        As `words_of`; if the vectors of texts came with the data, and one of the words has none.
    """
    if not wants_words(clusterer):
        return
    texts = words_of(clusterer, backbone).texts
    if isinstance(backbone, Precomputed):
        try:
            backbone.encode_texts(texts)  # looks them up
        except UnknownTextError as error:
            rule = "needs embeddings of its words, which did not come with the data"
            hint = "Name the backbone that made the vectors, e.g. backbone=vit_b_32"
            raise InputError("clusterer", rule, hint=hint) from error
