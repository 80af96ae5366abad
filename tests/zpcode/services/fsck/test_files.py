"""`zpcode fsck` of damaged code files: on disk, or against the batch's own record."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import gtin


def _swap_rows(world: CheckedService) -> None:
    """Exchange two codes: the same codes, the same size."""
    path = world.file(world.compact)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[3], rows[4] = rows[4], rows[3]
    path.write_bytes(b"".join(rows))


def _twice(world: CheckedService) -> None:
    path = world.file(world.compact)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[7] = rows[8]
    path.write_bytes(b"".join(rows))


def _bend_seal(world: CheckedService) -> None:
    path = world.file(world.item)
    content = bytearray(path.read_bytes())
    at = content.index(b"/01/") - 60
    content[at] = ord("A") if content[at] != ord("A") else ord("B")
    path.write_bytes(bytes(content))


def _of_another(world: CheckedService) -> None:
    """Put another product into the URL of the product code's file."""
    path = world.file(world.product)
    path.write_bytes(path.read_bytes().replace(f"/{gtin(1)},".encode(), f"/{gtin(2)},".encode()))


def _bend_column(world: CheckedService) -> None:
    """Put another product into the second column of the lot code's file."""
    path = world.file(world.lot)
    path.write_bytes(path.read_bytes().replace(f",{gtin(1)},".encode(), f",{gtin(2)},".encode()))


def _bend_header(world: CheckedService) -> None:
    """Change the first letter of the header; each call gives another letter than the last."""
    path = world.file(world.lot)
    rest = path.read_bytes()
    path.write_bytes(bytes([rest[0] ^ 1]) + rest[1:])


def _bend_again(world: CheckedService) -> None:
    path = world.file(world.compact)
    path.write_bytes(b"U" + path.read_bytes()[1:])


def _rubbish(world: CheckedService) -> None:
    path = world.file(world.lot)
    head, row = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + b"%" * (len(row) - 2) + b"\r\n")


FILE_DAMAGES: dict[str, tuple[Callable[[CheckedService], Any], str, str]] = {
    "open to others": (lambda world: world.file(world.lot).chmod(0o644), "code-files", "mode"),
    "too many": (lambda world: world.file(999).write_text("url"), "code-files", "stray"),
    "swapped": (_swap_rows, "code-contents", "index"),
    "twice": (_twice, "code-contents", "index"),
    "forged": (_bend_seal, "code-contents", "seal"),
    "altered": (_bend_header, "code-files", "digest"),
    "with another header": (_bend_again, "code-contents", "header"),
    "with another column": (_bend_column, "code-contents", "row"),
    "of another": (_of_another, "code-contents", "another"),
    "another permutation": (
        lambda world: world.sql("UPDATE batch SET permutation_key = decode(repeat('ab', 16), 'hex') WHERE number = :item"),
        "code-contents",
        "index",
    ),
    "rubbish": (_rubbish, "code-contents", "unreadable"),
    "a key nobody knows": (
        lambda world: world.sql("UPDATE batch SET key_id = 'AAAA' WHERE number = :item"), "code-contents", "unknown-key",
    ),
    "another compact key": (
        lambda world: world.sql("UPDATE batch SET check_key = decode(repeat('ab', 16), 'hex') WHERE number = :compact"),
        "code-contents",
        "check",
    ),
    "short": (lambda world: os.truncate(world.file(world.item), 500), "code-files", "size"),
    "missing": (lambda world: world.file(world.item).unlink(), "code-files", "missing"),
}  # fmt: skip


def test_what_is_wrong_with_a_file_is_found(world: CheckedService) -> None:
    """On disk, or compared with the batch's record; each damage adds its own finding."""
    for damage, (act, name, reason) in FILE_DAMAGES.items():
        before = world.reasons(name)
        act(world)
        assert world.reasons(name)[reason] > before[reason], damage
