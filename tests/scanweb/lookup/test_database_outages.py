"""Scans while the database is down, or Redis as well: a code that cannot be confirmed is never green."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Scope, State

NOBODY = "postgresql://zpcode_scan:x@/zpcode?host=/nonexistent"
REVOKED = {make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)}


def test_without_the_database_warm_codes_are_answered_as_always(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_database_url=NOBODY)) as service:
        assert service.verdict(registry.item()) == "verified"
        registry.put(REVOKED)
        assert service.verdict(registry.item()) == "revoked"


def test_without_the_database_a_code_redis_does_not_know_cannot_be_confirmed(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_database_url=NOBODY)) as service:
        body = service.json(registry.item(0, 42))
        assert (body["verdict"], body["tone"]) == ("unconfirmed", "neutral")
        assert "seal is valid" in body["meaning"]
        assert service.get(registry.item(0, 42)).status_code == 200


def test_without_both_the_seal_is_checked_and_no_verdict_is_green(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    nowhere = {"scan_database_url": NOBODY, "scan_redis_url": "unix:///nonexistent/valkey.sock"}
    with ScanService(make.settings(addresses, registry.room, **nowhere)) as service:
        good = registry.item()
        assert service.json(good)["tone"] == "neutral"
        assert service.get("/" + good[1:30] + ("A" if good[30] != "A" else "B") + good[31:]).status_code == 404
        assert service.get("/readyz").status_code == 503
        assert service.get("/healthz").status_code == 200


def test_without_both_what_anybody_can_have_made_up_takes_no_room_of_the_scans_that_wait(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    gone = make.settings(addresses, registry.room, scan_database_url=NOBODY, scan_redis_url="unix:///nonexistent.sock")
    with ScanService(gone) as lonely:
        made_up = [make.compact_identity(3, wrong=True), make.item_identity(3), Identity(GTIN)]
        assert [lonely.verdict(code.path) for code in made_up] == ["unconfirmed"] * 3
        assert len(lonely.app.buffer) == 0
        lonely.get(registry.item())
        assert len(lonely.app.buffer) == 1, "a seal is proof enough"


def test_what_is_remembered_is_shown_but_never_green_once_both_are_gone(
    service: ScanService, registry: ScanAuthority
) -> None:
    service.get(registry.item())
    service.do(service.app.database.close())
    service.app.database._engine = None
    service.do(service.app.redis.close())
    service.app.redis._server = None
    service.compare()
    body = service.json(registry.item())
    assert body["verdict"] == "unconfirmed"
    assert body["product"]["gtin"] == GTIN


def test_a_database_that_accepts_and_never_answers_holds_nobody_up(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    with silence() as port:
        url = f"postgresql://zpcode_scan:x@127.0.0.1:{port}/zpcode"
        with ScanService(
            make.settings(addresses, registry.room, scan_database_url=url, scan_database_ms=280)
        ) as service:
            assert service.verdict(registry.item()) == "verified"
            before = service.app.scan._clock()
            for _ in range(5):
                assert service.verdict(registry.item(0, 42)) == "unconfirmed"
            assert service.app.scan._clock() - before < 5 * 0.6


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]
