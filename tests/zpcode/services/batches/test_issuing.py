"""Issuing with a real PostgreSQL and a real signer: the contents of the file and of the database."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, select

from keys.keyring import SealVerdict
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import house, issue_at_once, registered
from tests.support.issuing_setting import BASE, GTIN, MAKER, NOW, OPERATOR, OTHER, KeyHouse
from zpcode.errors import Conflict, Forbidden, NotFound, SignerUnavailable, Unavailable
from zpcode.exports.csv import COLUMNS
from zpcode.exports.formats import file_name
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.services.batches import code_file, reserve
from zpcode.services.batches.issue import issue
from zpcode.services.batches.rewrite import reissue
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.store.tables.access import audit
from zpcode.wire.card import BatchCard, LotCard, Standing, Timeline, batch_key, lot_key
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Level, check_matches
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import State

__all__ = ["house", "registered"]


def _rows(directory: Path, batch: Batch) -> list[dict[str, str]]:
    text = content(code_folder(directory), batch).decode("ascii")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _card(engine: Engine, number: int) -> BatchCard:
    with transaction(engine) as connection:
        return msgspec.msgpack.decode(cards.fetch(connection, [batch_key(number)])[0].body, type=BatchCard)


def test_every_row_of_an_item_batch_is_a_valid_code_of_its_own(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """Sealed, in the batch, each index once, across more than one chunk."""
    number = setting.reserved(engine, quantity=code_file.CHUNK + 1000, lot="L7", expiry_date=date(2027, 1, 1))
    batch = issue_at_once(engine, house, number, tmp_path)
    rows, keyring = _rows(tmp_path, batch), house.keyring
    permutation = Permutation(batch.permutation_key)
    indices = []
    for row in rows:
        code = parse(path_of(row["url"]))
        assert code.identity.serial is not None
        indices.append(permutation.index(code.identity.serial.slot))
        assert row["serial"] == code.identity.serial.text
        assert code.identity.serial.batch == number
    assert indices == list(range(batch.quantity))
    assert all(keyring.verify(parse(path_of(row["url"]))) is SealVerdict.VALID for row in rows[:: len(rows) // 50])
    assert keyring.verify(parse(path_of(rows[-1]["url"]))) is SealVerdict.VALID
    assert {(row["gtin"], row["lot"], row["production_date"], row["expiry_date"]) for row in rows} == {
        (GTIN, "L7", "", "2027-01-01")
    }


def test_the_file_is_rfc_4180_in_ascii_with_rows_of_one_width(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """CRLF, a header row, no byte order mark, and nothing a spreadsheet takes for a formula."""
    batch = issue_at_once(engine, house, setting.reserved(engine, lot="A.-1"), tmp_path)
    data = content(code_folder(tmp_path), batch)
    lines = data.split(b"\r\n")
    assert lines[0].decode("ascii") == ",".join(COLUMNS)
    assert lines[-1] == b""
    assert {len(line) for line in lines[1:-1]} == {len(lines[1])}
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b'"' not in data
    for row in csv.reader(io.StringIO(data.decode("ascii"), newline="")):
        assert not [cell for cell in row if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}]
    assert hashlib.sha256(data).hexdigest() == batch.sha256
    assert len(data) == batch.bytes
    assert (tmp_path / file_name(batch)).stat().st_mode & 0o077 == 0


def test_a_compact_batch_needs_no_signer(engine: Engine, tmp_path: Path, house: KeyHouse) -> None:
    """Its proof is the check made with the batch's key."""
    number = setting.reserved(engine, level=Level.COMPACT)
    batch = issue(
        engine, setting.KeyHouse(house.room, tmp_path).client(), number, folder=code_folder(tmp_path), clock=lambda: NOW
    )
    codes = [parse(path_of(row["url"])) for row in _rows(tmp_path, batch)]
    assert len({code.identity.serial for code in codes}) == batch.quantity
    assert all(code.seal is None and check_matches(batch.check_key, code.identity) for code in codes)
    assert batch.key_id == ""


