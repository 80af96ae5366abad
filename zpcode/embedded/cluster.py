"""A Valkey Cluster on this machine's loopback, for tests and trials: primaries, and replicas where asked for.

Its nodes have the users of a production cluster and keep nothing: a node that is started again is empty, which is the
worst that can happen to one. `python -m zpcode.embedded.cluster DIRECTORY` runs three primaries until Ctrl-C.
"""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot
from redis.exceptions import RedisError

from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import secret_file, users_acl, valkey_program
from zpcode.errors import Text, Unavailable

HOST = "127.0.0.1"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ClusterAddresses:
    """Where the cluster is: for the authority, for the scan service, for whoever runs it."""

    redis: str
    scan_redis: str
    admin_redis: str


class EmbeddedCluster:
    """`primaries` nodes that share the slots evenly, each with `replicas` replicas; a context manager.

    Nodes are numbered from 0, primaries first; replica `primaries + n` begins as one of primary `n % primaries`.
    A primary that does not answer for `timeout_ms` is replaced by a replica, if it has one, about a second later.
    """

    def __init__(self, home: Path, *, primaries: int = 3, replicas: int = 0, timeout_ms: int = 2000) -> None:
        self.home, self.primaries, self.timeout_ms = home.absolute(), primaries, timeout_ms
        self.processes = Processes(self.home / "log")
        self._secrets = self.home / "secrets"
        self.ports = _free_ports(2 * primaries * (1 + replicas))
        self.ports, self._buses = self.ports[::2], self.ports[1::2]
        self._clients = {number: self._connect(number) for number in range(len(self.ports))}

    @property
    def addresses(self) -> ClusterAddresses:
        """The addresses of all nodes with passwords: for settings, never for a log."""
        nodes = ",".join(f"{HOST}:{port}" for port in self.ports)
        return ClusterAddresses(
            *(
                f"redis+cluster://{user}:{self._word(secret)}@{nodes}"
                for user, secret in (("authority", "redis"), ("scan", "scan-redis"), ("admin", "admin-redis"))
            )
        )

    def __enter__(self) -> Self:
        try:
            for number in range(len(self.ports)):
                self.start(number)
            self._join()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, number: int) -> None:
        """Run a node, empty, and wait until it answers."""
        directory = self.home / f"node-{number}"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = directory / "users.acl"
        word = self._word("replica")
        users.write_text(users_acl(self._secrets) + f"user replica on >{word} -@all +psync +replconf +ping\n", "ascii")
        users.chmod(0o600)
        command: list[str | Path] = [
            valkey_program(), "--port", str(self.ports[number]), "--bind", HOST, "--dir", directory, "--aclfile", users,
            "--cluster-enabled", "yes", "--cluster-port", str(self._buses[number]),
            "--cluster-node-timeout", str(self.timeout_ms), "--cluster-require-full-coverage", "no",
            "--cluster-replica-validity-factor", "0", "--masteruser", "replica", "--masterauth", word,
            "--repl-diskless-sync-delay", "0", "--appendonly", "no", "--save", "", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.processes.start(_name(number), command)
        self._wait(number, lambda: bool(self.client(number).ping()))

    def kill(self, number: int) -> None:
        """End a node as a power cut would."""
        self.processes.kill(_name(number))

    def client(self, number: int) -> Redis:
        """One node, as the administrator; it answers for its own slots only."""
        return self._clients[number]

    def holder(self, key: str) -> int:
        """The number of the node that holds a key, as the nodes that run see it now."""
        slot = key_slot(key.encode("utf-8"))
        for client in self._clients.values():
            try:
                found = _speak(client, "CLUSTER", "SLOTS")
            except RedisError:
                continue
            for first, last, (_, port, *_rest), *_replicas in found:
                if first <= slot <= last:
                    return self.ports.index(port)
        raise Unavailable(Text(f"没有节点负责槽 {slot}", f"no node has slot {slot}"))

    def stop(self) -> None:
        """End every node."""
        for client in self._clients.values():
            client.close()
        self.processes.stop()

    # Coming together --------------------------------------------------------------------------------

    def _join(self) -> None:
        first, last = range(self.primaries), range(self.primaries, len(self.ports))
        for number in (*first, *last)[1:]:
            _speak(self.client(number), "CLUSTER", "MEET", HOST, self.ports[0], self._buses[0])
        for number in first:
            span = (SLOTS * number // self.primaries, SLOTS * (number + 1) // self.primaries - 1)
            _speak(self.client(number), "CLUSTER", "ADDSLOTSRANGE", *span)
        names = [str(_speak(self.client(number), "CLUSTER", "MYID"), "ascii") for number in first]
        for number in last:
            name = names[(number - self.primaries) % self.primaries]
            self._wait(number, lambda number=number, name=name: self._knows(number, name))  # type: ignore[misc]
            _speak(self.client(number), "CLUSTER", "REPLICATE", name)
        for number in (*first, *last):
            self._wait(number, lambda number=number: self.whole(number))  # type: ignore[misc]

    def _knows(self, number: int, name: str) -> bool:
        return name.encode("ascii") in _speak(self.client(number), "CLUSTER", "NODES")

    def whole(self, number: int) -> bool:
        """Whether a node sees every slot served and, as a replica, follows its primary."""
        client = self.client(number)
        about: Any = client.info("replication")
        following = about["role"] == "master" or about["master_link_status"] == "up"
        state = bytes(_speak(client, "CLUSTER", "INFO"))
        return following and b"cluster_state:ok" in state and b"cluster_slots_ok:16384" in state

    def _wait(self, number: int, probe: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if probe():
                    return
            except RedisError:
                pass  # not up yet
            if self.processes.ended() or time.monotonic() > deadline:
                log = self.processes.log(_name(number))
                raise Unavailable(Text(f"集群节点没有启动，原因见 {log}", f"a cluster node did not start; see {log}"))
            time.sleep(0.02)

    def _connect(self, number: int) -> Redis:
        return Redis(host=HOST, port=self.ports[number], username="admin", password=self._word("admin-redis"),
                     socket_timeout=2, protocol=2)  # fmt: skip

    def _word(self, name: str) -> str:
        return secret_file(self._secrets, name).read_text("ascii").strip()


def _speak(client: Redis, *words: str | int) -> Any:
    """A command's reply as it comes, unlike the library's own forms of it."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def _name(number: int) -> str:
    return f"valkey-{number}"


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on: taken all at once, so that no two are the same."""
    taken = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in taken]
    for found in taken:
        found.close()
    return ports


def main(arguments: list[str]) -> None:
    """Run a cluster on a directory and say where it is, until SIGINT or SIGTERM."""
    home = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="zpcode-cluster-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmbeddedCluster(home) as cluster:
        found = cluster.addresses
        sys.stdout.write(f"export ZPCODE_REDIS_URL={found.redis}\nexport ZPCODE_SCAN_REDIS_URL={found.scan_redis}\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
