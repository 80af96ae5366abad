"""Code files on disk: each exists, is unaltered, and has exactly the codes of its batch."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keys.keyring import Keyring, SealVerdict
from zpcode.errors import ForeignFile, MalformedCode, Text, Unavailable
from zpcode.exports.base import CodeRead
from zpcode.exports.formats import EXPORTS, file_name, layout_of
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.encrypted_file import disk_bytes
from zpcode.services.batches.file_cipher import DamagedFile
from zpcode.services.batches.unfinished_file import ASIDE
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import recovery
from zpcode.store.database.session import transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Code, Level, check_matches
from zpcode.wire.permutation import Permutation

FILES: Final = Invariant(
    "code-files",
    Text(
        "每个已生成批次的文件都在，摘要与记录一致", "the file of each issued batch exists and has the recorded digest"
    ),
    Text(
        "zpcode batches export 序号 会逐字节还原文件；多余的文件须查明来历",
        "zpcode batches export N writes the file again, identical to the byte; find out where a file without a batch came from",
    ),
)
CONTENTS: Final = Invariant(
    "code-contents",
    Text(
        "每份文件中核对的码（抽查；--deep 为全部）都是该批次的码：签章有效，不重不漏",
        "in each file the codes checked (a sample; all with --deep) are those of its batch: seals valid, none twice, none missing",
    ),
    Text(
        "这些码不要付印；与审计日志比对批次的密钥与摘要，再用 zpcode batches export 还原",
        "do not print these codes; compare the batch's keys and digest with the audit log, then zpcode batches export N",
    ),
)
SAMPLES: Final = 16
_BLOCK: Final = 1024  # codes
_REASONS: Final = {
    "unreadable": ("这一行不是码", "this row is not a code"),
    "another": ("这一行不是该批次的码", "this row is a code of another batch or product"),
    "index": (
        "序列号不属于这一行：重复或缺失",
        "the serial in this row belongs to another row: one is missing or is there twice",
    ),
    "seal": ("签章无效", "its seal is not valid"),
    "check": ("校验段有误", "its check is wrong"),
    "row": ("码正确，但这一行的其他内容有误", "the code is right, but the rest of the row is wrong"),
    "header": ("文件头有误", "the header is wrong"),
}


def files(context: CheckContext, outcome: CheckResult) -> None:
    """Size, mode and SHA-256 of each issued batch's file, read once in constant memory; and files without a batch.

    Size on disk; the SHA-256 is that of the content, decrypted.
    """
    with transaction(context.engine) as connection:
        numbers = set(recovery.lost_batches(connection))  # files that no record explains any more
    for batch in _batches(context):
        numbers.add(batch.number)
        if batch.state is BatchState.ISSUED:
            outcome.examined += 1
            path = _path(context.exports.path, batch)
            if batch.file_removed_at is None:
                _check_file(context.exports, path, batch, outcome)
            elif path.exists() and not batch.awaits_file:
                outcome.find(
                    "left", "记录为已清除，文件却还在", "is recorded as removed, but is there", where=path.name
                )
    suffixes = "|".join(re.escape(export.suffix) for export in EXPORTS.values())
    aside = re.escape(ASIDE)
    pattern = re.compile(rf"batch-([0-9]{{1,8}})(?:{suffixes}|\.signatures)(?:\.part|({aside}[0-9]+))?", re.ASCII)
    folder = context.exports.path
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match is not None and int(match[1]) not in numbers:
            outcome.find("stray", "文件没有对应的批次", "there is no batch for this file", where=path.name)
        elif match is not None and match[2]:
            zh, en = "已损坏，替换它的文件没有写完", "is damaged, and the file that replaces it was not finished"
            outcome.find("aside", zh, en, where=path.name)


def _path(directory: Path, batch: Batch) -> Path:
    """The path of a batch's file. This version does not know the suffix of a format that it lacks: it looks for one."""
    if batch.format in EXPORTS:
        return directory / file_name(batch)
    name = f"batch-{batch.number}.*"
    written = (path for path in sorted(directory.glob(name)) if path.suffix != ".part" and ASIDE not in path.name)
    return next(written, directory / name)


def _check_file(folder: CodeFolder, path: Path, batch: Batch, outcome: CheckResult) -> None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            outcome.find("foreign", "不是普通文件", "is not a regular file", where=path.name)
            return
        if status.st_size != (size := disk_bytes(batch.bytes)):
            zh, en = f"{status.st_size} 字节，应为 {size}", f"has {status.st_size} bytes, not {size}"
            outcome.find("size", zh, en, where=path.name)
        else:
            _check_digest(folder, path, batch, outcome)
    except FileNotFoundError:
        outcome.find("missing", "文件缺失", "the file is missing", where=path.name)
        return
    check_mode(path, status, outcome)


