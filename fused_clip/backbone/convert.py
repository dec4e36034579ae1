"""Convert OpenAI's ``.pt`` of a CLIP to safetensors, after a check of its SHA-256.

``python -m fused_clip.backbone.convert ViT-B-32.pt ViT-B-32.safetensors``

The tensors are written as float32 under the same names, without metadata: the layout, and for ViT-B/32 the
length to the byte, of the file that open_clip loads from the hub. A record stands next to the file: it names
the hash of the source, and loading the weights checks it.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fused_clip.backbone.open_clip_import import load_open_clip
from fused_clip.backbone.torchscript import check_archive, read_tensors
from fused_clip.backbone.weights import record_path
from fused_clip.support.arrays import Array
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing, sha256, writable, write_atomic

# OpenAI's archives have these numbers among the tensors of the model.
_NUMBERS = {"input_resolution", "context_length", "vocab_size"}
_NAMED = 3  # tensors that an error lists


class Converted(NamedTuple):
    """Weights that were converted, and where they come from; the fields of the record.

    Parameters
    ----------
    model : value of ``backbone.model`` for these weights.
    weights_sha256 : of the file that was written.
    source : name of the file that was read.
    source_sha256 : of the file that was read.
    """

    model: str
    weights_sha256: str
    source: str
    source_sha256: str


def convert(source: Path, out: Path, *, expected: str | None = None, model: str | None = None) -> Converted:
    """Convert a TorchScript archive of a CLIP to a safetensors file with a record.

    Parameters
    ----------
    source : OpenAI's file, or another CLIP of the same form.
    out : new ``.safetensors`` file.
    expected : SHA-256 (hex) that `source` must have; None for one that OpenAI published.
    model : architecture; None for that of OpenAI's file.

    Raises
    ------
    InputError
        If `source` is no such archive, is damaged, has another hash or another architecture, or if `out`
        exists or can't be written.
    """
    if out.suffix != ".safetensors" or out.exists():
        raise InputError("out", "must be a new file that ends with .safetensors", str(out))
    check_archive(source)
    found = sha256(source) or ""
    model = _model_of(source, found, expected, model)
    tensors = read_tensors(source)
    for name in _NUMBERS & tensors.keys():
        del tensors[name]
    _check_architecture(tensors, model)
    with writable(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        return _write({name: _widened(tensor) for name, tensor in tensors.items()}, out, model, source, found)


def published() -> dict[str, str]:
    """Architecture of each file that OpenAI published, by the SHA-256 (hex) in its address."""
    open_clip = load_open_clip()
    models = open_clip.list_pretrained_models_by_tag("openai")
    return {
        open_clip.get_pretrained_url(model, "openai").split("/")[-2]: model
        for model in models
        if model.endswith("-quickgelu")
    }


def _model_of(source: Path, found: str, expected: str | None, model: str | None) -> str:
    """Architecture of a file, after a check of its hash."""
    known = published()
    if expected is not None and found != expected.lower():
        raise InputError("--sha256", f"must be the SHA-256 of {source.name}, which is {found}", expected)
    if expected is None and found not in known:
        named = {name: digest for digest, name in known.items() if name == f"{source.stem}-quickgelu"}
        wanted = named or {name: f"{digest[:12]}..." for digest, name in known.items()}
        names = ", ".join(f"{name} {digest}" for name, digest in wanted.items())
        rule = f"must have a SHA-256 that OpenAI published ({names})"
        hint = f"Download the file again; for another CLIP give --sha256 {found} and --model"
        raise InputError("source", rule, f"{source.name} with {found}", hint=hint)
    model = model or known.get(found, "")
    if model not in known.values() or known.get(found, model) != model:
        choices = [known[found]] if found in known else known.values()
        raise InputError("--model", f"must be the architecture of {source.name}", model, choices=choices)
    return model


def _check_architecture(tensors: Mapping[str, Array], model: str) -> None:
    """Raise InputError unless names and shapes are those of the architecture."""
    import torch

    open_clip = load_open_clip()
    with torch.device("meta"):  # shapes alone
        state = open_clip.CLIP(**open_clip.get_model_config(model)).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name))
    if wrong:
        facts = [f"{name} {shapes.get(name, 'missing')}, not {wanted.get(name, 'there')}" for name in wrong]
        rule = f"must have the tensors of {model}; {len(wrong)} differ: {'; '.join(facts[:_NAMED])}"
        raise InputError("source", rule)


def _widened(tensor: Array) -> Array:
    """A contiguous copy; float16, as OpenAI stores most weights, becomes float32 without loss."""
    return np.array(tensor, np.float32 if tensor.dtype.kind == "f" else tensor.dtype, order="C")


def _write(tensors: Mapping[str, Array], out: Path, model: str, source: Path, found: str) -> Converted:
    from safetensors.numpy import save_file

    with replacing(out) as draft:
        save_file(dict(tensors), draft)
        made = Converted(model, sha256(draft) or "", source.name, found)
        # The record comes first: weights without one would not be known as converted.
        write_atomic(record_path(out), (json.dumps(made._asdict(), indent=1) + "\n").encode())
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code.

    Parameters
    ----------
    arguments : of the command line; None for those of the process.
    """
    options = _parser().parse_args(arguments)
    with one_line_errors("Nothing was written; start the same command again."):
        made = convert(options.source, options.out, expected=options.sha256, model=options.model)
    print(f"{options.out}: SHA-256 {made.weights_sha256}, from {made.source}, SHA-256 {made.source_sha256}")
    print(f"Use it with backbone.model={made.model} backbone.pretrained={options.out.absolute()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "python -m fused_clip.backbone.convert",
        "Convert OpenAI's .pt of a CLIP to a .safetensors file, after a check of its SHA-256.",
    )
    parser.add_argument("source", type=Path, help="the .pt file (a TorchScript archive)")
    parser.add_argument("out", type=Path, help="new .safetensors file; a .source.json is written next to it")
    parser.add_argument("--sha256", help="hash of a file that OpenAI did not publish")
    parser.add_argument("--model", help="its architecture, such as ViT-B-32-quickgelu")
    return parser


if __name__ == "__main__":
    sys.exit(main())
