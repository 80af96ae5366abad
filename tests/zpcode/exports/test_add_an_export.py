"""CONTRIBUTING.md, "Add an export", step by step with a made-up format: nothing outside `zpcode/exports` is touched."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from redis import Redis
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support import authority
from tests.support.authority import Tenants, app, as_, base_url, furnished, here, http, world
from tests.support.issuing_setting import KeyHouse, key_house
from zpcode.api.http.context import Authority
from zpcode.embedded.servers import ServerAddresses
from zpcode.exports.base import CodeRow
from zpcode.exports.formats import EXPORTS
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch
from zpcode.services import scans
from zpcode.services.batches import code_file
from zpcode.services.batches.issue import issue, reissue
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import FsckReport
from zpcode.store.database.session import connect
from zpcode.wire.calendar import today

__all__ = ["app", "base_url", "furnished", "here", "http", "world"]


class FixedWidth:
    """Step 1. Columns for a packaging line: serial and lot in 20 characters each, then the URL."""

    name: Final = "fixed-width"
    media_type: Final = "text/plain; charset=us-ascii"
    suffix: Final = ".txt"
    max_codes: Final = 50_000
    header: Final = b""

    def row(self, code: CodeRow) -> bytes:
        return f"{code.serial:<20}{code.lot:<20}{code.url}\n".encode("ascii")

    def url(self, row: bytes) -> str:
        return row[40:].decode("ascii").removesuffix("\n")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 2. The format is registered."""
    monkeypatch.setitem(EXPORTS, FixedWidth.name, FixedWidth())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for this module."""
    made = key_house(tmp_path_factory.mktemp("kh"), datetime.now(UTC) - timedelta(days=30))
    with made.signer():
        yield made


@dataclass(frozen=True, slots=True)
class PackagingLine:
    """A packaging line that orders a batch in the made-up format over HTTP, and the operator who issues it."""

    http: httpx.Client
    here: Authority
    world: Tenants
    house: KeyHouse
    redis: Redis

    def order(self, level: str, quantity: int) -> httpx.Response:
        body = {
            "level": level,
            "gtin": self.world.my_gtin,
            "quantity": quantity,
            "format": FixedWidth.name,
            "lot": "L1",
        }
        headers = as_(self.world.mine) | {"Idempotency-Key": f"{level}-{quantity}"}
        return self.http.post("/v1/batches", json=body, headers=headers)

    def issued(self, level: str, quantity: int) -> Batch:
        number = self.order(level, quantity).json()["number"]
        return _issue(self.here.engine, self.house.client(), number, self.here.exports)

    def path(self, number: int) -> Path:
        return self.here.exports / f"batch-{number}.txt"

    def fsck(self) -> FsckReport:
        """All checks, over all codes."""
        engine, now = self.here.engine, datetime.now(UTC)
        scans.ensure_partitions(engine, today(now))
        projector.catch_up(engine, self.redis)
        return run.check(
            CheckContext(engine, self.redis, self.here.exports, lambda: self.house.keyring, now, deep=True, patience=0)
        )


@pytest.fixture
def line(http: httpx.Client, here: Authority, world: Tenants, house: KeyHouse, redis: Redis) -> PackagingLine:
    """Everything a packaging line works with."""
    return PackagingLine(http, here, world, house, redis)


def _issue(engine: Engine, signer: SignerClient, number: int, directory: Path) -> Batch:
    with signer:
        return issue(engine, signer, number, directory=directory, clock=lambda: datetime.now(UTC))


@pytest.mark.parametrize("level", ["product", "lot", "item", "compact"])
def test_a_batch_is_ordered_issued_and_downloaded_in_the_new_format(line: PackagingLine, level: str) -> None:
    """With its media type and suffix, byte for byte the issued file."""
    batch = line.issued(level, 300)
    answer = line.http.get(f"/v1/batches/{batch.number}/codes", headers=as_(line.world.mine))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == FixedWidth.media_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="batch-{batch.number}.txt"'
    assert answer.content == line.path(batch.number).read_bytes()
    rows = answer.content.splitlines()
    assert len(rows) == batch.codes == len(set(rows))
    assert rows[0][20:40].rstrip() == b"L1"
    assert rows[0][40:].startswith(line.here.base.encode())


def test_a_file_cannot_have_more_codes_than_the_format_carries(line: PackagingLine) -> None:
    """The order is refused; at product level the labels share one code, so the limit does not matter."""
    answer = line.order("item", FixedWidth.max_codes + 1)
    assert answer.status_code == 422
    assert [(one["pointer"], one["reason"]) for one in answer.json()["errors"]] == [("/quantity", "quantity")]
    assert line.order("product", FixedWidth.max_codes + 1).status_code == 202


def test_fsck_reads_the_new_format(line: PackagingLine) -> None:
    """It passes, with files in another format beside it; then it reports each damage by file and line."""
    for waiting in (line.world.my_batch, line.world.their_batch):
        authority.issued(line.here, waiting)
    batch, other = line.issued("item", 300), line.issued("item", 301)
    assert [(one.invariant.name, one.findings) for one in line.fsck().outcomes if one.findings or one.obstacle] == []
    path = line.path(batch.number)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[6] = line.path(other.number).read_bytes().splitlines(keepends=True)[6]
    rows[8] = rows[8].replace(b"L1", b"L2")
    path.write_bytes(b"".join(rows))
    (line.here.exports / "batch-999.txt").touch(mode=0o600)
    report = line.fsck()
    assert [(one.reason, one.where) for one in report.of("code-contents").findings] == [
        ("another", f"batch-{batch.number}.txt:7"),
        ("row", f"batch-{batch.number}.txt:9"),
    ]
    assert [(one.reason, one.where) for one in report.of("code-files").findings] == [
        ("digest", f"batch-{batch.number}.txt"),
        ("stray", "batch-999.txt"),
    ]


def test_an_issue_that_was_killed_goes_on_to_the_same_bytes(
    line: PackagingLine, addresses: ServerAddresses, tmp_path: Path
) -> None:
    """Killed in the second chunk, with zeros at the end as after a power cut; then deleted and written again."""
    number = line.order("item", 3 * code_file.CHUNK + 5).json()["number"]
    program = f"import sys; from {__name__} import issue_until_killed; issue_until_killed(*sys.argv[1:])"
    arguments = [addresses.database, str(line.house.socket), str(number), str(line.here.exports)]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    part = line.path(number).with_suffix(".txt.part")
    left = part.read_bytes()
    assert left
    part.write_bytes(left + bytes(100))
    batch = _issue(line.here.engine, line.house.client(), number, line.here.exports)
    resumed = line.path(number).read_bytes()
    line.path(number).unlink()
    again = reissue(line.here.engine, line.house.client(), number, directory=line.here.exports)
    assert again.read_bytes() == resumed
    with line.house.client() as signer:
        assert code_file.produce(batch, signer, tmp_path / "at once") is not None
    assert (tmp_path / "at once" / f"batch-{number}.txt").read_bytes() == resumed


def issue_until_killed(database: str, socket: str, number: str, directory: str) -> None:
    """Issue a batch in a process that is killed after the second chunk."""
    assert isinstance(EXPORTS, dict)
    EXPORTS[FixedWidth.name] = FixedWidth()

    def kill(done: int) -> None:
        if done == 2 * code_file.CHUNK:
            signal.raise_signal(signal.SIGKILL)

    with SignerClient(Path(socket), timeout=10) as signer:
        engine = connect(database, pool_size=1)
        issue(engine, signer, int(number), directory=Path(directory), clock=lambda: datetime.now(UTC), progress=kill)
