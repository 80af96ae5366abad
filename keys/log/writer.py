"""The signer's own log: one JSON line for each request, written before a signature is returned.

It records what was signed. If the authority is compromised, the log shows which codes the signer has really signed, and how far
the audit chain had come. Each line has the hash of the line before it (keys.log.chain). Several processes append to one file
under one lock. `SigningLog` is the only writer; the log is the only memory of the signer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from keys.audit_head import SignedHead, head_fields
from keys.files import check_secret, locked, make_folder, sync_folder
from keys.log import chain
from keys.log.chain import LogTail
from keys.log.reader import LONGEST_LINE
from keys.messages import refusal
from keys.protocol import LOG_PAGE, Items, LogPage, SignLotCode, SignProductCode
from zpcode.errors import KeyringError, SignerError, Text
from zpcode.regular_files import open_own

_SLOT_BYTES = 8
_READ_BYTES: Final = 1 << 20
_BEGINNING_BYTES: Final = 128
"""So many bytes tell the first line of a file from that of another: they have the hash of the line before it."""
_FLAGS = os.O_RDWR | os.O_APPEND


def entry(
    request: SignProductCode | SignLotCode | Items, messages: list[bytes], now: datetime, uid: int
) -> dict[str, str | int]:
    """The log entry of one request for codes. `sha256` is the hash of the signed bytes of all its codes, one after the other."""
    fields: dict[str, str | int] = {
        "time": now.isoformat(),
        "uid": uid,
        "key": request.key_id,
        "kind": str(request.__struct_config__.tag),
        "gtin": request.gtin,
    }
    if isinstance(request, SignLotCode):
        fields["lot"] = request.lot
    if isinstance(request, Items):
        fields["batch"] = request.batch
        fields["first_slot"] = int.from_bytes(request.slots[:_SLOT_BYTES], "little")
    fields["count"] = len(messages)
    fields["sha256"] = hashlib.sha256(b"".join(messages)).hexdigest()
    return fields


def head_entry(head: SignedHead, now: datetime, uid: int) -> dict[str, str | int]:
    """The log entry of one countersigned head. It has the signature too: the log is where the database cannot reach."""
    return {"time": now.isoformat(), "uid": uid, "kind": "audit-head", **head_fields(head)}


class _LogFile:
    """One open file of the log, read as far as this process knows it."""

    def __init__(self, path: Path, flags: int = 0) -> None:
        self.descriptor = _opened(path, flags)
        self.tail = LogTail()
        self._offset = 0
        self._rest = b""
        self._beginning = b""

    @property
    def identity(self) -> tuple[int, int]:
        """What tells this file from another of the same name."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def catch_up(self) -> None:
        """Read what other processes have written. A file that was emptied begins again with the high water of before."""
        if self._was_emptied():
            self._offset, self._rest, self._beginning = 0, b"", b""
            if not os.pread(self.descriptor, 1, 0):
                self.write(chain.continued(self.tail))
        reader = chain.ChainReader(self.tail)
        while chunk := os.pread(self.descriptor, _READ_BYTES, self._offset):
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                reader.read(line)
        if reader.lines:
            self.tail = reader.tail
        if not self._beginning:
            self._beginning = os.pread(self.descriptor, min(_BEGINNING_BYTES, self._offset), 0)

    def _was_emptied(self) -> bool:
        """Whether the file is shorter than before, or begins otherwise: another process may have written to it since."""
        beginning = os.pread(self.descriptor, len(self._beginning), 0)
        return beginning != self._beginning or os.fstat(self.descriptor).st_size < self._offset

    def write(self, fields: dict[str, Any], *, sync: bool = False) -> None:
        """Append one entry. Raises OSError if it is not completely written: then the file is as it was before."""
        if self._rest:  # a power failure tore the last line: it stays as a separate line
            self.tail = chain.after(self.tail, self._rest)
        line = (b"\n" if self._rest else b"") + chain.chained(fields, self.tail.last)
        before = self._offset
        if os.write(self.descriptor, line) != len(line):
            os.ftruncate(self.descriptor, before)
            raise OSError("short write")
        self._rest = b""
        self._offset += len(line)
        self.tail = chain.after(self.tail, line.strip(b"\n"))
        if sync:
            os.fdatasync(self.descriptor)

    def page(self, offset: int) -> LogPage:
        """The whole lines from `offset` on, at most `LOG_PAGE` bytes of them. Raises ValueError if no line begins there."""
        end = self._offset - len(self._rest)
        if not 0 <= offset <= end or (offset and os.pread(self.descriptor, 1, offset - 1) != b"\n"):
            raise ValueError("no line begins there")
        lines = os.pread(self.descriptor, min(LOG_PAGE, end - offset), offset)
        first, _, _ = os.pread(self.descriptor, min(LONGEST_LINE, end), 0).partition(b"\n")
        return LogPage(lines[: lines.rfind(b"\n") + 1], end, chain.hash_of(first))

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def _opened(path: Path, flags: int) -> int:
    make_folder(path.parent)
    try:
        descriptor = open_own(path, _FLAGS | flags)
    except OSError as error:
        zh, en = f"无法打开签名日志 {path}", f"cannot open the signing log {path}"
        raise KeyringError(Text(f"{zh}（{error.strerror}）", f"{en} ({error.strerror})")) from error
    try:
        check_secret(path, os.fstat(descriptor))
    except KeyringError:
        os.close(descriptor)
        raise
    return descriptor


