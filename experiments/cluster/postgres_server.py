"""A real PostgreSQL on loopback, in a folder of its own.

``with PostgresServer(folder) as postgres:`` gives ``postgres.uri``, which has no password, and
``postgres.environment``, which has it. To try by hand: ``python -m experiments.cluster.postgres_server``.
"""

# The programs are those of this file.
# ruff: noqa: S603

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from experiments.cluster.daemons import ClusterError, Daemon, free_ports, install, wait_until

PACKAGES = {"initdb": "postgresql", "setpriv": "util-linux"}
USER = "fused_clip"
_SYSTEM_USER = "postgres"  # initdb and postgres refuse root
_SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200"}


@dataclass
class PostgresServer:
    """A PostgreSQL that starts with the block and is gone with it.

    Parameters
    ----------
    folder : made if it is missing; another user must be able to enter it. Empty for a temporary one.
    """

    folder: Path | None = None

    def __enter__(self) -> Self:
        """Make the database cluster and start it."""
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        install(PACKAGES, [str(path) for path in binaries])
        self._binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self._temporary = self.folder is None
        root = Path(mkdtemp(prefix="postgres-")) if self.folder is None else self.folder
        self.root = root.absolute()
        self.root.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(12)
        self._data = self.root / "data"
        self._make()
        (self.port,) = free_ports(1)
        settings = [f"-c{name}={value}" for name, value in {**_SETTINGS, "port": str(self.port)}.items()]
        self._daemon = Daemon(
            [*self._as_its_user(), str(self._binaries / "postgres"), "-D", str(self._data), *settings],
            self.root / "postgres.log",
        )
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it; a temporary folder is removed."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def uri(self) -> str:
        """Address of the database ``mlflow`` for SQLAlchemy, without the password."""
        return self.uri_of("mlflow")

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that clients need: the password."""
        return {"PGPASSWORD": self.password}

    def uri_of(self, database: str) -> str:
        """Address of a database.

        Parameters
        ----------
        database : its name; it need not exist.
        """
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database; give its address.

        Parameters
        ----------
        database : its name.
        """
        self._run("psql", "-d", "postgres", "-c", f'CREATE DATABASE "{database}"')
        return self.uri_of(database)

    def start(self) -> None:
        """Start it, also after it was killed, and wait until it answers."""

        def answers() -> bool:
            if not self._daemon.alive:  # processes of a killed one hold its memory for a moment
                self._daemon.start()
            with contextlib.suppress(ClusterError):
                self._run("psql", "-d", "postgres", "-c", "SELECT 1")
                return True
            return False

        wait_until(answers, f"PostgreSQL ({self.root / 'postgres.log'})", pause=0.3)
        with contextlib.suppress(ClusterError):  # it exists
            self.create("mlflow")

    def stop(self) -> None:
        """Stop it; open transactions are rolled back."""
        if self._daemon.alive and self._daemon.process is not None:
            self._daemon.process.send_signal(signal.SIGINT)  # SIGTERM would wait for all clients to leave
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.process.wait(10)
        self._daemon.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._daemon.kill()

    def _make(self) -> None:
        secret = self.root / "password"
        secret.write_text(self.password)
        self._data.mkdir()
        if not os.geteuid():
            self.root.chmod(0o755)
            for path in (secret, self._data):
                shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
        secret.chmod(0o600)
        words = ["initdb", "-D", str(self._data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}"]
        self._call([*self._as_its_user(), str(self._binaries / words[0]), *words[1:]])
        secret.unlink()

    def _as_its_user(self) -> list[str]:
        if os.geteuid():
            return []
        # The signal is named again: a change of user clears it.
        others = ["--reuid", _SYSTEM_USER, "--regid", _SYSTEM_USER, "--init-groups"]
        return ["setpriv", "--pdeathsig", "KILL", *others]

    def _run(self, program: str, *words: str) -> None:
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        self._call([str(self._binaries / program), *place, *words])

    def _call(self, words: list[str]) -> None:
        environment = {**os.environ, **self.environment, "PGCONNECT_TIMEOUT": "5", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"{Path(words[0]).name}: {done.stderr.strip()}")


def main() -> None:
    """Start one, print how to reach it, and wait for Ctrl-C."""
    with PostgresServer() as postgres, contextlib.suppress(KeyboardInterrupt):
        print(f"export PGPASSWORD={postgres.password}\n{postgres.uri}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
