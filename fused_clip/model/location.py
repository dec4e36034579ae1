"""Where the model of a run is; a light module, for commands that check their words first."""

from pathlib import Path

from fused_clip.support.errors import InputError

FACTS = "model.json"


def find(path: Path) -> Path:
    """Find the model's folder: the path itself, or ``model`` below it.

    Parameters
    ----------
    path : directory of a run or of a model.

    Raises
    ------
    InputError
        If there is none.
    """
    path = path.expanduser()
    for folder in (path, path / "model", path / "artifacts" / "model"):
        if (folder / FACTS).is_file():
            return folder
    if not path.exists():
        raise InputError("model", "must be an existing run or model directory", str(path))
    hint = "A run says in its log why it left none"
    raise InputError("model", f"must contain {FACTS}, or model/{FACTS}", str(path), hint=hint)
