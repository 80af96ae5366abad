"""`zpcode fsck` of damaged code files: on disk, or against the batch's own record."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import gtin


def _swap_rows(content: bytes) -> bytes:
    """Exchange two codes: the same codes, the same size."""
    rows = content.splitlines(keepends=True)
    rows[3], rows[4] = rows[4], rows[3]
    return b"".join(rows)


def _twice(content: bytes) -> bytes:
    rows = content.splitlines(keepends=True)
    rows[7] = rows[8]
    return b"".join(rows)


def _bend_seal(content: bytes) -> bytes:
    at = content.index(b"/01/") - 60
    return content[:at] + (b"B" if content[at] == ord("A") else b"A") + content[at + 1 :]


def _bend_check(content: bytes) -> bytes:
    """Change the last character of the first code's check."""
    at = content.index(b",", content.index(b"\n")) - 1
    return content[:at] + (b"3" if content[at] == ord("2") else b"2") + content[at + 1 :]


def _rubbish(content: bytes) -> bytes:
    head, row = content.splitlines(keepends=True)
    return head + b"%" * (len(row) - 2) + b"\r\n"


def _flip(path: Path, at: int) -> None:
    """Change one bit on disk."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def _content(batch: str, change: Callable[[bytes], bytes]) -> Callable[[CheckedService], None]:
    return lambda world: world.change_content(getattr(world, batch), change)


FILE_DAMAGES: dict[str, tuple[Callable[[CheckedService], Any], str, str]] = {
    "open to others": (lambda world: world.file(world.lot).chmod(0o644), "code-files", "mode"),
    "too many": (lambda world: world.file(999).write_text("url"), "code-files", "stray"),
    "swapped": (_content("compact", _swap_rows), "code-contents", "index"),
    "twice": (_content("compact", _twice), "code-contents", "index"),
    "forged": (_content("item", _bend_seal), "code-contents", "seal"),
    "a wrong check": (_content("compact", _bend_check), "code-contents", "check"),
    "altered": (_content("lot", lambda content: b"X" + content[1:]), "code-files", "digest"),
    "with another header": (_content("compact", lambda content: b"U" + content[1:]), "code-contents", "header"),
    "with another column": (_content("lot", lambda content: content.replace(f",{gtin(1)},".encode(), f",{gtin(2)},".encode())), "code-contents", "row"),
    "of another": (_content("product", lambda content: content.replace(f"/{gtin(1)},".encode(), f"/{gtin(2)},".encode())), "code-contents", "another"),
    "another permutation": (
        lambda world: world.sql("UPDATE batch SET permutation_key = decode(repeat('ab', 16), 'hex') WHERE number = :item"),
        "code-files",
        "foreign",
    ),
    "rubbish": (_content("lot", _rubbish), "code-contents", "unreadable"),
    "altered on disk": (lambda world: _flip(world.file(world.lot), -1), "code-files", "damaged"),
    "with another salt": (lambda world: _flip(world.file(world.product), 60), "code-files", "damaged"),
    "a key nobody knows": (
        lambda world: world.sql("UPDATE batch SET key_id = 'AAAA' WHERE number = :item"), "code-contents", "unknown-key",
    ),
    "another compact key": (
        lambda world: world.sql("UPDATE batch SET check_key = decode(repeat('ab', 16), 'hex') WHERE number = :compact"),
        "code-files",
        "foreign",
    ),
    "not encrypted": (lambda world: world.file(world.lot).write_bytes(b"%" * world.file(world.lot).stat().st_size), "code-files", "foreign"),
    "short": (lambda world: os.truncate(world.file(world.item), 500), "code-files", "size"),
    "missing": (lambda world: world.file(world.item).unlink(), "code-files", "missing"),
}  # fmt: skip


def test_what_is_wrong_with_a_file_is_found(world: CheckedService) -> None:
    """On disk, or compared with the batch's record; each damage adds its own finding."""
    for damage, (act, name, reason) in FILE_DAMAGES.items():
        before = world.reasons(name)
        act(world)
        assert world.reasons(name)[reason] > before[reason], damage
