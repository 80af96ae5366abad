"""A second Valkey that replicates the first and can become the primary, as a deployment has for a failover."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis import Redis

from tests.support.patience import eventually
from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import Servers, secret_file, valkey_program


class ReplicatedInstallation(Protocol):
    """The part of an installation that a replica needs: its servers, and Valkey's administrator."""

    @property
    def servers(self) -> Servers: ...  # noqa: D102 - described above

    @property
    def redis(self) -> Redis: ...  # noqa: D102


class Replica:
    """The replica: its unix socket, and a client of its administrator."""

    def __init__(self, socket_path: Path, redis: Redis, processes: Processes) -> None:
        self.socket, self.redis, self._processes = socket_path, redis, processes

    def lag(self) -> None:
        """Receive nothing more from the primary, as on a slow network."""
        self.redis.config_set("masterauth", "not-the-password-any-more")
        self.redis.client_kill_filter(_type="master")
        eventually(lambda: self._about()["master_link_status"] == "down")

    def promote(self) -> None:
        """Become the primary."""
        self.redis.replicaof("NO", "ONE")
        eventually(lambda: self._about()["role"] == "master")

    def in_step(self) -> None:
        """Wait until it has everything the primary has."""
        eventually(lambda: self._about().get("master_link_status") == "up")

    def _about(self) -> dict[str, Any]:
        info: dict[str, Any] = self.redis.info("replication")
        return info


@contextmanager
def following(world: ReplicatedInstallation) -> Iterator[Replica]:
    """A replica of the world's Valkey, up to date. Replication is over TCP on loopback, everything else as in the other tests."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    world.redis.config_set("bind", "127.0.0.1")
    world.redis.config_set("port", port)
    word = secret_file(world.servers.home / "secrets", "admin-redis").read_text("ascii").strip()
    folder = world.servers.home / "replica"
    folder.mkdir()
    path = world.servers.sockets / "replica.sock"
    processes = Processes(world.servers.home / "log")
    processes.start(
        "replica",
        [valkey_program(), "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no",
         "--aclfile", world.servers.home / "valkey" / "users.acl", "--masteruser", "admin", "--masterauth", word,
         "--replicaof", "127.0.0.1", str(port)],
    )  # fmt: skip
    eventually(path.exists)
    redis = Redis.from_url(f"unix://admin:{word}@{path}", socket_timeout=5)
    try:
        replica = Replica(path, redis, processes)
        replica.in_step()
        yield replica
    finally:
        redis.close()
        os.kill(processes.pid("replica"), signal.SIGCONT)
        processes.stop()
