"""`make demo`: starts everything on one machine and prints a code that a phone can scan.

Servers, key ceremony and processes are those of production, under one supervisor. Only the registry is invented. All data is
below one directory, so the second start is quick and prints the same codes.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NoReturn

from keys.keyring import KeyPurpose
from zpcode.demo import console, seed
from zpcode.demo.ports import free_port, reachable_name
from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import ServerAddresses, Servers, secret_file
from zpcode.errors import Conflict, DatabaseBehind, Text, Unavailable

READY_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Plan:
    """The addresses this run listens on. `base` is the beginning of every code's link."""

    home: Path
    host: str
    scan_port: int
    api_port: int

    @cached_property
    def metrics_addresses(self) -> dict[str, str]:
        """The address of each process's metrics: always on loopback."""
        ports: dict[str, int] = {}
        for name in ("authority", "worker", "scanweb"):
            ports[name] = free_port("127.0.0.1", max([self.scan_port + 19, *ports.values()]) + 1)
        return {name: f"127.0.0.1:{port}" for name, port in ports.items()}

    @property
    def base(self) -> str:
        """Scheme, host and port of the scan service, as a phone reaches it."""
        return f"http://{reachable_name(self.host)}:{self.scan_port}"

    @property
    def api(self) -> str:
        """The address of the authority's API."""
        return f"http://{reachable_name(self.host)}:{self.api_port}"


def run(home: Path, host: str, port: int, api_port: int, *, once: bool = False) -> int:
    """Start everything, print the codes, and run until Ctrl-C; returns the exit status.

    `once` stops as soon as everything is ready, for tests. On a database that is behind (docs/recovery.md) everything runs
    without sample data, and the status is 1. Raises Conflict if another demo runs on the same directory,
    Unavailable if a server does not start or no port is free.
    """
    home = home.absolute()
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _only_one(home), _interruptible(), ExitStack() as stack:
        plan = Plan(home, host, free_port(host, port), free_port(host, api_port))
        console.moved_ports(port, plan.scan_port, api_port, plan.api_port)
        fresh = not (home / "keyring.json").exists()
        announce = console.step if fresh else _silent
        if not fresh:
            console.step("沿用上次的数据", "keeping the data of the last start")
        console.step("启动 PostgreSQL 与 Valkey", "starting PostgreSQL and Valkey")
        addresses = stack.enter_context(Servers(home)).addresses
        environment = _environment(plan, addresses)
        announce("密钥仪式", "key ceremony")
        _ceremony(environment)
        processes = Processes(home / "log")
        stack.callback(processes.stop)
        processes.start("signer", [sys.executable, "-m", "keys", "serve"], env=environment)
        _wait_until(processes, lambda: seed.signer_answers(home))  # it knows how far the database had come
        announce("建表，导入示例登记册", "migrating, importing the demo registry")
        try:
            seed.seed_registry(home, addresses)
        except DatabaseBehind as behind:
            _serve_restored(processes, plan, environment, behind, once=once)
            return 1
        _start(processes, plan, environment)
        announce("签发各级码", "issuing a batch at each level")
        codes = seed.seed_codes(plan.home, addresses, plan.base)
        credentials = seed.seed_credentials(plan.home, addresses)
        _wait_until_200(processes, plan, "/readyz")
        console.ready(plan.base, plan.api, codes, credentials, home, plan.metrics_addresses)
        if not once:
            _watch(processes)
    return 0


def _serve_restored(
    processes: Processes, plan: Plan, environment: dict[str, str], behind: DatabaseBehind, *, once: bool
) -> None:
    """Run everything on a database that is behind, without sample data: `zpcode recover` needs these servers."""
    _start(processes, plan, environment)
    _wait_until_200(processes, plan, "/healthz")
    console.behind(plan.base, plan.api, behind, plan.home, plan.metrics_addresses)
    if not once:
        _watch(processes)


def _silent(zh: str, en: str) -> None:
    """Print nothing: what this step makes is there already."""


