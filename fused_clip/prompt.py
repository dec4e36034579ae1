"""Prompt strategies (METHOD section 4): class names -> distinct prompts and what each stands for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts, the targets, and which prompt stands for which target.

    Parameters
    ----------
    texts : p prompts, each one or several texts (several are an ensemble).
    target_names : K names.
    target_of_class : (C,) target of each class, in [0, K).
    prompt_of_target : (K,) prompt that stands for each target, in [0, p); None without text.
    truthful : whether each prompt describes the target it stands for (not so when swapped).
    """

    texts: tuple[tuple[str, ...], ...]
    target_names: tuple[str, ...]
    target_of_class: IntArray
    prompt_of_target: IntArray | None
    truthful: bool = True
