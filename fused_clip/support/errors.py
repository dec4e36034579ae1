"""The error for invalid input: option, rule, value, choices, next step."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 200
_ABSENT = object()


class InputError(ValueError):
    """Invalid input.

    Parameters
    ----------
    option : name of the option or argument at fault, e.g. ``dataset.n_train``.
    rule : condition, e.g. ``must be at least 1``.
    value : that breaks the rule; its first 200 characters are shown, nothing if not given.
    choices : accepted values; the closest one to `value` is suggested.
    hint : next step.
    """

    def __init__(
        self,
        option: str,
        rule: str,
        value: object = _ABSENT,
        *,
        choices: Iterable[str] | None = None,
        hint: str = "",
    ) -> None:
        self.option = option
        message = f"{option}: {rule}"
        if value is not _ABSENT:
            text = repr(value)
            message += f", got {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"
        if choices is not None:
            known = list(choices)
            message += f"; choose from: {', '.join(known) or '(none)'}"
            near = get_close_matches(str(value), known, n=1)
            if near:
                message += f" (did you mean {near[0]!r}?)"
        if hint:
            message += f". {hint}"
        super().__init__(message)
