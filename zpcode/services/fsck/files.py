"""Code files on disk: there, unaltered, and holding exactly their batch's codes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from keys.keyring import Keyring, SealVerdict
from zpcode.errors import MalformedCode, Text
from zpcode.exports.csv import HEADER, CodeTable
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.fsck.ground import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store.monitoring import integrity
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Code, Level, check_matches
from zpcode.wire.permutation import Permutation

FILES: Final = Invariant(
    "code-files",
    Text(
        "每个已生成批次的文件都在，摘要与记录一致", "the file of each issued batch is there, with the digest on record"
    ),
    Text(
        "zpcode batches export 序号 会逐字节还原文件；多余的文件须查明来历",
        "zpcode batches export N writes the file again, the same to the byte; find out where a file too many came from",
    ),
)
CONTENTS: Final = Invariant(
    "code-contents",
    Text(
        "文件恰好含有该批次的码：签章有效，不重不漏",
        "files hold exactly their batch's codes: seals valid, none twice, none missing",
    ),
    Text(
        "这些码不要付印；与审计日志比对批次的密钥与摘要，再用 zpcode batches export 还原",
        "do not print these codes; compare the batch's keys and digest with the audit log, then zpcode batches export N",
    ),
)
SAMPLES: Final = 16
_BLOCK: Final = 1024
_NAME = re.compile(r"batch-([0-9]{1,8})\.csv(\.part)?", re.ASCII)


def files(ground: CheckContext, outcome: CheckResult) -> None:
    """Size, mode and SHA-256 of every issued batch's file, read once in constant memory; and no others."""
    known: set[int] = set()
    for batch in _batches(ground):
        known.add(batch.number)
        if batch.state is BatchState.ISSUED:
            outcome.examined += 1
            _file(ground.directory / batch.file_name, batch, outcome)
    for path in sorted(ground.directory.iterdir()) if ground.directory.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None and int(match[1]) not in known:
            outcome.find("stray", "文件没有对应的批次", "there is no batch for this file", where=path.name)


def _file(path: Path, batch: Batch, outcome: CheckResult) -> None:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size != batch.bytes:
                zh, en = f"{found.st_size} 字节，应为 {batch.bytes}", f"has {found.st_size} bytes, not {batch.bytes}"
                outcome.find("size", zh, en, where=path.name)
            elif hashlib.file_digest(file, "sha256").hexdigest() != batch.sha256:
                outcome.find("digest", "摘要与记录不符", "its digest is not the one on record", where=path.name)
    except FileNotFoundError:
        outcome.find("missing", "文件不见了", "the file is missing", where=path.name)
        return
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        outcome.find(
            "mode", f"权限 {mode}，他人可读；chmod 600", f"mode {mode} lets others in; chmod 600", where=path.name
        )


def contents(ground: CheckContext, outcome: CheckResult) -> None:
    """Sixteen codes of each file, others every day; with `deep` all of them.

    Each code is taken apart as a scan does: its seal verifies, its serial leads back to its own index. So no two
    are the same, and none is missing.
    """
    keyring = ground.keyring()
    for batch in _batches(ground):
        path = ground.directory / batch.file_name
        if batch.state is not BatchState.ISSUED or (batch.sealed and not batch.key_id):
            continue
        table = CodeTable(batch)
        if not path.is_file() or path.stat().st_size != table.size:
            continue  # told of under code-files
        if batch.sealed and keyring.get(batch.key_id) is None:
            zh, en = f"公钥环里没有密钥 {batch.key_id}", f"the keyring has no key {batch.key_id}"
            outcome.find("unknown-key", zh, en, where=path.name)
            continue
        with path.open("rb") as file:
            _contents(file, _Reading(table, keyring, outcome), ground)


class _Reading:
    """One file being read: whether each row is the code of its index."""

    def __init__(self, table: CodeTable, keyring: Keyring, outcome: CheckResult) -> None:
        self.table, self.outcome = table, outcome
        self._keyring = keyring
        self._permutation = Permutation(table.batch.permutation_key)

    def row(self, index: int, row: bytes) -> None:
        """Judge one row, without its line break."""
        self.outcome.examined += 1
        reason = self._wrong(index, row)
        if reason is not None:
            where = f"{self.table.batch.file_name}:{index + 2}"
            self.outcome.find(
                reason, *_WORDS[reason], where=where, value=row.partition(b",")[0].decode("ascii", "replace")[-64:]
            )

    def _wrong(self, index: int, row: bytes) -> str | None:
        batch = self.table.batch
        try:
            url, gtin, lot, serial, *_ = row.decode("ascii").split(",")
            code = parse(path_of(url))
        except (MalformedCode, ValueError):
            return "unreadable"
        identity = code.identity
        if not url.startswith(f"{batch.base}/") or (gtin, lot) != (batch.gtin, batch.lot) or identity.gtin != gtin:
            return "another"
        if identity.level is not batch.level or (batch.level is Level.LOT and identity.lot != lot):
            return "another"
        if identity.serial is not None:
            if not url.endswith(serial) or not serial or identity.serial.batch != batch.number:
                return "another"
            if self._permutation.index(identity.serial.slot) != index:
                return "index"
        return self._unproven(code)

    def _unproven(self, code: Code) -> str | None:
        batch = self.table.batch
        if not batch.sealed:
            return None if check_matches(batch.check_key, code.identity) else "check"
        if code.seal is None or code.seal.key_id != batch.key_id or self._keyring.verify(code) is SealVerdict.INVALID:
            return "seal"
        return None


_WORDS: Final = {
    "unreadable": ("这一行不是码", "this row is not a code"),
    "another": ("这一行不是该批次的码", "this row is a code of something else"),
    "index": ("序列号不在它的位置上：重复或缺失", "its serial is not the one of its place: one is missing or twice"),
    "seal": ("签章无效", "its seal is not valid"),
    "check": ("校验段不对", "its check is wrong"),
    "header": ("首行不对", "the header is wrong"),
}


def _contents(file: BinaryIO, reading: _Reading, ground: CheckContext) -> None:
    table = reading.table
    if file.read(len(HEADER)) != HEADER:
        reading.outcome.find("header", *_WORDS["header"], where=table.batch.file_name)
    if not ground.deep:
        for index in _sample(table.codes, f"{table.batch.number}:{ground.now:%Y-%m-%d}"):
            file.seek(table.at(index))
            reading.row(index, file.read(table.width).removesuffix(b"\r\n"))
        return
    for start in range(0, table.codes, _BLOCK):
        block = file.read(min(_BLOCK, table.codes - start) * table.width)
        for at in range(len(block) // table.width):
            reading.row(start + at, block[at * table.width : (at + 1) * table.width].removesuffix(b"\r\n"))


def _sample(codes: int, seed: str) -> list[int]:
    """The first, the last, and some in between, chosen by `seed`."""
    if codes <= SAMPLES:
        return list(range(codes))
    step = codes / SAMPLES
    shift = hashlib.sha256(seed.encode()).digest()[0] / 256
    return sorted({0, codes - 1, *(int((at + shift) * step) for at in range(SAMPLES))})


def _batches(ground: CheckContext) -> Iterator[Batch]:
    with integrity.snapshot(ground.engine) as connection:
        for chunk in integrity.every_batch(connection):
            yield from chunk
