"""Resolve `backbone.model` and `backbone.pretrained` to architecture, preprocessing and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fused_clip.backbone.open_clip_import import load_open_clip
from fused_clip.backbone.weights import OPTION, HubWeights, LocalWeights, read_record
from fused_clip.support.errors import InputError
from fused_clip.support.json_files import parse_json_object

ASSETS = Path(__file__).parent.parent / "assets"
_CONFIG = "open_clip_config.json"
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class ModelSource:
    """Everything that open_clip needs to make a model.

    Parameters
    ----------
    label : short name for titles.
    open_clip_name : first argument of `open_clip.create_model`.
    config : open_clip's architecture (``embed_dim``, ``vision_cfg``, ``text_cfg``, ...).
    pixels : open_clip's preprocessing; OpenAI's values replace missing ones.
    weights : of the model.
    training : contents of ``training.json`` in the folder of the weights, or the record of a conversion.
    """

    label: str
    open_clip_name: str
    config: Mapping[str, Any]
    pixels: Mapping[str, Any]
    weights: LocalWeights | HubWeights
    training: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise InputError for weights that are missing, damaged or of another architecture."""
        self.weights.check(self.shapes())
        stated = self.training.get("weights_sha256")
        if stated is not None and self.weights.sha256() != stated:
            rule = f"the weights of {self.label} are damaged: their SHA-256 is not the one stated with them"
            raise InputError(OPTION, rule, hint="Install or copy them again")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that distinguish architectures, by their names in a weights file."""
        text, vision = self.config["text_cfg"], self.config["vision_cfg"]
        shapes: dict[str, tuple[int, ...]] = {}
        if "hf_model_name" not in text:
            width = text.get("width", 512)
            for tower in ("", "text."):  # open_clip reads both layouts
                shapes[f"{tower}token_embedding.weight"] = (text.get("vocab_size", 49408), width)
                shapes[f"{tower}positional_embedding"] = (text.get("context_length", 77), width)
        if isinstance(vision.get("layers", 12), int) and "timm_model_name" not in vision:
            width, patch, side = vision.get("width", 768), vision.get("patch_size", 16), self.image_size
            if isinstance(side, int):
                shapes["visual.positional_embedding"] = ((side // patch) ** 2 + 1, width)
            shapes["visual.conv1.weight"] = (width, 3, patch, patch)
        return shapes

    @property
    def files(self) -> tuple[Path, ...]:
        """Files on this machine that the model is made from; the hub's cache has hashes of its own."""
        scheme, _, folder = self.open_clip_name.partition("local-dir:")
        own = [Path(folder) / name for name in (_CONFIG, "training.json")] if not scheme and folder else []
        weights = [self.weights.path] if isinstance(self.weights, LocalWeights) else []
        return tuple(path for path in (*weights, *own) if path.is_file())

    @property
    def image_size(self) -> Any:
        """Side of the square input in pixels, or [height, width]."""
        return self.config["vision_cfg"].get("image_size", 224)


def find_source(model: str, pretrained: str | None) -> ModelSource:
    """Find the model; InputError if model or weights do not exist, or their activations differ.

    Parameters
    ----------
    model : a model that ships with this package (a folder of its ``assets``), ``local-dir:<folder>``,
        ``hf-hub:<owner>/<name>``, or an open_clip architecture.
    pretrained : an open_clip tag (for an architecture), or a local ``.safetensors`` file; None for the
        weights that come with the model.
    """
    scheme, _, rest = model.partition(":") if ":" in model else ("", "", model)
    if scheme == "hf-hub":
        config = HubWeights(rest, (_CONFIG,)).fetch()
        return _from_folder(config.parent, rest, HubWeights(rest, _HUB_FILES), pretrained)
    if scheme == "local-dir" or (model and (ASSETS / model / _CONFIG).is_file()):
        folder = Path(rest).expanduser() if scheme else ASSETS / model
        return _from_folder(folder, folder.name, LocalWeights(folder / _HUB_FILES[0]), pretrained)
    return _from_open_clip(model, pretrained)


