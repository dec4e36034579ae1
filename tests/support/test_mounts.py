"""File systems by what is known of their locks."""

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from fused_clip.support import mounts
from fused_clip.support.mounts import Mount, mount_of

Part = namedtuple("Part", "mountpoint fstype opts")


@pytest.mark.parametrize(
    ("kind", "options", "network", "shares"),
    [
        ("ext4", "rw", False, True),
        ("tmpfs", "rw", False, True),
        ("overlay", "rw", False, True),
        ("fuseblk", "rw", False, True),
        ("fuse.fuse-overlayfs", "rw", False, True),
        ("nfs4", "rw,vers=4.2,local_lock=none", True, True),
        ("nfs", "rw,nolock,local_lock=all", True, False),
        ("nfs", "rw,local_lock=flock", True, False),
        ("nfs", "rw,local_lock=posix", True, True),
        ("lustre", "rw,flock", True, True),
        ("lustre", "rw,localflock", True, False),
        ("ceph", "rw", True, True),
        ("cifs", "rw,nobrl", True, False),
        ("gpfs", "rw", True, False),
        ("beegfs", "rw", True, False),
        ("fuse.sshfs", "rw", True, False),
        ("fuse", "rw", True, False),
        ("9p", "rw", True, False),
        ("", "", False, True),
    ],
)
def test_what_a_file_system_promises(kind: str, options: str, network: bool, shares: bool) -> None:
    mount = Mount(kind, frozenset(options.split(",")))
    assert (mount.is_network, mount.shares_locks) == (network, shares)


def test_the_nearest_mount_counts_and_of_several_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "data" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inner)
    parts = [
        Part("/", "ext4", "rw"),
        Part(str(tmp_path / "data"), "autofs", "rw"),
        Part(str(tmp_path / "data"), "nfs4", "rw,hard"),
        Part(str(tmp_path / "dat"), "xfs", "rw"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: parts)
    mounts._mount_of.cache_clear()
    nfs = Mount("nfs4", frozenset({"rw", "hard"}))
    assert [mount_of(place) for place in (inner, tmp_path / "link", inner / "to" / "be")] == [nfs] * 3
    assert mount_of(tmp_path).kind == "ext4"
    mounts._mount_of.cache_clear()


def test_without_a_list_of_mounts_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: bool) -> None:
        raise FileNotFoundError("/proc/filesystems")

    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    mounts._mount_of.cache_clear()
    assert mount_of(tmp_path) == Mount("", frozenset())
    mounts._mount_of.cache_clear()