def _check_digest(folder: CodeFolder, path: Path, batch: Batch, outcome: CheckResult) -> None:
    with unreadable_is_a_finding(path, outcome), folder.open(batch, path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != batch.sha256:
            outcome.find("digest", "摘要与记录不符", "its digest is not the recorded one", where=path.name)


@contextmanager
def unreadable_is_a_finding(path: Path, outcome: CheckResult) -> Iterator[None]:
    """Add a finding if the block cannot read an encrypted file: damaged, of another batch, or its key is missing."""
    try:
        yield
    except DamagedFile as damage:
        outcome.find("damaged", f"文件已损坏（{damage}）", f"the file is damaged ({damage})", where=path.name)
    except ForeignFile as error:
        outcome.find("foreign", error.text.zh, error.text.en, where=path.name)
    except Unavailable as error:
        outcome.find("file-key", error.text.zh, error.text.en, where=path.name)


def check_mode(path: Path, status: os.stat_result, outcome: CheckResult) -> None:
    """A finding if other users may access the file."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        zh, en = f"权限 {mode:04o}，他人可以访问；请执行 chmod 600", f"mode {mode:04o} lets other users in; chmod 600"
        outcome.find("mode", zh, en, where=path.name)


def contents(context: CheckContext, outcome: CheckResult) -> None:
    """Sixteen codes of each file, other ones every day; with `deep` all codes.

    Each code is parsed as a scan parses it: its seal verifies, and its serial decrypts to the index of its row. So no
    code is there twice, and none is missing. The rest of the row is compared with what the format writes.
    """
    keyring = context.keyring()
    for batch in _batches(context):
        unsigned = batch.sealed and not batch.key_id
        if batch.state is not BatchState.ISSUED or unsigned or batch.format not in EXPORTS:
            continue  # reported by batch-records
        path, layout = context.exports.finished(batch), layout_of(batch)
        size = layout.size if layout.exact else batch.bytes
        if not path.is_file() or path.stat().st_size != disk_bytes(size):
            continue  # reported by code-files
        if batch.sealed and keyring.get(batch.key_id) is None:
            zh, en = f"公钥环里没有密钥 {batch.key_id}", f"the keyring has no key {batch.key_id}"
            outcome.find("unknown-key", zh, en, where=path.name)
            continue
        with suppress(DamagedFile, ForeignFile, Unavailable), context.exports.open(batch) as file:
            # What is suppressed is reported by code-files.
            if file.read(len(layout.header)) != layout.header:
                outcome.find("header", *_REASONS["header"], where=path.name)
            check = CodeCheck(batch, path.name, keyring, outcome)
            for code in layout.codes(file, _spans(batch, context)):
                check.code(code)


class CodeCheck:
    """Checks whether each code of one file is the code of its index."""

    def __init__(self, batch: Batch, name: str, keyring: Keyring, outcome: CheckResult) -> None:
        self.batch, self.name, self.outcome = batch, name, outcome
        self._keyring = keyring
        self._permutation = Permutation(batch.permutation_key)

    def code(self, code: CodeRead) -> None:
        """Check one code."""
        self.outcome.examined += 1
        reason = self._wrong_code(code) or ("" if code.intact else "row")
        if reason:
            where = f"{self.name}:{code.place}"
            # The serial is at the end of the URL.
            shown = code.raw.decode("ascii", "replace")[:64] if code.url is None else code.url[-64:]
            self.outcome.find(reason, *_REASONS[reason], where=where, value=shown)

    def _wrong_code(self, read: CodeRead) -> str:
        """The reason why a code is not the code of its index; empty where it is."""
        batch, url = self.batch, read.url or ""
        try:
            code = parse(path_of(url))
        except (MalformedCode, ValueError):
            return "unreadable"
        identity, serial = code.identity, code.identity.serial
        expected = (batch.gtin, batch.level, batch.lot if batch.level is Level.LOT else None)
        if not url.startswith(f"{batch.base}/") or (identity.gtin, identity.level, identity.lot) != expected:
            return "another"
        if serial is not None and serial.batch != batch.number:
            return "another"
        if serial is not None and self._permutation.index(serial.slot) != read.index:
            return "index"
        return self._wrong_proof(code)

    def _wrong_proof(self, code: Code) -> str:
        batch = self.batch
        if not batch.sealed:
            return "" if check_matches(batch.check_key, code.identity) else "check"
        if code.seal is None or code.seal.key_id != batch.key_id or self._keyring.verify(code) is SealVerdict.INVALID:
            return "seal"
        return ""


def _spans(batch: Batch, context: CheckContext) -> Iterator[range]:
    """The indices to check."""
    if context.deep:
        return (range(first, min(first + _BLOCK, batch.codes)) for first in range(0, batch.codes, _BLOCK))
    sample = _sample(batch.codes, f"{batch.number}:{context.now:%Y-%m-%d}")
    return (range(index, index + 1) for index in sample)


def _sample(codes: int, seed: str) -> list[int]:
    """The first index, the last, and some in between that `seed` selects."""
    if codes <= SAMPLES:
        return list(range(codes))
    step = codes / SAMPLES
    shift = hashlib.sha256(seed.encode()).digest()[0] / 256
    return sorted({0, codes - 1, *(int((number + shift) * step) for number in range(SAMPLES))})


def _batches(context: CheckContext) -> Iterator[Batch]:
    with integrity.snapshot(context.engine) as connection:
        for chunk in integrity.every_batch(connection):
            yield from chunk