class SigningLog:
    """The log file, mode 0600. If it is renamed or moved away (log rotation), a new one is made that continues its chain.

    A second name in the same folder, `.NAME.last`, keeps the file that was written last, so that the chain and the high water
    survive a rotation and a restart. Raises KeyringError if the file cannot be opened or others can read it. A written entry
    survives the end of the process. Only a synced entry survives a power failure for certain.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last, self._lock = (path.with_name(f".{path.name}.{end}") for end in ("last", "lock"))
        make_folder(path.parent)
        self._file = _LogFile(path, os.O_CREAT)
        with self._explained(), locked(self._lock):
            self._begin()

    def _begin(self) -> None:
        self._file.catch_up()
        if self._file.tail == LogTail() and self._last.exists():
            self._continue()
        self._remember()

    def _continue(self) -> None:
        last = _LogFile(self._last)
        try:
            last.catch_up()
        finally:
            last.close()
        if last.tail != LogTail():
            self._file.tail = last.tail
            self._file.write(chain.continued(last.tail), sync=True)

    def _remember(self) -> None:
        if _identity(self._last) == self._file.identity:
            return
        fresh = self._last.with_name(f"{self._last.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        # By the descriptor: the path may name another file by now. CPython calls linkat(2), which can follow the link in
        # /proc, only if a folder is given; an absolute path ignores the folder.
        opened = self._file.descriptor
        os.link(f"/proc/self/fd/{opened}", fresh, src_dir_fd=opened, follow_symlinks=True)
        fresh.replace(self._last)
        sync_folder(self._path.parent)

    def _follow(self) -> None:
        if _identity(self._path) != self._file.identity:
            fresh = _LogFile(self._path, os.O_CREAT)
            self._file.close()
            self._file = fresh
            self._begin()

    @contextlib.contextmanager
    def writing(self) -> Iterator[_LogFile]:
        """The log under its lock, read to its end: its `tail` is the high water, and `write` appends an entry.

        Raises SignerError if the log cannot be read or written: then nothing may be signed.
        """
        try:
            with locked(self._lock):
                self._follow()
                self._file.catch_up()
                yield self._file
        except (OSError, KeyringError) as error:
            raise self._unwritten() from error

    def tail(self) -> LogTail:
        """The high water now. Raises SignerError if the log cannot be read."""
        with self.writing() as log:
            return log.tail

    def page(self, offset: int, file: str) -> LogPage:
        """The whole lines of the newest file from `offset` on; none at its end.

        `file` is the `file` of an earlier page, or empty. Raises SignerError if the log was rotated since, if no line begins at `offset`,
        or if the log cannot be read.
        """
        with self.writing() as log:
            try:
                page = log.page(offset)
            except ValueError:
                page = None
        if page is None or file not in {"", page.file}:
            raise refusal(
                "签名日志在读取期间已更换，请重新执行该命令",
                "its log was rotated while it was read; run the command again",
            )
        return page

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            zh, en = f"签名日志 {self._path} 不可用", f"the signing log {self._path} cannot be used"
            raise KeyringError(Text(f"{zh}（{error.strerror}）", f"{en} ({error.strerror})")) from error

    def _unwritten(self) -> SignerError:
        return refusal("无法写入签名日志，因此拒绝签名", "it cannot write its log, so it signs nothing")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
