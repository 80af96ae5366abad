"""CONTRIBUTING.md, "Add an export", step by step with two made-up formats: nothing outside `zpcode/exports` is touched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zlib
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
from tests.support.code_folders import code_folder, content, put_content
from tests.support.issuing_setting import KeyHouse, key_house
from zpcode.api.http.context import Authority
from zpcode.embedded.servers import ServerAddresses
from zpcode.exports.base import CodeRow, Export
from zpcode.exports.formats import EXPORTS
from zpcode.exports.rows import RowFile
from zpcode.exports.table import CodeTable
from zpcode.exports.text import text_example
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch
from zpcode.services import scans
from zpcode.services.batches import code_file, reserve
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue
from zpcode.services.batches.rewrite import reissue
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import FsckReport
from zpcode.store.database.session import connect
from zpcode.wire.calendar import today

__all__ = ["app", "base_url", "furnished", "here", "http", "world"]


class FixedWidth:
    """Step 1, rows of one width. Columns for a packaging line: serial and lot in 20 characters each, then the URL."""

    name: Final = "fixed-width"
    media_type: Final = "text/plain; charset=us-ascii"
    suffix: Final = ".txt"
    max_codes: Final = 50_000
    header: Final = b""
    footer: Final = b""

    def layout(self, batch: Batch) -> CodeTable:
        return CodeTable(batch, self)

    def example(self, code: CodeRow) -> str:
        return text_example(self, code)

    def row(self, code: CodeRow) -> bytes:
        return f"{code.serial:<20}{code.lot:<20}{code.url}\n".encode("ascii")

    def url(self, row: bytes) -> str:
        return row[40:].decode("ascii").removesuffix("\n")


class JsonArray:
    """Step 1, rows of any width and a footer. The width of a checksum differs, and it depends on the signature."""

    name: Final = "json-array"
    media_type: Final = "application/json"
    suffix: Final = ".json"
    max_codes: Final = 50_000
    header: Final = b"[\n"
    footer: Final = b"null]\n"

    def layout(self, batch: Batch) -> RowFile:
        return RowFile(batch, self)

    def example(self, code: CodeRow) -> str:
        return text_example(self, code)

    def row(self, code: CodeRow) -> bytes:
        fields = {"lot": code.lot, "sum": zlib.crc32(code.url.encode()) >> 8, "url": code.url}
        return json.dumps(fields).encode("ascii") + b",\n"

    def url(self, row: bytes) -> str:
        try:
            return str(json.loads(row.removesuffix(b",\n"))["url"])
        except (KeyError, TypeError) as error:
            raise ValueError("not an object with a URL") from error


FORMATS: Final[tuple[Export, ...]] = (FixedWidth(), JsonArray())


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 2. The formats are registered."""
    for export in FORMATS:
        monkeypatch.setitem(EXPORTS, export.name, export)


@pytest.fixture(params=FORMATS, ids=lambda export: export.name)
def export(request: pytest.FixtureRequest) -> Export:
    """The format of the test."""
    made: Export = request.param
    return made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for this module."""
    made = key_house(tmp_path_factory.mktemp("kh"), datetime.now(UTC) - timedelta(days=30))
    with made.signer():
        yield made


@dataclass(frozen=True, slots=True)
class PackagingLine:
    """A packaging line that orders batches in a made-up format over HTTP, and the operator who issues it."""

    http: httpx.Client
    here: Authority
    world: Tenants
    house: KeyHouse
    redis: Redis
    export: Export

    def order(self, level: str, quantity: int) -> httpx.Response:
        body = {
            "level": level,
            "gtin": self.world.my_gtin,
            "quantity": quantity,
            "format": self.export.name,
            "lot": "L1",
        }
        headers = as_(self.world.mine) | {"Idempotency-Key": f"{level}-{quantity}"}
        return self.http.post("/v1/batches", json=body, headers=headers)

    def issued(self, level: str, quantity: int) -> Batch:
        number = self.order(level, quantity).json()["number"]
        return _issue(self.here.engine, self.house.client(), number, self.here.exports)

    def path(self, number: int) -> Path:
        return self.here.exports.path / f"batch-{number}{self.export.suffix}"

    def content(self, number: int) -> bytes:
        """The content of a batch's file."""
        return content(self.here.exports, self.batch(number), self.path(number))

    def put(self, number: int, data: bytes) -> None:
        """Change the content of a batch's file as somebody does who has the file key."""
        put_content(self.here.exports, self.batch(number), data, self.path(number))

    def batch(self, number: int) -> Batch:
        return reserve.get(self.here.engine, number, authority.OPERATOR)

    def rows(self, number: int) -> list[bytes]:
        """The lines of a batch's file."""
        return self.content(number).splitlines(keepends=True)

    def restored(self, number: int) -> bytes:
        """The file of an issued batch, written again where it is missing or damaged."""
        reissue(self.here.engine, self.house.client(), number, folder=self.here.exports, clock=self.here.clock)
        return self.content(number)

    def fsck(self) -> FsckReport:
        """All checks, over all codes."""
        engine, now = self.here.engine, datetime.now(UTC)
        scans.ensure_partitions(engine, today(now))
        projector.catch_up(engine, self.redis)
        return run.check(
            CheckContext(engine, self.redis, self.here.exports, lambda: self.house.keyring, now, deep=True, patience=0)
        )


