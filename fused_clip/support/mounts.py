"""The file system that a folder is on, and what it promises to several machines."""

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

_NETWORK = re.compile(
    r"9p|acfs|afs|afpfs|autofs|beegfs|beegfs_nodev|ceph|cifs|davfs|fhgfs|fuse|fuse\..*|gfs2?|glusterfs|gpfs|lustre"
    r"|mmfs|ncpfs|nfs[34]?|ocfs2|orangefs|panfs|pvfs2|smb[23]|smbfs|vboxsf|virtiofs|wekafs"
)
_LOCAL_FUSE = {"fuse.fuse-overlayfs"}  # the root of containers without privileges
# Where the lock of one machine is seen by the others, and the options of a mount that keep it from them.
_SEEN_UNLESS = {
    "nfs": {"nolock", "local_lock=flock", "local_lock=all"},
    "nfs3": {"nolock", "local_lock=flock", "local_lock=all"},
    "nfs4": {"nolock", "local_lock=flock", "local_lock=all"},
    "cifs": {"nobrl", "nolock"},
    "smb3": {"nobrl", "nolock"},
    "lustre": {"localflock"},
    "ceph": set[str](),
    "gfs2": {"localflocks", "lockproto=lock_nolock"},
    "ocfs2": {"localflocks"},
}


@dataclass(frozen=True)
class Mount:
    """A file system, as it is mounted.

    Parameters
    ----------
    kind : its type, such as ``ext4`` or ``nfs4``; empty if it can't be found out.
    options : of the mount.
    """

    kind: str
    options: frozenset[str]

    @property
    def is_network(self) -> bool:
        """Whether other machines may have it too. FUSE counts: what it shows may be anywhere."""
        return bool(_NETWORK.fullmatch(self.kind)) and self.kind not in _LOCAL_FUSE

    @property
    def shares_locks(self) -> bool:
        """Whether each process that can see a file sees its ``flock`` locks; false if that is unknown."""
        if not self.is_network:
            return True
        return self.kind in _SEEN_UNLESS and not self.options & _SEEN_UNLESS[self.kind]


def mount_of(place: Path) -> Mount:
    """Find the file system that a file or folder is or would be on.

    Parameters
    ----------
    place : need not exist.
    """
    folder = Path(os.path.realpath(place))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return _mount_of(folder, folder.stat().st_dev)


@functools.lru_cache(maxsize=256)
def _mount_of(folder: Path, device: int) -> Mount:
    """The mount whose point is nearest above the folder; of several on one point the last."""
    import psutil

    found, depth = Mount("", frozenset()), 0
    try:
        parts = psutil.disk_partitions(all=True)
    except OSError:  # no /proc
        return found
    for part in parts:
        point = Path(part.mountpoint)
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = Mount(part.fstype, frozenset(part.opts.split(","))), len(point.parts)
    return found
