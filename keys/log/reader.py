"""Reads the signing log line by line, from files or in pages from a running signer, and checks its chain. Memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from keys.log.chain import ChainReader, LogLine
from zpcode.errors import KeyringError, Text
from zpcode.regular_files import any_file

LONGEST_LINE: Final = 64 * 1024
"""No line of the log is as long as this (bytes)."""
_READ_BYTES: Final = 1 << 20


class LogReading:
    """Iterates once over the decoded lines of a log. `chunks` are pieces of it in order, cut anywhere.

    Torn lines are left out. `chain` has what the check of the lines says so far (`keys.log.chain.ChainReader`): its `fault` is a line
    that was changed, removed or inserted. `first` is the first line, None before it was read. Iterating raises what `chunks` raises,
    and KeyringError for a line above 64 KiB.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.chain = ChainReader()
        self.first: LogLine | None = None

    @property
    def continues(self) -> bool:
        """Whether the log continues an earlier file that was not read."""
        return self.first is not None and self.first.kind == "continued"

    def __iter__(self) -> Iterator[LogLine]:
        read = self.chain.read
        for line in _lines(self._chunks):
            fields = read(line)
            if fields is None:
                continue
            if self.first is None:
                self.first = fields
            yield fields

    def check(self) -> ChainReader:
        """Read all lines and return the result of their check."""
        for _ in self:
            pass
        return self.chain


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            zh, en = "签名日志有一行过长", "a line of the signing log is too long"
            raise KeyringError(Text(f"{zh}（{LONGEST_LINE} 字节以上）", f"{en} (above {LONGEST_LINE} bytes)"))
        yield from lines
    if rest:
        yield rest


def chunks_of(files: Iterable[Path]) -> Iterator[bytes]:
    """The content of log files, oldest first. Raises KeyringError if one cannot be read.

    A file whose last line a power failure has torn ends like one that has its line feed.
    """
    for path in files:
        last = b"\n"
        try:
            with any_file(path) as file:
                while chunk := file.read(_READ_BYTES):
                    yield chunk
                    last = chunk[-1:]
        except OSError as error:
            zh, en = f"无法读取 {path}（{error.strerror}）", f"cannot read {path} ({error.strerror})"
            raise KeyringError(Text(zh, en)) from error
        if last != b"\n":
            yield b"\n"