def _from_folder(
    folder: Path, label: str, weights: LocalWeights | HubWeights, pretrained: str | None
) -> ModelSource:
    config = _read_json(folder / _CONFIG, required=True)
    if pretrained is not None:
        label, weights = f"{label}/{Path(pretrained).stem}", LocalWeights(Path(pretrained).expanduser())
    try:
        architecture = config["model_cfg"]
        architecture["embed_dim"], architecture["vision_cfg"].get, architecture["text_cfg"].get
    except (KeyError, TypeError, AttributeError) as error:
        rule = "the model's open_clip_config.json must have model_cfg with embed_dim, vision_cfg and text_cfg"
        raise InputError("backbone.model", rule, str(folder)) from error
    training = {} if pretrained else _read_json(folder / "training.json", required=False)
    pixels = config.get("preprocess_cfg", {})
    return ModelSource(label, f"local-dir:{folder}", architecture, pixels, weights, training)


def _from_open_clip(model: str, pretrained: str | None) -> ModelSource:
    open_clip = load_open_clip()  # takes seconds, and no other kind of model needs it here
    if model not in (known := open_clip.list_models()):
        shipped = sorted(path.parent.name for path in ASSETS.glob(f"*/{_CONFIG}"))
        rule = "must be a shipped model, an open_clip model, local-dir:<folder> or hf-hub:<owner>/<name>"
        choices = [*shipped, *get_close_matches(model, known, n=5)]
        hint = "open_clip.list_models() lists all names"
        raise InputError("backbone.model", rule, model, choices=choices, hint=hint)
    config, tags = open_clip.get_model_config(model), open_clip.list_pretrained_tags_by_model(model)
    if pretrained is None:
        rule = f"must name the weights of {model}: a tag, or a local .safetensors file"
        raise InputError(OPTION, rule, pretrained, choices=tags)
    tag = pretrained.lower().replace("-", "_")
    if tag in tags:
        tag_config = open_clip.get_pretrained_cfg(model, tag)
        _check_activation(model, tag, config, tag_config)
        return ModelSource(f"{model}/{tag}", model, config, tag_config, _tag_weights(tag_config))
    path = Path(pretrained).expanduser()
    if not path.suffix and not path.exists():
        rule = f"must be a tag of {model} or a local .safetensors file"
        raise InputError(OPTION, rule, pretrained, choices=tags)
    record = read_record(path)
    if record and record["model"] != model:
        rule = f"must be the architecture of {path.name}, as the record of its conversion states it"
        raise InputError("backbone.model", rule, model, hint=f"Use backbone.model={record['model']}")
    return ModelSource(f"{model}/{path.stem}", model, config, {}, LocalWeights(path), record)


def _check_activation(model: str, tag: str, config: Mapping[str, Any], tag_config: Mapping[str, Any]) -> None:
    """OpenAI's weights need QuickGELU: with plain GELU they load, and give wrong embeddings."""
    has, needs = (bool(of.get("quick_gelu", False)) for of in (config, tag_config))
    if has != needs:
        other = f"{model}-quickgelu" if needs else model.removesuffix("-quickgelu")
        verb = "were trained with" if needs else "were not trained with"
        rule = f"the weights {tag!r} {verb} QuickGELU, and {model} {'lacks' if needs else 'has'} it"
        raise InputError("backbone.model", rule, model, hint=f"Use backbone.model={other}")


def _tag_weights(tag_config: Mapping[str, Any]) -> HubWeights:
    """Weights of a tag: ``owner/name/file``, or ``owner/name/`` for the usual files; safetensors first."""
    repo, _, filename = tag_config["hf_hub"].rpartition("/")
    names = (str(Path(filename).with_suffix(".safetensors")), filename) if filename else _HUB_FILES
    return HubWeights(repo, names)


def _read_json(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.is_file() and not required:
        return {}
    try:
        return parse_json_object(path.read_bytes())
    except (OSError, ValueError) as error:
        rule = f"must be a folder with {path.name} and {_HUB_FILES[0]}: {path.name} can't be read"
        raise InputError("backbone.model", rule, str(path.parent)) from error
