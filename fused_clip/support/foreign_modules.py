"""Modules whose functions no config may name: Python's own, and those that read pickles or run code."""

import sys

_NEVER = frozenset(
    (
        "IPython", "PIL", "cloudpickle", "datasets", "dill", "hydra", "joblib", "mlflow", "numpy",
        "omegaconf", "pandas", "pip", "pyarrow", "scipy", "setuptools", "sklearn", "torch", "torchvision",
        "yaml",
    )
)  # fmt: skip


def is_never(name: str) -> bool:
    """Whether a config may never name a module, whoever allows it.

    Parameters
    ----------
    name : of the module, or of something in it.
    """
    top = name.partition(".")[0]
    return top in _NEVER or top in sys.stdlib_module_names
