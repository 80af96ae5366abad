"""The system that a run loads where no other is named: a demo on this machine, seeded once and kept for the next run.

It is `zpcode demo` with one difference: it trusts X-Forwarded-For, which has the addresses of the virtual consumers.
Otherwise all of them would be one visitor, and the rate limits would refuse them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keys.client import SignerClient
from loadtests.load.sample import CONTENTS
from loadtests.load.seeding import Plan, Seeding
from loadtests.load.terminal import step
from zpcode.embedded.servers import Servers
from zpcode.errors import Text, Unavailable
from zpcode.projection import client, projector
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.store.database.session import connect

SCAN_PORT: Final = 18701
API_PORT: Final = 18700
_READY: Final = "Ctrl-C stops everything"
_STOP_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class System:
    """A running system: the addresses of scan service and API, and the folder of its sample.

    `readyz` is the address of the scan process's state on its private port; empty if it is not known.
    """

    scan: str
    api: str
    sample: Path
    readyz: str = ""


@contextmanager
def running(home: Path, plan: Plan, port: int = SCAN_PORT, api_port: int = API_PORT) -> Iterator[System]:
    """Start the demo on `home`, seed it unless it was seeded with the same plan, and stop it afterwards.

    Raises Unavailable where it does not start.
    """
    home, sample = home.absolute(), home.absolute() / "sample"
    with ExitStack() as stack:
        step("启动系统", "starting the system")
        scan, api, readyz = stack.enter_context(_demo(home, port, api_port))
        seeded = sample / "plan.txt"
        if not seeded.exists() or seeded.read_text("utf-8") != repr(plan):
            _seed(home, plan, scan, sample)
            seeded.write_text(repr(plan), "utf-8")
        assert (sample / CONTENTS).exists()  # noqa: S101
        yield System(scan, api, sample, readyz)


@contextmanager
def _demo(home: Path, port: int, api_port: int) -> Iterator[tuple[str, str, str]]:
    """The demo as a child process; yields the addresses of its scan service, its API, and the scan process's state."""
    command = [sys.executable, "-m", "zpcode", "demo", "--home", str(home),
               "--port", str(port), "--api-port", str(api_port)]  # fmt: skip
    environment = os.environ | {"ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,  # noqa: S603 - ours
                               env=environment, start_new_session=True)  # fmt: skip
    try:
        yield _addresses(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_STOP_SECONDS)


def _addresses(process: subprocess.Popen[str]) -> tuple[str, str, str]:
    """The addresses that the demo prints. The API key that it prints as well is not used."""
    addresses: dict[str, str] = {}
    output: list[str] = []
    assert process.stdout is not None  # noqa: S101
    for line in process.stdout:
        output.append(line)
        words = line.split()
        if len(words) == 2 and words[0] == "scanweb" and words[1].endswith("/metrics"):
            addresses["metrics"] = words[1].removesuffix("/metrics")
        for name, last in (("scan", "/"), ("API", "/openapi.json")):
            if name in words and words[-1].startswith("http://") and words[-1].endswith(last):
                addresses.setdefault(name, words[-1].removesuffix(last))
        if _READY in line:
            return addresses["scan"], addresses["API"], addresses["metrics"] + "/readyz"
    reason = "".join(output).strip()[-2000:]
    raise Unavailable(Text(f"系统没有启动：{reason}", f"the system did not start: {reason}"))


def _seed(home: Path, plan: Plan, base: str, sample: Path) -> None:
    """Seed the system whose embedded servers run in `home`."""
    addresses = Servers(home).addresses
    step(f"备数：{plan.codes} 个码，{plan.products} 个产品", f"seeding: {plan.codes} codes of {plan.products} products")
    with ExitStack() as stack:
        engine = connect(addresses.database, pool_size=10)
        stack.callback(engine.dispose)
        signer = stack.enter_context(SignerClient(home / "run" / "signer.sock"))
        Seeding(engine, signer, CodeFolder(home / "exports", home / "secrets" / "files.key"), base, plan, step).run(
            sample
        )
        redis = client.connect(addresses.redis)
        stack.callback(redis.close)
        projector.catch_up(engine, redis)
