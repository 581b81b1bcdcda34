"""A PostgreSQL server of the tests' own: in a temporary directory, on a free port, under an unprivileged user."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

USER = "bq"


class NoServer(Exception):  # noqa: N818 - it is a reason to skip
    """Why there can be no server here."""


def _programs() -> Path:
    """Find the folder of the newest initdb: Debian keeps it out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    name = shutil.which("initdb")
    if name is None:
        raise NoServer("PostgreSQL is not installed (apt-get install postgresql)")
    return Path(name).parent


def _account() -> dict[str, Any]:
    """Choose who runs the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoServer("PostgreSQL does not run as root, and there is neither a postgres nor a nobody")


class Server:
    """One server; `kill` and `start` it as a crash and a restart would."""

    def __init__(self) -> None:
        self.programs = _programs()
        self._account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="bq-postgres-"))
        if self._account:
            os.chown(self.folder, self._account["user"], self._account["group"])
        self._data = self.folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "-D", self._data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")

    def start(self) -> None:
        # fsync=off: what is committed survives the death of the server all the same, if not that of the machine.
        options = f"-c fsync=off -p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=32MB"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self.folder / "log", "-o", options)

    def kill(self) -> None:
        """End it at once, as a power cut would end the process."""
        os.kill(int((self._data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGQUIT)
        self._run("pg_ctl", "status", "-D", self._data, expect=None)
        for _ in range(100):
            if self._run("pg_ctl", "status", "-D", self._data, expect=None) == 3:
                return
            signal.sigtimedwait([], 0.05)
        raise RuntimeError("the server did not end")

    def remove(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data, expect=None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", USER, database)
        return self.url(database)

    def _run(self, program: str, *arguments: object, expect: int | None = 0) -> int:
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,  # the server would hold the pipe
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            **self._account,
        )
        if expect is not None and done.returncode != expect:
            raise RuntimeError(f"{program}: {(done.stderr or b'').decode()}")
        return done.returncode
