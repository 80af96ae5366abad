"""A Valkey Cluster on this machine's loopback, for tests and trials, with or without replicas.

Its nodes have the users of a production cluster and write nothing to disk: a node that is started again is empty, which is
the worst case for a node. `python -m zpcode.embedded.cluster DIRECTORY` runs three primaries until Ctrl-C.
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
from zpcode.embedded.servers import MAX_BULK, MAX_CLIENTS_MEMORY, secret_file, users_acl, valkey_program
from zpcode.errors import Text, Unavailable

HOST = "127.0.0.1"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ClusterAddresses:
    """The cluster's address for each user: the authority, the scan service, the administrator."""

    redis: str
    scan_redis: str
    admin_redis: str


class EmbeddedCluster:
    """`primaries` nodes that share the slots evenly, each with `replicas` replicas; a context manager.

    Nodes are numbered from 0, primaries first. Replica `primaries + n` starts as a replica of primary `n % primaries`. If a
    primary does not answer for `timeout_ms`, a replica takes its place about a second later.
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
        """The addresses of all nodes with their passwords. Do not log them."""
        nodes = ",".join(f"{HOST}:{port}" for port in self.ports)
        return ClusterAddresses(
            *(
                f"redis+cluster://{user}:{self._password(secret)}@{nodes}"
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
        """Start a node, empty, and wait until it answers."""
        directory = self.home / f"node-{number}"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = directory / "users.acl"
        password = self._password("replica")
        users.write_text(
            users_acl(self._secrets) + f"user replica on >{password} -@all +psync +replconf +ping\n", "ascii"
        )
        users.chmod(0o600)
        command: list[str | Path] = [
            valkey_program(), "--port", str(self.ports[number]), "--bind", HOST, "--dir", directory, "--aclfile", users,
            "--cluster-enabled", "yes", "--cluster-port", str(self._buses[number]),
            "--cluster-node-timeout", str(self.timeout_ms), "--cluster-require-full-coverage", "no",
            "--cluster-replica-validity-factor", "0", "--masteruser", "replica", "--masterauth", password,
            "--repl-diskless-sync-delay", "0", "--appendonly", "no", "--save", "", "--maxmemory-policy", "noeviction",
            "--proto-max-bulk-len", MAX_BULK, "--maxmemory-clients", MAX_CLIENTS_MEMORY,
        ]  # fmt: skip
        self.processes.start(_name(number), command)
        self._wait(number, lambda: bool(self.client(number).ping()))

    def kill(self, number: int) -> None:
        """Kill a node with SIGKILL."""
        self.processes.kill(_name(number))

    def client(self, number: int) -> Redis:
        """A connection to one node as the administrator. A node answers for its own slots only."""
        return self._clients[number]

    def holder(self, key: str) -> int:
        """The number of the node that has a key's slot, as the running nodes see it now."""
        slot = key_slot(key.encode("utf-8"))
        for client in self._clients.values():
            try:
                rows = _execute(client, "CLUSTER", "SLOTS")
            except RedisError:
                continue
            for first, last, (_, port, *_rest), *_replicas in rows:
                if first <= slot <= last:
                    return self.ports.index(port)
        raise Unavailable(Text(f"没有节点负责槽 {slot}", f"no node has slot {slot}"))

    def stop(self) -> None:
        """Stop every node."""
        for client in self._clients.values():
            client.close()
        self.processes.stop()

    # Forming the cluster ----------------------------------------------------------------------------

    def _join(self) -> None:
        first, last = range(self.primaries), range(self.primaries, len(self.ports))
        for number in (*first, *last)[1:]:
            _execute(self.client(number), "CLUSTER", "MEET", HOST, self.ports[0], self._buses[0])
        for number in first:
            span = (SLOTS * number // self.primaries, SLOTS * (number + 1) // self.primaries - 1)
            _execute(self.client(number), "CLUSTER", "ADDSLOTSRANGE", *span)
        names = [str(_execute(self.client(number), "CLUSTER", "MYID"), "ascii") for number in first]
        for number in last:
            name = names[(number - self.primaries) % self.primaries]
            self._wait(number, lambda number=number, name=name: self._knows(number, name))  # type: ignore[misc]
            _execute(self.client(number), "CLUSTER", "REPLICATE", name)
        for number in (*first, *last):
            self._wait(number, lambda number=number: self.whole(number))  # type: ignore[misc]

    def _knows(self, number: int, name: str) -> bool:
        return name.encode("ascii") in _execute(self.client(number), "CLUSTER", "NODES")

    def whole(self, number: int) -> bool:
        """Whether a node sees every slot served and, as a replica, follows its primary."""
        client = self.client(number)
        replication: Any = client.info("replication")
        following = replication["role"] == "master" or replication["master_link_status"] == "up"
        state = bytes(_execute(client, "CLUSTER", "INFO"))
        return following and b"cluster_state:ok" in state and b"cluster_slots_ok:16384" in state

    def _wait(self, number: int, probe: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if probe():
                    return
            except RedisError:
                pass  # not up yet
            if self.processes.unexpected_exit() or time.monotonic() > deadline:
                log = self.processes.log(_name(number))
                raise Unavailable(Text(f"集群节点没有启动，原因见 {log}", f"a cluster node did not start; see {log}"))
            time.sleep(0.02)

    def _connect(self, number: int) -> Redis:
        return Redis(host=HOST, port=self.ports[number], username="admin", password=self._password("admin-redis"),
                     socket_timeout=2, protocol=2)  # fmt: skip

    def _password(self, name: str) -> str:
        return secret_file(self._secrets, name).read_text("ascii").strip()


def _execute(client: Redis, *arguments: str | int) -> Any:
    """The reply to a command as the server sends it: redis-py would convert it."""
    return client.execute_command(*arguments)  # type: ignore[no-untyped-call]


def _name(number: int) -> str:
    return f"valkey-{number}"


def _free_ports(count: int) -> list[int]:
    """Free ports. All are opened at the same time, so that no two are equal."""
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def main(arguments: list[str]) -> None:
    """Run a cluster on a directory and print its addresses, until SIGINT or SIGTERM."""
    home = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="zpcode-cluster-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmbeddedCluster(home) as cluster:
        for name, url in (
            ("ZPCODE_REDIS_URL", cluster.addresses.redis),
            ("ZPCODE_SCAN_REDIS_URL", cluster.addresses.scan_redis),
        ):
            sys.stdout.write(f"export {name}={url}\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
