"""What prompt strategies must make of the sample's classes."""

import numpy as np

from fused_clip.method.prompt import Prompts
from fused_clip.runner.config import build
from fused_clip.support.errors import InputError
from fused_clip.testing.chosen import Chosen
from fused_clip.testing.sample import sample_dataset


def check_prompt(chosen: Chosen) -> None:
    """Distinct prompts, targets of every class, indices that fit, and the same prompts twice.

    Parameters
    ----------
    chosen : an option of the group ``prompt``.
    """
    dataset, options = sample_dataset(), chosen.options.prompt
    try:
        prompts, again = (build(options, dataset=dataset) for _ in range(2))
    except InputError as error:
        asked = error.option.removeprefix("prompt.")
        if asked != error.option and not options.model_dump().get(asked.partition(".")[0]):
            raise chosen.skip(error) from error  # a key without a value: texts or a file of the user's
        raise
    chosen.require(isinstance(prompts, Prompts), "must make fused_clip.method.prompt.Prompts")
    _check_texts(chosen, prompts)
    names, classes = prompts.target_names, len(dataset.class_names)
    chosen.require(len(set(names)) == len(names) > 0, "target_names must be distinct")
    _check_index(chosen, "target_of_class", prompts.target_of_class, classes, len(names))
    every = set(np.asarray(prompts.target_of_class).tolist()) == set(range(len(names)))
    chosen.require(every, "every target must have a class")
    if prompts.prompt_of_target is None:
        chosen.require(not prompts.texts, "prompt_of_target must be there, unless there is no text")
    else:
        _check_index(chosen, "prompt_of_target", prompts.prompt_of_target, len(names), len(prompts.texts))
        used = set(np.asarray(prompts.prompt_of_target).tolist()) == set(range(len(prompts.texts)))
        chosen.require(used, "every prompt must stand for a target")
    alike = prompts.texts == again.texts and prompts.target_names == again.target_names
    chosen.require(alike, "must make the same prompts twice")


def _check_texts(chosen: Chosen, prompts: Prompts) -> None:
    plain = isinstance(prompts.texts, tuple) and all(isinstance(texts, tuple) for texts in prompts.texts)
    chosen.require(plain, "texts must be a tuple with a tuple of texts for each prompt")
    filled = all(
        texts and all(isinstance(one, str) and one.strip() for one in texts) for texts in prompts.texts
    )
    chosen.require(filled, "each prompt must have a text that is not blank")
    chosen.require(len(set(prompts.texts)) == len(prompts.texts), "no two prompts may have the same texts")


def _check_index(chosen: Chosen, name: str, index: object, length: int, count: int) -> None:
    found = np.asarray(index)
    fits = found.shape == (length,) and np.issubdtype(found.dtype, np.integer)
    chosen.require(fits, f"{name} must be {length} whole numbers")
    chosen.require(found.min() >= 0 and found.max() < count, f"{name} must be from 0 to {count - 1}")
