"""Command lines that Hydra's grammar can't read, refused with a way to write them."""

import re
from collections.abc import Iterable

from fused_clip.support.errors import InputError

_FOREIGN = re.compile(r"[^\s,:{}\[\]]*[^\x00-\x7f][^,:{}\[\]]*")  # a value with other letters
_QUOTED = r"'\g<0>'"


def check_words(words: Iterable[str]) -> None:
    """Refuse overrides with letters that Hydra's grammar does not read.

    Parameters
    ----------
    words : of the command line.

    Raises
    ------
    InputError
        If a word has a key, or a value without quotes, of other than ASCII letters.
    """
    for word in words:
        if not word.isascii() and "=" in word and not word.startswith("--") and not _is_read(word):
            key, _, value = word.partition("=")
            rule = "on the command line, keys and unquoted values must be of ASCII letters"
            quoted = f"{key}={_FOREIGN.sub(_QUOTED, value)}"
            if _is_read(quoted):
                hint = f'Quote it twice: "{quoted}"'
            else:
                hint = (
                    "Write it into a file of your own, such as mine/experiment/names.yaml with the first line"
                    " '# @package _global_', and add --config-dir mine experiment=names"
                )
            raise InputError(key, rule, value, hint=hint)


def _is_read(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True
