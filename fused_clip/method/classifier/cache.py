"""A cache of labelled images that votes for their targets, and the tuning of its keys."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fused_clip.method.classifier.cosine import LOGIT_SCALE
from fused_clip.support.arrays import DoubleArray, IntArray

_ROWS_A_BLOCK = 1024
_BATCH = 256
_LEARNING_RATE = 1e-3
_EPSILON = 1e-4  # of AdamW, as Tip-Adapter-F is published


class KeyCache(NamedTuple):
    """Keys that vote for their targets.

    Parameters
    ----------
    keys : (c, d) rows; unit image rows before they are tuned.
    owners : (c,) target of each, in [0, K).
    n_targets : K.
    texts : (K, d) unit text rows; None without text.
    """

    keys: DoubleArray
    owners: IntArray
    n_targets: int
    texts: DoubleArray | None

    def text_logits(self, rows: DoubleArray) -> DoubleArray:
        """CLIP's logits of unit rows, (m, K); zero without text.

        Parameters
        ----------
        rows : (m, d) unit rows.
        """
        if self.texts is None:
            return np.zeros((len(rows), self.n_targets))
        return LOGIT_SCALE * rows @ self.texts.T

    def votes(self, rows: DoubleArray, betas: Sequence[float]) -> DoubleArray:
        """Sum ``exp(-beta (1 - x k))`` over the keys k of each target, (B, m, K).

        Parameters
        ----------
        rows : (m, d) unit rows x.
        betas : B sharpnesses.
        """
        values = np.empty((len(betas), len(rows), self.n_targets))
        one_hot = np.eye(self.n_targets)[self.owners]
        for start in range(0, len(rows), _ROWS_A_BLOCK):
            block = slice(start, start + _ROWS_A_BLOCK)
            excess = rows[block] @ self.keys.T - 1
            for place, beta in enumerate(betas):
                values[place, block] = np.exp(beta * excess) @ one_hot
        return values


def tuned_keys(cache: KeyCache, alpha: float, beta: float, epochs: int, seed: int) -> Iterator[DoubleArray]:
    """Minimise the cross-entropy of the cache's own images over the keys; yield the keys after each epoch.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) on batches of 256, with a cosine schedule that starts
    at 1e-3: the training of Tip-Adapter-F. The texts and the targets of the keys stay.

    Parameters
    ----------
    cache : keys to start from, which are also the training rows.
    alpha : weight of the votes.
    beta : sharpness of the votes.
    epochs : passes over the training rows.
    seed : drives the order of the rows.
    """
    import torch

    rows, owners = torch.from_numpy(cache.keys.astype(np.float32)), torch.from_numpy(cache.owners)
    by_text = torch.from_numpy(cache.text_logits(cache.keys).astype(np.float32))
    one_hot = torch.nn.functional.one_hot(owners, cache.n_targets).to(rows.dtype)
    keys = rows.clone().requires_grad_()
    optimizer = torch.optim.AdamW([keys], lr=_LEARNING_RATE, eps=_EPSILON)
    steps = epochs * -(-len(rows) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for batch in torch.split(torch.from_numpy(rng.permutation(len(rows))), _BATCH):
            votes = torch.exp(beta * (rows[batch] @ keys.T - 1)) @ one_hot
            loss = torch.nn.functional.cross_entropy(by_text[batch] + alpha * votes, owners[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        yield keys.detach().numpy().astype(np.float64)
