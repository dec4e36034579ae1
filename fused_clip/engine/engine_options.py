"""Options of an engine, which a user sets below ``hydra.launcher``."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, ValidationError

from fused_clip.support.option_types import StrictOptions, complaints

OPTIONS = "hydra.launcher"


class EngineOptions(StrictOptions):
    """Options that are checked by their types."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Check options by their types.

        Parameters
        ----------
        options : by name, also as Hydra gives them.

        Raises
        ------
        InputError
            If a value is refused.
        """
        from omegaconf import OmegaConf

        plain = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in options.items()
        }
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise complaints(error, plain, OPTIONS)[0] from error
