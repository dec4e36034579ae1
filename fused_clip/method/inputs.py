"""Checks of the estimator's targets, prompts and pairing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.multiclass import check_classification_targets

from fused_clip.support.arrays import Array, BoolArray, IntArray, Rows


def check_classes(
    y: ArrayLike | None,
    vote: str,
    texts: ArrayLike | None,
    prompt_of_target: ArrayLike | Mapping[Any, int] | None,
    labelled: BoolArray | None = None,
) -> tuple[Array, IntArray | None]:
    """Return the sorted targets, and the position of each row's target in them; None without `y`.

    Rows without a label have position -1.

    Parameters
    ----------
    y : (n,) targets.
    vote : how clusters get their targets; only "prompt" does without `y`.
    texts : (p, d) text rows.
    prompt_of_target : as in `PromptFusedClassifier`; the keys of a mapping are the targets.
    labelled : (n,) whether the target of each row may be used; None for all.

    Raises
    ------
    ValueError
        If `y` is missing, or names a target that the mapping lacks.
    """
    named = list(prompt_of_target) if isinstance(prompt_of_target, Mapping) else None
    if y is None:
        if vote != "prompt":
            raise ValueError(f"vote={vote!r} requires y to be passed, but the target y is None")
        count = 0 if texts is None else len(np.asarray(texts))
        return np.array(sorted(range(count) if named is None else named)), None
    y = np.asarray(y)
    check_classification_targets(y)
    known = np.ones(len(y), dtype=bool) if labelled is None else labelled
    classes = np.unique(y[known] if named is None else np.asarray(named))
    positions = np.searchsorted(classes, y[known])
    unknown = classes[np.minimum(positions, len(classes) - 1)] != y[known]
    if unknown.any():
        raise ValueError(f"prompt_of_target names no prompt for target {y[known][unknown][0]}")
    targets = np.full(len(y), -1)
    targets[known] = positions
    return classes, targets


def check_labelled(labelled: ArrayLike | None, y: ArrayLike | None) -> BoolArray | None:
    """Return the mask of rows whose targets may be used; None for all.

    Parameters
    ----------
    labelled : (n,) booleans, or None.
    y : (n,) targets, or None.

    Raises
    ------
    ValueError
        If it has another shape, is not boolean, is given without `y`, or allows no row.
    """
    if labelled is None:
        return None
    if y is None:
        raise ValueError("labelled needs y")
    known = np.asarray(labelled)
    if known.dtype != bool or known.shape != np.shape(y):
        raise ValueError(f"labelled must be {np.shape(y)} booleans, got {known.shape} of {known.dtype}")
    if not known.any():
        raise ValueError("labelled must allow at least one row; pass no y for none")
    return known


def check_texts(
    texts: ArrayLike | None,
    prompt_of_target: ArrayLike | Mapping[Any, int] | None,
    classes: Array,
    vote: str,
    width: int,
) -> tuple[Rows | None, IntArray | None]:
    """Return the text rows and the (K,) prompt of each target; None without text.

    Parameters
    ----------
    texts : (p, d) text rows.
    prompt_of_target : as in `PromptFusedClassifier`.
    classes : (K,) sorted targets.
    vote : how clusters get their targets; "prompt" needs text.
    width : d, of the image rows.

    Raises
    ------
    ValueError
        On another shape, values that are not finite, or a prompt that does not exist.
    """
    if texts is None:
        if vote == "prompt":
            raise ValueError("vote='prompt' needs text_embeddings")
        return None, None
    rows = np.asarray(texts)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"text_embeddings must have shape (p, {width}), got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("text_embeddings contains NaN or infinity")
    if isinstance(prompt_of_target, Mapping):
        prompts = np.array([prompt_of_target[name] for name in classes.tolist()])
    else:
        prompts = np.arange(len(rows)) if prompt_of_target is None else np.asarray(prompt_of_target)
    if prompts.shape != classes.shape:
        raise ValueError(
            f"prompt_of_target must name one prompt for each of the {len(classes)} targets, "
            f"got {len(prompts)}; use a mapping if y lacks some"
        )
    _check_index("prompt_of_target", prompts, len(rows))
    return rows, prompts


def check_pairing(
    prompt_index: ArrayLike | None,
    targets: IntArray | None,
    prompts: IntArray | None,
    texts: Rows | None,
    n_rows: int,
) -> IntArray | None:
    """Return the (n,) prompt of each row, that of its target unless one is given; None without text.

    Parameters
    ----------
    prompt_index : (n,) prompt of each row, or None.
    targets : (n,) position of each row's target, or None.
    prompts : (K,) prompt of each target.
    texts : (p, d) text rows.
    n_rows : n.

    Raises
    ------
    ValueError
        If neither a pairing nor targets are given, or a prompt does not exist.
    """
    if prompts is None or texts is None:
        if prompt_index is not None:
            raise ValueError("prompt_index needs text_embeddings")
        return None
    if prompt_index is None:
        if targets is None:
            raise ValueError("without y, prompt_index must name the prompt of each row")
        if (targets < 0).any():
            raise ValueError("prompt_index must name the prompt of rows without a label")
        return prompts[targets]
    index = np.asarray(prompt_index)
    if index.shape != (n_rows,):
        raise ValueError(f"prompt_index must have shape ({n_rows},), got {index.shape}")
    _check_index("prompt_index", index, len(texts))
    return index


def targets_of_prompts(prompt_of_target: IntArray) -> IntArray:
    """Return the (p,) target of each prompt, where every prompt stands for exactly one.

    Parameters
    ----------
    prompt_of_target : (K,) prompt of each target.

    Raises
    ------
    ValueError
        If a prompt stands for no target or for several.
    """
    if not np.array_equal(np.sort(prompt_of_target), np.arange(len(prompt_of_target))):
        raise ValueError("vote='prompt' needs each prompt to stand for one target of its own")
    return np.argsort(prompt_of_target)


def _check_index(name: str, index: Array, count: int) -> None:
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got dtype {index.dtype}")
    if index.size and not (index.min() >= 0 and index.max() < count):
        received = f"{index.min()} to {index.max()}"
        raise ValueError(f"{name} must be rows of text_embeddings, in [0, {count}), got {received}")
