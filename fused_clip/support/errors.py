"""The error for invalid input: option, rule, value, choices, next step."""

import inspect
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

log = logging.getLogger(__name__)
_LONGEST = 200
_PARAMETER = re.compile(r"The '(\w+)' parameter of \w+ (must be .+)\. Got (.+) instead\.", re.DOTALL)
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


@contextmanager
def part_errors(option: str, part: object) -> Iterator[None]:
    """Turn what a part from another package raises into InputError; errors of this package's parts pass.

    Parameters
    ----------
    option : that names the part.
    part : function, class or object, called in the block.

    Raises
    ------
    InputError
        On any error but those of files and memory, and those that are InputError already. An error of
        scikit-learn on a parameter names ``<option>.<parameter>``.
    """
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:
        kind = part if inspect.isroutine(part) or inspect.isclass(part) else type(part)
        if kind.__module__.partition(".")[0] == "fused_clip":
            raise
        log.debug("%s failed", kind.__qualname__, exc_info=True)
        if found := _PARAMETER.match(str(error)):
            name, rule, value = found.groups()
            raise InputError(f"{option}.{name}", f"{rule}, got {value}") from error
        first = next(iter(str(error).splitlines()), "")
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        rule = f"{kind.__module__}.{kind.__qualname__} failed ({reason})"
        raise InputError(option, rule, hint="hydra.verbose=fused_clip shows where") from error