def _environment(plan: Plan, addresses: ServerAddresses) -> dict[str, str]:
    """The settings of every process, in the same variables as on a production host."""
    home = plan.home
    return {
        "ZPCODE_HOME": str(home),
        "ZPCODE_DATABASE_URL": addresses.database,
        "ZPCODE_REDIS_URL": addresses.redis,
        "ZPCODE_SCAN_DATABASE_URL": addresses.scan_database,
        "ZPCODE_SCAN_REDIS_URL": addresses.scan_redis,
        "ZPCODE_PUBLIC_BASE": plan.base,
        "ZPCODE_SECURITY_CONTACT": "mailto:security@zpm.example",
        "ZPCODE_AUTHORITY_URL": plan.api,
        "ZPCODE_KEY_PASSPHRASE_FILE": str(secret_file(home / "secrets", "signing-key")),
        "ZPCODE_ROOT_PASSPHRASE_FILE": str(secret_file(home / "secrets", "root-key")),
    }


def _ceremony(environment: dict[str, str]) -> None:
    """Make the root key and the first signing key of each purpose with the commands an operator uses."""
    if not (Path(environment["ZPCODE_HOME"]) / "root.pub.pem").exists():
        _zpkeys(environment, "init")
    listed = json.loads(_zpkeys(environment, "list", "--json"))
    present = {key["purpose"] for key in listed["keys"]}
    for purpose in KeyPurpose:
        if purpose.value not in present:
            _zpkeys(environment, "create", "--purpose", purpose.value)


def _zpkeys(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "keys", *arguments],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip()
        raise Unavailable(Text(f"密钥仪式失败：{reason}", f"the key ceremony failed: {reason}"))
    return done.stdout


def _start(processes: Processes, plan: Plan, environment: dict[str, str]) -> None:
    """Start the authority's API, its worker, and the scan service."""
    serve = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "--no-server-header",
        "--no-access-log",
        "--no-proxy-headers",
        "--host",
        plan.host,
    ]
    api = [*serve, "--port", str(plan.api_port), "--http", "zpcode.server:AuthorityProtocol", "zpcode.app:create_app"]
    scan = [
        *serve,
        "--port",
        str(plan.scan_port),
        "--http",
        "scanweb.server:Protocol",
        "--loop",
        "uvloop",
        "scanweb.app:create_app",
    ]
    worker = [sys.executable, "-m", "zpcode", "worker"]
    for name, command in (("authority", api), ("worker", worker), ("scanweb", scan)):
        processes.start(name, command, env=environment | {"ZPCODE_METRICS_ADDRESS": plan.metrics_addresses[name]})


def _wait_until_200(processes: Processes, plan: Plan, path: str) -> None:
    for port in (plan.scan_port, plan.api_port):
        address = f"http://{_local(plan.host)}:{port}{path}"
        _wait_until(processes, partial(_answers, address))


def _wait_until(processes: Processes, ready: Callable[[], bool]) -> None:
    """Wait until `ready` is true. Raises Unavailable after a minute, or if a process has ended."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        _fail_if_ended(processes)
        if time.monotonic() > deadline:
            raise Unavailable(
                Text(
                    f"服务没有就绪，日志在 {processes.logs}", f"the services did not become ready; see {processes.logs}"
                )
            )
        time.sleep(_POLL_SECONDS)


def _local(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _fail_if_ended(processes: Processes) -> None:
    ended = processes.unexpected_exit()
    if ended is not None:
        log = processes.log(ended.name)
        raise Unavailable(
            Text(
                f"{ended.name} 意外结束（{ended.status}），原因见 {log}",
                f"{ended.name} ended unexpectedly ({ended.status}); see {log}",
            )
        )


def _watch(processes: Processes) -> NoReturn:
    """Run until Ctrl-C or SIGTERM. Raises Unavailable if one of the processes ends."""
    while True:
        _fail_if_ended(processes)
        time.sleep(_POLL_SECONDS * 5)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Lock the directory. Raises Conflict if another demo has locked it."""
    path = home / "demo.lock"
    path.touch(mode=0o600)
    path.chmod(0o600)  # who can open the file can lock it too
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                Text(
                    f"另一个 demo 正在使用 {home}；请先在其终端按 Ctrl-C",
                    f"another demo is using {home}; stop it with Ctrl-C first",
                )
            ) from None
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the demo like Ctrl-C. A second Ctrl-C does not interrupt the shutdown."""

    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        console.step("正在停止", "stopping")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