@pytest.mark.parametrize(("level", "lot"), [(Level.PRODUCT, ""), (Level.LOT, "L2026")])
def test_a_product_or_lot_batch_has_one_code_for_all_its_labels(
    engine: Engine, house: KeyHouse, tmp_path: Path, level: Level, lot: str
) -> None:
    """The quantity is the number of printed labels."""
    batch = issue_at_once(engine, house, setting.reserved(engine, level=level, lot=lot, quantity=5000), tmp_path)
    (row,) = _rows(tmp_path, batch)
    code = parse(path_of(row["url"]))
    assert code.identity.level is level
    assert house.keyring.verify(code) is SealVerdict.VALID
    assert row["lot"] == lot
    assert row["serial"] == ""
    assert row["url"].startswith(BASE + "/")


def test_issuing_is_noted_and_the_card_becomes_active(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """A reserved batch has an inactive card; an issued batch has hash, size, key, time and an active card."""
    number = setting.reserved(engine)
    assert _card(engine, number).activated_at == 0
    batch = issue_at_once(engine, house, number, tmp_path)
    stored = reserve.get(engine, number, MAKER)
    assert stored == batch
    assert stored.state is BatchState.ISSUED
    assert stored.key_id == house.client().active_key()
    assert _card(engine, number).activated_at == int(NOW.timestamp())
    assert _card(engine, number).key_id == stored.key_id
    with transaction(engine) as connection:
        actions = [row.action for row in connection.execute(select(audit).order_by(audit.c.id))]
    assert actions == ["batch.reserve", "batch.begin", "batch.issue"]


def test_issuing_again_changes_nothing(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """An issued batch is returned as it is."""
    number = setting.reserved(engine)
    first = issue_at_once(engine, house, number, tmp_path)
    before = (tmp_path / file_name(first)).stat().st_mtime_ns
    assert issue_at_once(engine, house, number, tmp_path) == first
    assert (tmp_path / file_name(first)).stat().st_mtime_ns == before


def test_a_batch_activated_by_hand_waits_for_it(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """Only after it is issued, once, by its enterprise."""
    number = setting.reserved(engine, activation=Activation.MANUAL)
    with pytest.raises(Conflict):
        reserve.activate(engine, number, MAKER, NOW)
    assert issue_at_once(engine, house, number, tmp_path).activated_at is None
    assert _card(engine, number).activated_at == 0
    with pytest.raises(NotFound):
        reserve.activate(engine, number, OTHER, NOW)
    with pytest.raises(Forbidden):
        reserve.activate(engine, number, Caller(Role.REGULATOR, "330000", "r"), NOW)
    assert reserve.activate(engine, number, MAKER, NOW).activated_at == NOW
    assert reserve.activate(engine, number, MAKER, NOW.replace(hour=9)).activated_at == NOW
    assert _card(engine, number).activated_at == int(NOW.timestamp())


def test_a_decision_made_before_the_file_was_complete_stays(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """Issuing changes only key and activation on the card."""
    number = setting.reserved(engine)
    timeline = Timeline((Standing(State.SUSPENDED, 1),))
    with transaction(engine) as connection:
        card = msgspec.structs.replace(_card(engine, number), timeline=timeline, exceptions=True)
        cards.put_cards(connection, {batch_key(number): msgspec.msgpack.encode(card)})
    issue_at_once(engine, house, number, tmp_path)
    assert _card(engine, number).timeline == timeline
    assert _card(engine, number).exceptions
    assert _card(engine, number).activated_at == int(NOW.timestamp())


def test_a_lot_is_active_from_its_first_batch_on(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """A lot in circulation stays active while more labels are issued for it."""

    def card() -> LotCard:
        with transaction(engine) as connection:
            body = cards.fetch(connection, [lot_key(GTIN, "L1")])[0].body
        return msgspec.msgpack.decode(body, type=LotCard)

    first = setting.reserved(engine, level=Level.LOT, lot="L1", expiry_date=date(2027, 1, 1))
    assert card() == LotCard(GTIN, "L1", "", "2027-01-01", 0)
    issue_at_once(engine, house, first, tmp_path)
    assert card().activated_at == int(NOW.timestamp())
    setting.reserved(
        engine, "more", level=Level.LOT, lot="L1", expiry_date=date(2027, 1, 1), activation=Activation.MANUAL
    )
    assert card().activated_at == int(NOW.timestamp())


def test_without_a_signer_the_batch_waits_and_says_so(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """The batch is issued as soon as the signer answers, and its problem is cleared."""
    number = setting.reserved(engine)
    absent = setting.KeyHouse(house.room, tmp_path / "nobody").client()
    with pytest.raises(SignerUnavailable):
        issue(engine, absent, number, folder=code_folder(tmp_path), clock=lambda: NOW)
    waiting = reserve.get(engine, number, MAKER)
    assert waiting.state is BatchState.RESERVED
    assert waiting.problem is not None
    assert waiting.problem.zh
    assert issue_at_once(engine, house, number, tmp_path).problem is None
    assert reserve.get(engine, number, MAKER).problem is None


def test_a_disk_too_small_is_said_before_the_first_byte(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """1 000 000 000 codes need about 230 GB; the refusal names both sizes."""
    number = setting.reserved(engine, quantity=10**9)
    with pytest.raises(Unavailable, match=r"GB needed"):
        issue_at_once(engine, house, number, tmp_path)
    assert reserve.get(engine, number, MAKER).problem is not None


def test_only_one_process_issues_a_batch(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """The second process is refused, the first goes on."""
    number = setting.reserved(engine, quantity=3 * code_file.CHUNK)
    reasons: list[str] = []

    def second(_: int) -> None:
        with pytest.raises(Conflict) as refusal:
            issue_at_once(engine, house, number, tmp_path)
        reasons.append(refusal.value.findings[0].reason)

    batch = issue(engine, house.client(), number, folder=code_folder(tmp_path), clock=lambda: NOW, progress=second)
    assert set(reasons) == {"being_issued"}
    assert batch.state is BatchState.ISSUED


def test_a_damaged_or_lost_file_is_written_again_byte_for_byte(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """No code is stored, but the file can be written again as long as the key can sign."""
    number = setting.reserved(engine, quantity=2 * code_file.CHUNK + 5)
    batch, folder = issue_at_once(engine, house, number, tmp_path), code_folder(tmp_path)
    path, original = folder.finished(batch), content(folder, batch)
    path.unlink()
    reissue(engine, house.client(), number, folder=folder, clock=lambda: NOW)
    assert content(folder, batch) == original
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert reissue(engine, house.client(), number, folder=folder, clock=lambda: NOW) == path
    assert content(folder, batch) == original


def test_a_batch_is_seen_only_by_those_whom_it_concerns(engine: Engine) -> None:
    """Its enterprise, the regulators of its region and the operator see it; for others it does not exist."""
    setting.register(engine, setting.product_card(setting.OTHER_GTIN, setting.OTHER_USCC, "330203"))
    mine = setting.reserved(engine)
    theirs = setting.reserved(engine, "k", OTHER, gtin=setting.OTHER_GTIN)
    hangzhou, province = Caller(Role.REGULATOR, "330100", "r"), Caller(Role.REGULATOR, "330000", "r")
    assert [batch.number for batch in reserve.listing(engine, MAKER)] == [mine]
    assert [batch.number for batch in reserve.listing(engine, OTHER)] == [theirs]
    assert [batch.number for batch in reserve.listing(engine, hangzhou)] == [mine]
    assert [batch.number for batch in reserve.listing(engine, province)] == [theirs, mine]
    assert [batch.number for batch in reserve.listing(engine, OPERATOR, after=theirs)] == [mine]
    assert [batch.number for batch in reserve.listing(engine, OPERATOR, limit=1)] == [theirs]
    for caller in (OTHER, Caller(Role.REGULATOR, "330200", "r")):
        with pytest.raises(NotFound) as hidden:
            reserve.get(engine, mine, caller)
        with pytest.raises(NotFound) as absent:
            reserve.get(engine, 10**6, caller)
        assert str(hidden.value).replace(str(mine), "#") == str(absent.value).replace("1000000", "#")


def test_secret_keys_are_not_in_a_batchs_text(engine: Engine) -> None:
    """A batch that is logged by mistake shows no key."""
    batch = reserve.get(engine, setting.reserved(engine), MAKER)
    shown = repr(replace(batch, permutation_key=b"SECRET-SLOT-KEY.", check_key=b"SECRET-CHECK-KEY"))
    assert "SECRET" not in shown
