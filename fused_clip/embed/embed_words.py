"""Words of ``fused-clip-embed`` -> options, images and encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import OmegaConf, open_dict

from fused_clip.runner.config import check
from fused_clip.runner.in_process import composed, make_importable
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.embed.shard_work import ShardWork


_NO_SWEEP = ("hydra.sweep.dir=${output_dir}",)


class EmbedWords(NamedTuple):
    """Overrides of a command, and the folders of config groups of the user's own."""

    overrides: tuple[str, ...]
    folders: tuple[str, ...] = ()


@contextmanager
def opened(
    words: EmbedWords, make_launcher: Callable[[Any], Any] | None = None
) -> Iterator[tuple[ShardWork, Any]]:
    """Open the work that words describe; also give what `make_launcher` returns.

    Parameters
    ----------
    words : overrides, each with one value.
    make_launcher : called with the config of ``hydra/launcher`` before anything is written.

    Raises
    ------
    InputError
        If an override can't be read or is refused, images can't be listed or the backbone can't work.
    """
    from fused_clip.embed.shard_work import ShardWork

    folders = [str(conf_dir()), *(str(Path(folder).absolute()) for folder in words.folders)]
    _refuse_several_values(words.overrides)
    with composed(words.overrides, folders, hydra=_NO_SWEEP) as config:
        make_importable(config)
        launcher = OmegaConf.to_container(config.hydra.launcher, resolve=True)
        with open_dict(config):
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        options = check(own, words.overrides)
        made = make_launcher(launcher) if make_launcher else None
        yield ShardWork(options, Path(options.output_dir).absolute()), made


def _refuse_several_values(overrides: Sequence[str]) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for one in OverridesParser.create().parse_overrides(list(overrides)):
        if one.is_sweep_override():
            shown = str(one.input_line).partition("=")[2]
            raise InputError(one.key_or_group, "must have one value to embed images", shown)
