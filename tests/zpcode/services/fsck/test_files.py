"""`zpcode fsck` of damaged code files: on disk, or against the batch's own record."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.fsck_setting import CheckedService
from tests.support.issuing_setting import KeyHouse
from tests.support.registry_data import gtin
from tests.support.status_setting import OPERATOR
from tests.support.strange_files import LINK, STRANGE, put
from zpcode.services.batches import reserve, retention
from zpcode.services.batches.archive import KeyArchive


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
    "aside": (lambda world: world.file(world.lot).with_name(f"{world.file(world.lot).name}.damaged-1").touch(), "code-files", "aside"),
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


def _archived(world: CheckedService, house: KeyHouse) -> str:
    """Keep the signatures of the item batch's key; the key."""
    key_id = reserve.get(world.engine, world.item, OPERATOR).key_id
    with house.client() as signer:
        report = KeyArchive(world.engine, signer, world.context.exports, OPERATOR.name, world.context.now).archive(
            key_id
        )
    assert report.complete
    return key_id


def test_a_removed_file_is_no_finding_as_long_as_it_can_be_written_again(
    world: CheckedService, house: KeyHouse
) -> None:
    """Neither without kept signatures, while the key may sign, nor with them afterwards."""
    folder, later = world.context.exports, world.context.now + timedelta(days=2)
    with house.client() as signer:
        assert retention.remove_files(world.engine, signer, folder, 1, later) == 4
    assert {name: world.reasons(name) for name in ("code-files", "code-contents", "kept-signatures")} == {
        "code-files": {}, "code-contents": {}, "kept-signatures": {},
    }  # fmt: skip
    much_later = world.context.now + timedelta(days=400)  # the key has ended
    lost = world.of("kept-signatures", now=much_later)
    assert {finding.reason for finding in lost.findings} == {"lost"}
    assert {finding.where for finding in lost.findings} == {
        f"batch:{n}" for n in (world.item, world.lot, world.product)
    }
    world.file(world.lot).touch()
    assert world.reasons("code-files") == {"left": 1}
    _archived(world, house)
    assert not world.of("kept-signatures", now=much_later).findings


def test_what_is_wrong_with_kept_signatures_is_found(world: CheckedService, house: KeyHouse) -> None:
    """Altered, exchanged, lost or readable by others."""
    _archived(world, house)
    assert world.check(deep=True).whole
    folder = world.context.exports
    item, lot, product = (
        folder.signatures(reserve.get(world.engine, number, OPERATOR))
        for number in (world.item, world.lot, world.product)
    )
    _flip(item, -1)
    assert world.reasons("kept-signatures") == {"damaged": 1}
    lot.chmod(0o644)
    assert world.reasons("kept-signatures") == {"damaged": 1, "mode": 1}
    item.write_bytes(product.read_bytes())
    assert world.reasons("kept-signatures") == {"foreign": 1, "mode": 1}
    item.unlink()
    assert world.reasons("kept-signatures") == {"missing": 1, "mode": 1}
    world.sql("UPDATE batch SET signatures_sha256 = repeat('0', 64) WHERE number = :product")
    assert world.reasons("kept-signatures") == {"missing": 1, "mode": 1, "digest": 1}
    (folder.path / "batch-999.signatures").touch(mode=0o600)
    assert world.reasons("code-files") == {"stray": 1}


def test_what_is_no_file_in_the_place_of_one_is_found(world: CheckedService) -> None:
    for kind in STRANGE | LINK:
        put(kind, world.file(world.item))
        assert world.reasons("code-files") == {"foreign": 1}, kind
        assert world.reasons("code-contents") == {}, kind


def test_what_is_wrong_with_a_file_is_found(world: CheckedService) -> None:
    """On disk, or compared with the batch's record; each damage adds its own finding."""
    for damage, (act, name, reason) in FILE_DAMAGES.items():
        before = world.reasons(name)
        act(world)
        assert world.reasons(name)[reason] > before[reason], damage
