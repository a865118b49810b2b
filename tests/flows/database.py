"""PostgreSQL for tests: a cluster in a folder of its own."""

import os
import pwd
import socket
import subprocess
from pathlib import Path


class Database:
    """PostgreSQL in a folder of its own, by a user that is not root: it refuses that one."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Create the database `prefect` with its user."""
        self._run("initdb", "--pgdata", "data", "--auth", "trust", "--encoding", "UTF8", "--username", "admin")
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "--pgdata", "data", "--wait", "--log", "log", "--options", options, "start")
        for statement in (
            "CREATE ROLE prefect LOGIN PASSWORD 'prefect'",
            "CREATE DATABASE prefect OWNER prefect",
        ):
            self._run("psql", "-h", str(self._folder), "-p", str(self.port), "-U", "admin", "-c", statement, "postgres")

    def stop(self) -> None:
        self._run("pg_ctl", "--pgdata", "data", "--mode", "immediate", "stop")

    def asks(self, query: str) -> str:
        return self._run("psql", "-h", str(self._folder), "-p", str(self.port), "-U", "prefect", "-tAc", query).strip()

    def _run(self, *command: str) -> str:
        own = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        log = self._folder / "output"
        with log.open("w+b") as output:  # no pipe: the server would keep its end open
            ended = subprocess.run(command, cwd=self._folder, stdout=output, stderr=output, check=False, **own)
        text = log.read_text(encoding="utf-8")
        assert ended.returncode == 0, text
        return text
