"""An audit log whose heads a signer has countersigned, its owner who writes it again, and the two checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from keys.keyring import Keyring
from tests.support import databases
from tests.support.authority import OPERATOR
from tests.support.code_folders import code_folder
from tests.support.keyroom import RunningSigner, ring
from zpcode.cli.audit import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.access import Role
from zpcode.rules.audit import GENESIS, digest
from zpcode.services import access, audit
from zpcode.services.audit_heads import Countersigner, HeadFile
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.head_comparison import CountersignedHeads, HeadReport
from zpcode.store import audit as log
from zpcode.store.database.session import transaction


@pytest.fixture
def own_signer() -> Iterator[RunningSigner]:
    """A signer of two processes, which has countersigned nothing."""
    with RunningSigner() as signer:
        yield signer


@dataclass
class CountersignedLog:
    """A log of a few entries and API keys, countersigned; its owner; and the two checks."""

    engine: Engine
    redis: Redis
    signer: RunningSigner
    file: HeadFile
    folder: Path
    now: datetime
    shell: Callable[..., Any]

    def keyring(self) -> Keyring:
        """The keyring now."""
        return ring(self.signer.room)

    def countersign(self) -> None:
        """What the worker does."""
        Countersigner(self.engine, self.signer.client, self.file).step()

    def fsck(self, name: str) -> set[str]:
        """The reasons of the findings of one check."""
        context = CheckContext(
            self.engine,
            self.redis,
            code_folder(self.folder),
            self.keyring,
            self.now,
            patience=0,
            heads=self.heads,
        )
        result = run.check(context, only=[name]).of(name)
        answering = name != "audit-chain" or self.signer.process.poll() is None
        assert (result.obstacle is None) == answering
        return {finding.reason for finding in result.findings}

    def heads(self) -> CountersignedHeads:
        """The heads now."""
        return CountersignedHeads(self.file, self.signer.client, self.keyring())

    def report(self) -> HeadReport:
        """What the heads say."""
        return audit.verify(self.engine, heads=self.heads()).heads

    def reasons(self) -> set[str]:
        """What `zpcode fsck` finds in the log and the keys. `zpcode audit verify` must agree that all is well, or that it is not."""
        found_by_fsck = self.fsck("audit-chain") | self.fsck("api-keys")
        verified = self.shell("verify")
        assert verified.exit_code == (1 if found_by_fsck else 0), verified.output
        return found_by_fsck


@pytest.fixture
def countersigned(
    engine: Engine, redis: Redis, addresses: ServerAddresses, own_signer: RunningSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CountersignedLog:  # fmt: skip
    """Four entries, two of them of API keys."""
    for name, value in {
        "HOME": own_signer.home,
        "DATABASE_URL": addresses.database,
        "AUDIT_HEADS": tmp_path / "heads.jsonl",
    }.items():
        monkeypatch.setenv(f"ZPCODE_{name}", str(value))
    now = datetime.now(UTC).replace(microsecond=0)
    file = HeadFile(tmp_path / "heads.jsonl")
    made = CountersignedLog(
        engine, redis, own_signer, file, tmp_path, now, lambda *words: CliRunner().invoke(app, list(words))
    )
    for label in ("MES", "WMS"):
        access.create(engine, Role.OPERATOR, "*", label, caller=OPERATOR, now=now)
    with transaction(engine) as connection:
        for number in range(2):
            log.append(connection, at=now, actor="regulator:330000:K", action="test", object_=f"x:{number}", detail={})
    made.countersign()
    assert made.reasons() == set()
    return made


def as_owner(engine: Engine, change: Callable[[Connection], object]) -> None:
    """Do what the owner of the tables can do: without triggers."""
    with databases.as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        change(connection)
        connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))


def written_again(connection: Connection, *, without: str = "", actor: str = "", at: int = 0) -> None:
    """Compute the whole chain again, without the entries of an action, or with another actor of the last entry, or of entry `at`."""
    entries = [entry for entry, _, _ in log.entries(connection) if entry.action != without]
    if actor:
        entries[at - 1] = replace(entries[at - 1], actor=actor)
    connection.execute(text("DELETE FROM audit"))
    head = GENESIS
    for number, entry in enumerate(entries, 1):
        fresh = replace(entry, id=number)
        values = {name: getattr(fresh, name) for name in ("id", "at", "actor", "action", "object")}
        values |= {"detail": json.dumps(fresh.detail), "previous": head, "hash": digest(head, fresh)}
        columns = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO audit ({columns}) VALUES ({places})"), values)  # noqa: S608 - our own names
        head = values["hash"]
