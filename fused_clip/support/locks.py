"""Locks between processes, also of several machines that share a folder."""

import errno
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.support.mounts import mount_of

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # what flock answers without them
# A holder renews its lease every 20 seconds, and loses it if that can't be seen for 60: an NFS client may
# show what it knew up to 60 seconds ago. All that share a folder must use the same number.
_LEASE = 60.0
_LOOK = 1.0  # seconds between two looks at a lease, each of which asks the file server


def take(path: Path, *, wait: bool, what: str) -> "BaseFileLock":
    """Take a lock, or come back without it if it is not free and not waited for.

    It is one of ``flock``, which ends with its process, where the machines that share the file system see
    it. Elsewhere it is a lease beside the file, which is renewed while it is held and ends a minute after a
    holder that is gone. A holder that was stopped for longer may go on without it: what it protects must be
    harmless to do twice.

    Parameters
    ----------
    path : file of the lock, in a folder that exists.
    wait : for the lock to be free.
    what : description for the log.

    Raises
    ------
    OSError
        If no file can be written there.
    """
    from filelock import FileLock, SoftFileLease

    if mount_of(path.parent).shares_locks:
        lock = FileLock(path, fallback_to_soft=False)
        try:
            _acquire(lock, wait=wait, what=what)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            return lock
    lease = SoftFileLease(path.with_name(f"{path.name}.lease"), lease_duration=_LEASE, poll_interval=_LOOK)
    _acquire(lease, wait=wait, what=what)
    return lease


def _acquire(lock: "BaseFileLock", *, wait: bool, what: str) -> None:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        if wait:
            log.info("%s: waiting for another process that computes it", what)
            lock.acquire()