@pytest.fixture
def line(
    http: httpx.Client, here: Authority, world: Tenants, house: KeyHouse, redis: Redis, export: Export
) -> PackagingLine:
    """Everything a packaging line works with."""
    return PackagingLine(http, here, world, house, redis, export)


def _issue(engine: Engine, signer: SignerClient, number: int, folder: CodeFolder) -> Batch:
    with signer:
        return issue(engine, signer, number, folder=folder, clock=lambda: datetime.now(UTC))


@pytest.mark.parametrize("level", ["product", "lot", "item", "compact"])
def test_a_batch_is_ordered_issued_and_downloaded_in_the_new_format(line: PackagingLine, level: str) -> None:
    """With its media type and suffix, byte for byte the issued file."""
    batch = line.issued(level, 300)
    answer = line.http.get(f"/v1/batches/{batch.number}/codes", headers=as_(line.world.mine))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == line.export.media_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="batch-{batch.number}{line.export.suffix}"'
    assert answer.content == line.content(batch.number)
    rows = [row for row in answer.content.splitlines() if line.here.base.encode() in row]
    assert len(rows) == batch.codes == len(set(rows))
    assert all(b"L1" in row for row in rows)


def test_the_rows_of_a_format_may_differ_in_width(line: PackagingLine) -> None:
    """The file with its footer is a whole document."""
    batch = line.issued("item", 300)
    widths = {len(row) for row in line.rows(batch.number)[1:-1]}
    if isinstance(line.export, JsonArray):
        assert len(widths) > 1
        assert len(json.loads(line.content(batch.number))) == batch.codes + 1
    else:
        assert len(widths) == 1


def test_a_file_cannot_have_more_codes_than_the_format_carries(line: PackagingLine) -> None:
    """The order is refused; at product level the labels share one code, so the limit does not matter."""
    limit = line.export.max_codes or 0
    answer = line.order("item", limit + 1)
    assert answer.status_code == 422
    assert [(one["pointer"], one["reason"]) for one in answer.json()["errors"]] == [("/quantity", "quantity")]
    assert line.order("product", limit + 1).status_code == 202


def test_fsck_reads_the_new_format(line: PackagingLine) -> None:
    """It passes, with files in another format beside it; then it reports each damage by file and line."""
    for waiting in (line.world.my_batch, line.world.their_batch):
        authority.issued(line.here, waiting)
    batch, other = line.issued("item", 300), line.issued("item", 301)
    assert [(one.invariant.name, one.findings) for one in line.fsck().outcomes if one.findings or one.obstacle] == []
    path, rows = line.path(batch.number), line.rows(batch.number)
    rows[6] = next(row for row in line.rows(other.number)[1:-1] if len(row) == len(rows[6]))
    rows[8] = rows[8].replace(b"L1", b"L2")
    line.put(batch.number, b"".join(rows))
    line.path(999).touch(mode=0o600)
    report = line.fsck()
    assert [(one.reason, one.where) for one in report.of("code-contents").findings] == [
        ("another", f"{path.name}:7"),
        ("row", f"{path.name}:9"),
    ]
    assert [(one.reason, one.where) for one in report.of("code-files").findings] == [
        ("digest", path.name),
        ("stray", line.path(999).name),
    ]


