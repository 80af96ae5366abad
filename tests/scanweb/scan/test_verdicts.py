"""Every verdict, in both languages and as JSON, through the whole path on real servers."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import keyroom
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Scope, State


@pytest.mark.parametrize("identity", [Identity(GTIN), Identity(GTIN, lot="L2026"), make.item_identity()])
def test_a_sealed_code_in_good_standing_is_verified(
    service: ScanService, registry: ScanAuthority, identity: Identity
) -> None:
    body = service.json(registry.sealed(identity))
    assert (body["verdict"], body["tone"], body["proof"], body["level"]) == (
        "verified",
        "good",
        "sealed",
        identity.level,
    )


def test_a_compact_code_is_verified_online_only_and_says_so(service: ScanService) -> None:
    body = service.json(make.compact_identity().path)
    assert (body["verdict"], body["proof"]) == ("verified", "online")
    assert "online only" in body["meaning"]
    assert "联网" in service.json(make.compact_identity().path, language="zh-CN")["meaning"]


def test_codes_are_read_without_regard_to_case(service: ScanService, registry: ScanAuthority) -> None:
    assert service.verdict(registry.item().lower()) == "verified"


CASES = [
    (State.FLAGGED, "flagged", "caution"),
    (State.SUSPENDED, "suspended", "bad"),
    (State.RECALLED, "recalled", "bad"),
    (State.REVOKED, "revoked", "bad"),
    (State.ENDED, "recognition_ended", "caution"),
]
TARGETS = {
    Scope.PRODUCT: GTIN,
    Scope.RECOGNITION: "PZB-2025-0101",
    Scope.CERTIFICATE: "ZM-0001",
    Scope.STANDARD: "T/ZZB 0664-2018",
    Scope.ENTERPRISE: "91331181MA2E4K7R0X",
    Scope.LOT: f"{GTIN}:L2026",
}


@pytest.mark.parametrize(("state", "verdict", "tone"), CASES)
@pytest.mark.parametrize("scope", TARGETS)
def test_a_decision_about_the_registry_reaches_the_item(
    service: ScanService, registry: ScanAuthority, scope: Scope, state: State, verdict: str, tone: str
) -> None:
    assert service.verdict(registry.item()) == "verified"
    registry.put({make.s(scope, TARGETS[scope]): make.standing(state)})
    body = service.json(registry.item())
    assert (body["verdict"], body["tone"]) == (verdict, tone)
    assert body["decision"]["scope"] == scope
    assert body["decision"]["state"] == state
    assert body["decision"]["notice"] == "浙市监公告2026-8"
    assert body["decision"]["text"] == "a sample bought on the market failed the test"
    assert body["decision"]["authority"]["zh"] == "杭州市市场监督管理局"


@pytest.mark.parametrize(("state", "verdict", "tone"), CASES)
def test_a_decision_about_one_item_leaves_its_neighbour_alone(
    service: ScanService, registry: ScanAuthority, state: State, verdict: str, tone: str
) -> None:
    registry.put({card.item_key(7, 3): make.standing(state), card.batch_key(7): make.batch(exceptions=True)})
    body = service.json(registry.item(3))
    assert (body["verdict"], body["decision"]["scope"]) == (verdict, "code")
    assert body["tone"] == tone
    assert service.verdict(registry.item(4)) == "verified"


def test_the_first_decision_about_an_item_of_a_batch_shows_with_the_very_next_scan(
    service: ScanService, registry: ScanAuthority
) -> None:
    """Until then no item of this batch had a timeline, so that no scan read one."""
    assert service.verdict(registry.item(1)) == "verified"
    registry.put({card.item_key(7, 0): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    assert service.verdict(registry.item(0)) == "revoked"


def test_a_decision_about_a_range_reaches_both_its_ends_and_nothing_beyond(
    service: ScanService, registry: ScanAuthority
) -> None:
    ranges = (make.ranged(10, 20, State.RECALLED),)
    registry.put({card.batch_key(7): make.batch(ranges=ranges)})
    verdicts = {index: service.verdict(registry.item(index)) for index in (9, 10, 20, 21)}
    assert verdicts == {9: "verified", 10: "recalled", 20: "recalled", 21: "verified"}


def test_a_batch_that_is_not_in_use_is_not_activated(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({card.batch_key(7): make.batch(activated_at=0)})
    assert service.verdict(registry.item()) == "not_activated"


def test_goods_past_their_date_are_expired_and_the_date_is_named(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({card.batch_key(7): make.batch(expiry_date="2026-01-05")})
    assert "5 January 2026" in service.json(registry.item())["meaning"]
    assert service.verdict(registry.item()) == "expired"


@pytest.mark.parametrize(
    ("old_stock", "verdict"), [("valid", "verified"), ("warned", "recognition_ended"), ("revoked", "revoked")]
)
def test_goods_from_before_the_recognition_ended_follow_the_old_stock_policy(
    service: ScanService, registry: ScanAuthority, old_stock: str, verdict: str
) -> None:
    ended = card.RecognitionInfo("PZB-1", "certification", make.day(-800), make.day(-1), old_stock=old_stock)
    registry.put({card.product_key(GTIN): make.product(recognition=ended)})
    body = service.json(registry.item())
    assert body["verdict"] == verdict
    assert "ended" in body["meaning"] or "no brand recognition in force" in body["meaning"]


def test_a_key_revoked_in_the_keyring_turns_every_code_under_it(
    addresses: ServerAddresses, engine: Engine, redis: Redis, tmp_path: Path
) -> None:
    room, key_id = make.room_in(tmp_path)
    registry = ScanAuthority(engine, redis, room, key_id)
    registry.everything()
    with ScanService(make.settings(addresses, room)) as service:
        paths = [registry.item(), registry.sealed(Identity(GTIN)), registry.sealed(Identity(GTIN, lot="L2026"))]
        assert {service.verdict(path) for path in paths} == {"verified"}
        keyroom.revoke(room, key_id, datetime.now(UTC))
        eventually(lambda: {service.verdict(path) for path in paths} == {"key_revoked"}, seconds=5)


def test_a_key_revoked_by_a_decision_turns_every_code_under_it(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({make.s(Scope.KEY, registry.key_id): make.standing(State.REVOKED, reason="key-compromised")})
    assert service.verdict(registry.item()) == "key_revoked"
    assert service.verdict(make.compact_identity().path) == "verified", "a compact code has no key"


def test_a_suspended_key_suspends_what_it_signed(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({make.s(Scope.KEY, registry.key_id): make.standing(State.SUSPENDED)})
    assert service.verdict(registry.sealed(Identity(GTIN))) == "suspended"


def test_a_decision_of_tomorrow_does_not_speak_today(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED, since=86400)})
    assert service.verdict(registry.item()) == "verified"


@pytest.mark.parametrize(
    "identity", [Identity(GTIN), Identity(GTIN, lot="L2026"), Identity(GTIN, lot="NOBODY-KNOWS"), make.item_identity()]
)
def test_a_code_without_its_seal_is_shown_and_never_verified(service: ScanService, identity: Identity) -> None:
    body = service.json(identity.path)
    assert (body["verdict"], body["proof"]) == ("seal_missing", "missing")
    assert body["product"]["gtin"] == GTIN


def test_a_withdrawn_product_says_so_even_on_a_code_without_seal(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)})
    assert service.verdict(Identity(GTIN).path) == "revoked"


def _not_ours(registry: ScanAuthority) -> dict[str, tuple[str, int]]:
    good = registry.item()
    forged = "/" + good[1:40] + ("A" if good[40] != "A" else "B") + good[41:]
    return {
        "malformed": ("/01/123", 400),
        "no code at all": ("/index.php", 400),
        "encoded slash": ("/01/" + GTIN + "/21/A%2FB", 400),
        "forged": (forged, 404),
        "another key's": ("/QQQQ" + good[5:], 404),
        "sealed, but of an unknown batch": (registry.item(0, 99), 404),
        "sealed, but beyond the batch": (registry.item(1000), 404),
        "unknown product": (Identity("09501101530010").path, 404),
        "unknown serial": (make.item_identity(0, 99).path, 404),
        "serial beyond the batch": (make.item_identity(1000).path, 404),
        "wrong compact check": (make.compact_identity(wrong=True).path, 404),
        "compact of an item batch": (make.compact_identity(0, 7).path, 404),
    }


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_foreign_code_is_answered_by_the_same_bytes(
    service: ScanService, registry: ScanAuthority, accept: str, language: str
) -> None:
    bodies = set()
    for cause, (path, status) in _not_ours(registry).items():
        response = service.get(path, accept=accept, language=language)
        assert response.status_code == status, cause
        bodies.add(response.content)
    for typed in ("0000", "ABCDEFGHJKMN", "zzzz zzzz zzzz", "/01/123", make.compact_identity(wrong=True).path[21:]):
        bodies.add(service.get("/q?code=" + typed, accept=accept, language=language).content)
    assert len(bodies) == 1


def test_an_unknown_serial_never_walks_up_to_its_product(service: ScanService, registry: ScanAuthority) -> None:
    for path in (make.item_identity(0, 99).path, make.item_identity(5000).path, registry.item(5000)):
        assert "Longquan" not in service.get(path).text


def test_a_refused_answer_waits_for_the_floor(addresses: ServerAddresses, registry: ScanAuthority) -> None:
    with ScanService(make.settings(addresses, registry.room, refusal_floor_ms=300)) as service:
        before = service.app.scan._clock()
        service.get("/01/123")
        assert service.app.scan._clock() - before >= 0.3


def test_a_typed_serial_gives_product_and_history_and_is_never_verified(
    service: ScanService, registry: ScanAuthority
) -> None:
    service.get(registry.item(5))
    serial = make.item_identity(5).path[-12:]
    typed = f"{serial[:4]}-{serial[4:8]}-{serial[8:]}".lower()
    body = service.json("/q?code=" + typed)
    assert (body["verdict"], body["product"]["gtin"], body["history"]["scans"]) == ("seal_missing", GTIN, 1)
    assert service.json("/q?code=" + typed)["history"]["scans"] == 1, "typing a serial is not a scan"


def test_a_typed_compact_serial_is_not_verified_even_if_its_check_is_right(service: ScanService) -> None:
    assert service.verdict("/q?code=" + make.compact_identity().path[-20:]) == "seal_missing"


@pytest.mark.parametrize("typed", [GTIN, GTIN[1:], "9501101530003 "])
def test_a_typed_bar_code_number_gives_the_product(service: ScanService, typed: str) -> None:
    assert service.verdict("/q?code=" + typed) == "seal_missing"


def test_a_pasted_link_leads_to_the_scan_on_this_host_only(service: ScanService, registry: ScanAuthority) -> None:
    response = service.get("/q?code=https://evil.example" + registry.item())
    assert response.status_code == 303
    assert response.headers["location"] == registry.item() + "?lang=en"


def test_a_corrected_product_is_seen_at_the_very_next_scan(service: ScanService, registry: ScanAuthority) -> None:
    service.get(registry.item())
    registry.put({card.product_key(GTIN): make.product(model="QX-9")})
    assert service.json(registry.item())["product"]["model"] == "QX-9"
