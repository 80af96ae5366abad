"""The signer's own log, read in pages over its socket: all of it, whole lines, and no line of another file."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from keys.log.reader import LONGEST_LINE, LogReading, chunks_of
from keys.log.writer import SigningLog
from keys.protocol import LOG_PAGE, ReadLog
from tests.support.keyroom import GTIN, RunningSigner
from zpcode.errors import KeyringError, SignerError, SignerUnavailable

HASH = bytes(range(32))


@pytest.fixture
def signer() -> Iterator[RunningSigner]:
    """A signer of two processes with an empty log."""
    with RunningSigner() as running:
        yield running


def filled(signer: RunningSigner, pages: int) -> int:
    """Let the log grow to more than so many pages, as the signer writes it; returns the number of its lines."""
    log = SigningLog(signer.log)
    line = {"kind": "items", "batch": 1, "gtin": GTIN, "count": 3, "sha256": "0" * 64}
    lines = 0
    while signer.log.stat().st_size <= pages * LOG_PAGE:
        with log.writing() as file:
            for _ in range(1000):
                file.write(line)
                lines += 1
    log.close()
    return lines


def test_what_was_signed_and_countersigned_is_read_as_it_was_asked_for(signer: RunningSigner) -> None:
    client = signer.client
    assert list(client.read_log()) == []
    client.sign_product(signer.key_id, GTIN)
    client.sign_lot(signer.key_id, GTIN, "L1")
    client.sign_items(signer.key_id, GTIN, 9, np.array([7, 8], np.uint64))
    head = client.countersign(4, HASH)
    reading = client.read_log()
    lines = list(reading)
    assert [(one.kind, one.key, one.gtin, one.lot, one.batch, one.count) for one in lines[:3]] == [
        ("product", signer.key_id, GTIN, "", 0, 1),
        ("lot", signer.key_id, GTIN, "L1", 0, 1),
        ("items", signer.key_id, GTIN, "", 9, 2),
    ]
    assert (lines[3].kind, lines[3].head) == ("audit-head", head)
    assert (reading.chain.fault, reading.chain.lines, reading.continues) == (None, 4, False)
    assert (reading.chain.tail.batch, reading.chain.tail.head) == (9, head)


def test_a_log_of_many_pages_is_read_whole(signer: RunningSigner) -> None:
    lines = filled(signer, pages=3)
    reading = signer.client.read_log()
    assert sum(one.count for one in reading) == 3 * lines
    assert (reading.chain.fault, reading.chain.lines) == (None, lines)


def test_a_log_that_grows_while_it_is_read_is_read_up_to_the_end_that_it_had(signer: RunningSigner) -> None:
    lines = filled(signer, pages=1)
    reading = signer.client.read_log()
    signer.client.sign_product(signer.key_id, GTIN)
    assert {one.kind for one in reading} == {"items"}
    assert (reading.chain.fault, reading.chain.lines) == (None, lines)


@pytest.mark.parametrize("how", ["renamed", "emptied", "emptied and grown"])
def test_a_log_that_is_rotated_while_it_is_read_is_not_taken_for_one_log(signer: RunningSigner, how: str) -> None:
    filled(signer, pages=1)
    reading = iter(signer.client.read_log())
    next(reading)
    if how == "renamed":
        signer.log.rename(signer.log.with_name("old"))
    else:
        signer.log.write_bytes(b"")
    if how == "emptied and grown":
        signer.client.sign_product(signer.key_id, GTIN)
        filled(signer, pages=2)
    with pytest.raises(SignerError, match="rotated while it was read; run the command again"):
        list(reading)
    assert signer.client.read_log().check().fault is None


def test_a_rotated_log_is_checked_with_the_files_before_it(signer: RunningSigner) -> None:
    client, old = signer.client, signer.log.with_name("old")
    client.countersign(4, HASH)
    signer.log.rename(old)
    client.countersign(5, HASH)
    reading = client.read_log()
    assert [line.id for line in reading] == [4, 5]
    assert (reading.continues, reading.chain.fault) == (True, None)
    whole = LogReading((*chunks_of([old]), *chunks_of([signer.log])))
    assert [line.kind for line in whole] == ["audit-head", "continued", "audit-head"]
    assert (whole.continues, whole.chain.fault) == (False, None)


@pytest.mark.parametrize("offset", [-1, 1, 1 << 20, 1 << 62, (1 << 64) - 1])
def test_an_offset_where_no_line_begins_is_refused_and_the_signer_goes_on(signer: RunningSigner, offset: int) -> None:
    signer.client.sign_product(signer.key_id, GTIN)
    before = signer.children()
    with pytest.raises(SignerError) as caught:
        signer.client._ask(ReadLog(offset))
    assert not isinstance(caught.value, SignerUnavailable)
    assert signer.children() == before


def test_a_line_that_is_torn_is_left_out_and_counted(signer: RunningSigner) -> None:
    signer.client.sign_product(signer.key_id, GTIN)
    with signer.log.open("ab") as file:
        file.write(b'{"prev":"12')
    assert [line.kind for line in signer.client.read_log()] == ["product"]
    signer.client.sign_product(signer.key_id, GTIN)
    reading = signer.client.read_log()
    assert [line.kind for line in reading] == ["product", "product"]
    assert (reading.chain.fault, reading.chain.lines, reading.chain.torn) == (None, 3, 1)


def test_a_line_that_is_changed_in_the_file_shows(signer: RunningSigner) -> None:
    for _ in range(3):
        signer.client.sign_product(signer.key_id, GTIN)
    signer.log.write_bytes(signer.log.read_bytes().replace(b'"count":1', b'"count":2', 1))
    reading = signer.client.read_log()
    assert len(list(reading)) == 3
    assert str(reading.chain.fault) == "LogFault(line=2, kind='previous')"


def test_files_are_read_in_bounded_memory_and_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 << 20))
    with pytest.raises(KeyringError, match=str(LONGEST_LINE)):
        LogReading(chunks_of([path])).check()
    with pytest.raises(KeyringError, match="cannot read"):
        LogReading(chunks_of([tmp_path / "none"])).check()
