"""Options as the checks take them: found, composed, and the errors that name them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fused_clip.runner.config import Options, check
from fused_clip.runner.in_process import composed, make_importable
from fused_clip.runner.overrides import complaint_of
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.plugins import config_folders, plugins
from fused_clip.support.versions import PACKAGE


class ContractError(AssertionError):
    """An option breaks the contract of its group."""


@dataclass(frozen=True)
class Chosen:
    """An option that is checked.

    Parameters
    ----------
    group, name : of the option.
    file : its YAML.
    config : composed with it; None where no run is: for a page of a report, and a group that is none.
    """

    group: str
    name: str
    file: Path
    config: DictConfig | None

    @property
    def options(self) -> Options:
        """Checked options of a run with it."""
        return check(self.composed)

    @property
    def composed(self) -> DictConfig:
        """Config of a run with it."""
        if self.config is None:
            raise InputError(self.group, "is no group of a run", self.name)
        return self.config

    @property
    def own(self) -> dict[str, Any]:
        """Content of its YAML; empty if it has none."""
        found: Any = OmegaConf.to_container(OmegaConf.load(self.file))
        return dict(found or {})

    def require(self, condition: object, rule: str) -> None:
        """Raise ContractError if a condition is not met.

        Parameters
        ----------
        condition : that must be true.
        rule : what the option must do.
        """
        if not condition:
            raise ContractError(f"{self.group}={self.name}: {rule}")

    def skip(self, reason: object) -> SkipTest:
        """Give the exception for an option that can't be tried here.

        Parameters
        ----------
        reason : for the report of the tests.
        """
        return SkipTest(f"{self.group}={self.name}: its YAML is right; it was not tried: {reason}")


def options_of(plugin: str) -> list[str]:
    """List the options that a plugin adds, as on the command line: ``["clusterer=birch", ...]``.

    Parameters
    ----------
    plugin : its name; "fused_clip" for this package's own.

    Raises
    ------
    InputError
        If no plugin of that name is installed, or an option is there twice.
    """
    found = {one.name: sorted(one.options) for one in plugins()}
    found[PACKAGE] = sorted(
        path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().glob("*/**/*.yaml")
    )
    if plugin not in found:
        hint = "Install it into this environment; fused-clip --version lists plugins"
        raise InputError("plugin", "must be installed", plugin, choices=found, hint=hint)
    return ["=".join(one.rsplit("/", 1)) for one in found[plugin]]


@contextmanager
def choosing(
    option: str, overrides: Sequence[str] = (), config_dir: str | Path | None = None
) -> Iterator[Chosen]:
    """Find an option and compose a run with it; what it names can be imported in the with block.

    Parameters
    ----------
    option : group and name, as on the command line.
    overrides : further words of the command line.
    config_dir : folder of config groups of the user's own, as ``--config-dir``.

    Raises
    ------
    InputError
        If there is no such option, or a value is refused.
    """
    group, equals, name = option.partition("=")
    if not (equals and group and name):
        raise InputError("option", "must be a group and a name, such as clusterer=birch", option)
    own = [Path(config_dir).absolute()] if config_dir else []
    files = [folder / group / f"{name}.yaml" for folder in (*own, *config_folders())]
    there = [file for file in files if file.is_file()]
    if not there:
        known = {path.stem for file in files for path in file.parent.glob("*.yaml")}
        rule = "must be an option of this package, of a plugin or of config_dir"
        raise InputError(group, rule, name, choices=sorted(known))
    composes = (conf_dir() / group).is_dir() and group != "report"
    with _with_folders(own, overrides):
        yield Chosen(group, name, there[0], _composed(option, *overrides) if composes else None)


def compose_with(words: Sequence[str]) -> Options:
    """Compose and check the options of a run.

    Parameters
    ----------
    words : of the command line.
    """
    return check(_composed(*words))


@contextmanager
def _with_folders(folders: Sequence[Path], overrides: Sequence[str]) -> Iterator[None]:
    """Let Hydra run with the user's folders; without any it runs for one composition at a time, faster."""
    if not folders:
        yield
        return
    with TemporaryDirectory() as directory:
        places = [str(folder) for folder in (conf_dir(), *folders)]
        with composed(overrides, places, directory=Path(directory)) as config:
            make_importable(config)
            yield


def _composed(*words: str) -> DictConfig:
    running = GlobalHydra.instance().is_initialized()
    # A study's name is Hydra's runtime choice, which is not there without a job. Folders that were added to a
    # running Hydra count where the search path is set.
    own = ["study=testing", *(["hydra.searchpath=[]"] if running else [])]
    with nullcontext() if running else initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            return compose("config", overrides=[*own, *words])
        except HydraException as error:
            raise complaint_of(error) from error
