"""The signer's own log: one JSON line for each request, written before a signature is returned.

It records what was signed, without signatures and secrets. If the authority is compromised, the log shows which codes the
signer has really signed. Entries of several processes do not mix: each is one write to a file opened for appending.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path

from keys.files import check_secret, make_folder
from keys.messages import refusal
from keys.protocol import Items, SignLotCode, SignProductCode
from zpcode.errors import KeyringError, SignerError, Text

_SLOT_BYTES = 8


def entry(
    request: SignProductCode | SignLotCode | Items, messages: list[bytes], now: datetime, uid: int
) -> dict[str, str | int]:
    """The log entry of one request. `sha256` is the hash of the signed bytes of all its codes, one after the other."""
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


class SigningLog:
    """The log file, mode 0600. If it is moved away (log rotation), a new one is made.

    Raises KeyringError if the file cannot be opened or others can read it. A written entry survives the end of the process; it
    is not forced to disk for each request, so a power cut may lose the last ones.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._open()

    def _open(self) -> int:
        make_folder(self._path.parent)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            zh, en = f"无法打开签名日志 {self._path}", f"cannot open the signing log {self._path}"
            raise KeyringError(Text(f"{zh}({error.strerror})", f"{en} ({error.strerror})")) from error
        try:
            check_secret(self._path, os.fstat(descriptor))
        except KeyringError:
            os.close(descriptor)
            raise
        return descriptor

    def _follow(self) -> None:
        opened = os.fstat(self._descriptor)
        try:
            current = self._path.stat()
        except FileNotFoundError:
            current = None
        if current is None or (current.st_dev, current.st_ino) != (opened.st_dev, opened.st_ino):
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor = fresh

    def append(self, fields: dict[str, str | int]) -> None:
        """Write one entry. Raises SignerError if it is not completely written: then nothing may be signed."""
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
        try:
            self._follow()
            written = os.write(self._descriptor, line)
        except (OSError, KeyringError) as error:
            raise self._unwritten() from error
        if written != len(line):
            raise self._unwritten()

    def _unwritten(self) -> SignerError:
        return refusal("无法写入签名日志，因此拒绝签名", "it cannot write its log, so it signs nothing")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