def test_fsck_compares_the_digest_of_a_format_that_this_version_lacks(
    line: PackagingLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Happens after a downgrade of the service: only the codes in the file cannot be read."""
    for waiting in (line.world.my_batch, line.world.their_batch):
        authority.issued(line.here, waiting)
    altered, lost = line.issued("item", 300), line.issued("item", 301)
    monkeypatch.delitem(EXPORTS, line.export.name)
    assert not line.fsck().of("code-files").findings
    line.put(altered.number, line.content(altered.number)[:-1] + b"?")
    line.path(lost.number).unlink()
    report = line.fsck()
    assert {(one.reason, one.where) for one in report.of("code-files").findings} == {
        ("digest", line.path(altered.number).name),
        ("missing", f"batch-{lost.number}.*"),
    }
    assert [one.reason for one in report.of("batch-records").findings] == ["format", "format"]


def test_an_issue_that_was_killed_goes_on_to_the_same_bytes(
    line: PackagingLine, addresses: ServerAddresses, tmp_path: Path
) -> None:
    """Killed in the second part, with zeros at the end as after a power cut; then deleted or damaged and written again."""
    number = line.order("item", 3 * code_file.CHUNK + 5).json()["number"]
    program = f"import sys; from {__name__} import issue_until_killed; issue_until_killed(*sys.argv[1:])"
    arguments = [addresses.database, str(line.house.socket), str(number), str(line.here.exports.path)]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    part = line.path(number).with_suffix(f"{line.export.suffix}.part")
    left = part.read_bytes()
    assert left
    part.write_bytes(left + bytes(100))
    batch = _issue(line.here.engine, line.house.client(), number, line.here.exports)
    resumed = line.content(number)
    line.path(number).unlink()
    assert line.restored(number) == resumed
    line.put(number, resumed[:-1] + b"?")
    assert line.restored(number) == resumed
    at_once = code_folder(tmp_path / "at once")
    with line.house.client() as signer:
        assert code_file.produce(batch, signer, at_once) is not None
    assert content(at_once, batch) == resumed


@pytest.mark.parametrize("misplaced", [0, 2])
def test_a_part_in_the_place_of_another_is_written_again(line: PackagingLine, misplaced: int) -> None:
    """A crash may leave old bytes: the right number of whole codes of this batch, but not those that belong there."""
    size = code_file.CHUNK
    batch = line.issued("compact", 3 * size)
    content = line.content(batch.number)
    rows = line.rows(batch.number)
    start = len(rows) - batch.codes - (1 if isinstance(line.export, JsonArray) else 0)
    parts = [b"".join(rows[at : at + size]) for at in range(start, start + batch.codes, size)]
    first, end = b"".join(rows[:start]), b"".join(rows[start + batch.codes :])
    assert first + b"".join(parts) + end == content
    line.put(batch.number, first + b"".join(parts[2 - misplaced if at == misplaced else at] for at in range(3)) + end)
    assert line.restored(batch.number) == content


def test_a_part_has_few_codes_where_a_code_is_large(line: PackagingLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 KiB a code: 512 codes are a part of 32 MiB, and 8192 would be half a GB in memory."""

    class Wide(FixedWidth):
        def row(self, code: CodeRow) -> bytes:
            return code.url.ljust(65_535).encode("ascii") + b"\n"

        def url(self, row: bytes) -> str:
            return row.decode("ascii").strip()

    monkeypatch.setitem(EXPORTS, line.export.name, Wide())
    number, done = line.order("compact", 600).json()["number"], list[int]()
    with line.house.client() as signer:
        assert code_file.produce(line.batch(number), signer, line.here.exports, report=done.append) is not None
    assert done == [512, 600]


def issue_until_killed(database: str, socket: str, number: str, folder: str) -> None:
    """Issue a batch in a process that is killed after the second part."""
    assert isinstance(EXPORTS, dict)
    EXPORTS.update({export.name: export for export in FORMATS})

    def kill(done: int) -> None:
        if done == 2 * code_file.CHUNK:
            signal.raise_signal(signal.SIGKILL)

    with SignerClient(Path(socket), timeout=10) as signer:
        engine = connect(database, pool_size=1)
        issue(
            engine,
            signer,
            int(number),
            folder=code_folder(Path(folder)),
            clock=lambda: datetime.now(UTC),
            progress=kill,
        )
