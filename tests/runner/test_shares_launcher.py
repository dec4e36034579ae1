"""Launchers for several machines: where their runs may be recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from fused_clip.runner.in_process import composed
from fused_clip.runner.shares_launcher import shares_launcher
from fused_clip.support.errors import InputError
from fused_clip.support.mounts import Mount
from fused_clip.tracking import address


@pytest.fixture(autouse=True)
def _hydra_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def check(folder: Path, *words: str) -> None:
    with composed(["hydra/launcher=ray", f"output_dir={folder}", *words]) as config:
        launcher = shares_launcher(config)
        assert launcher
        super(type(launcher), launcher).check_sweep(config, 2)  # without asking Ray


@pytest.mark.parametrize("kind", ["nfs4", "lustre"])
def test_a_local_database_is_refused_on_a_network_for_several_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(address, "mount_of", lambda _: Mount(kind, frozenset()))
    with pytest.raises(
        InputError, match=f"tracking.uri: must be the address of an MLflow server .* on {kind}"
    ):
        check(tmp_path, "hydra.launcher.address=auto")
    check(tmp_path, "hydra.launcher.address=null")  # this machine alone
    check(tmp_path, "hydra.launcher.address=auto", "tracking=none")
    check(tmp_path, "hydra.launcher.address=auto", "tracking.uri=http://host:5000")


def test_a_local_database_is_accepted_on_a_local_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "mount_of", lambda _: Mount("ext4", frozenset()))
    check(tmp_path, "hydra.launcher.address=auto")
