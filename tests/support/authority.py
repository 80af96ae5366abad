"""A running authority for each test: real HTTP, real PostgreSQL and Valkey, two tenants and three kinds of caller.

`here` is what the API works with (its clock stands at `now`), `world` the registry and keys in it, `base_url` where
it listens. The signer's socket leads nowhere, so only compact batches, which need none, are issued here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support import databases
from tests.support.clock import NOW
from tests.support.code_folders import code_folder
from tests.support.databases import Furnished
from tests.support.keyroom import create, key_room
from tests.support.registry_data import as_json, gtin, registry, uscc
from zpcode.api.http.context import Authority
from zpcode.app import PublishedKeyring, serve
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.projection import client as redis_client
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest
from zpcode.rules.complaints.complaint import ComplaintForm, ComplaintKind
from zpcode.rules.journey import EventRequest, Subject
from zpcode.server import AuthorityProtocol
from zpcode.services import access, complaints
from zpcode.services.batches import issue, reserve
from zpcode.services.batches.queue import IssueQueue
from zpcode.services.complaints import SentComplaint
from zpcode.services.journey import events
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry.importing import import_registry
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Bilingual

OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")
MINE, THEIRS = 1, 2
LOT = "L-1"
BASE = "https://zpm.example"


@dataclass(frozen=True, slots=True)
class Tenants:
    """Two enterprises in two cities, what belongs to each, and a key of every kind of caller."""

    mine: str
    theirs: str
    hangzhou: str
    ningbo: str
    operator: str
    my_batch: int
    their_batch: int
    my_complaint: str
    their_complaint: str
    my_events: tuple[int, int]
    their_events: tuple[int, int]
    my_gtin: str = gtin(MINE)
    their_gtin: str = gtin(THEIRS)
    my_uscc: str = uscc(MINE)
    their_uscc: str = uscc(THEIRS)


@pytest.fixture
def here(engine: Engine, addresses: ServerAddresses, tmp_path: Path, now: datetime) -> Iterator[Authority]:
    """What the API works with."""
    room = key_room(tmp_path)
    create(room, now)
    redis = redis_client.connect(addresses.redis)
    with IssueQueue(addresses.database) as queue:
        yield Authority(
            engine=engine,
            redis=redis,
            signer=SignerClient(tmp_path / "nowhere.sock", timeout=0.2),
            queue=queue,
            keyring=PublishedKeyring(room.keyring, room.root_public),
            exports=code_folder(tmp_path / "exports"),
            storage=PictureStorage((tmp_path / "pictures").as_uri()),
            base=BASE,
            clock=lambda: now,
        )
    redis.close()


@pytest.fixture
def app(here: Authority) -> FastAPI:
    """The application."""
    return serve(here)


@pytest.fixture
def base_url(app: FastAPI) -> Iterator[str]:
    """The address where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = uvicorn.Config(
            app, http=AuthorityProtocol, ws="none", log_config=None, access_log=False, server_header=False
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="session")
def furnished(servers: Servers, migrated: str) -> Furnished[Tenants]:
    """A database that holds the world, made once: each test that asks for `world` works on a copy of it."""
    return databases.furnish(servers, migrated, settle)


@pytest.fixture
def world(furnished: Furnished[Tenants], here: Authority) -> Tenants:
    """The registry, a compact batch of each enterprise, and the keys."""
    assert here.clock() == NOW
    return furnished.content


def settle(engine: Engine) -> Tenants:
    """Write the world into an empty database."""
    for number, region in ((MINE, "330110"), (THEIRS, "330203")):
        content = registry(number)
        content["enterprises"][0]["region"] = region
        import_registry(engine, as_json(content), actor=OPERATOR.name, now=NOW)

    def key(role: Role, subject: str) -> str:
        return access.create(engine, role, subject, "a test", caller=OPERATOR, now=NOW).token

    mine, theirs = (reserved(engine, gtin(number)) for number in (MINE, THEIRS))
    return Tenants(
        mine=key(Role.ENTERPRISE, uscc(MINE)),
        theirs=key(Role.ENTERPRISE, uscc(THEIRS)),
        hangzhou=key(Role.REGULATOR, "330100"),
        ningbo=key(Role.REGULATOR, "330200"),
        operator=key(Role.OPERATOR, "*"),
        my_batch=mine.number,
        their_batch=theirs.number,
        my_complaint=complained(engine, gtin(MINE)),
        their_complaint=complained(engine, gtin(THEIRS)),
        my_events=travelled(engine, mine),
        their_events=travelled(engine, theirs),
    )


def reserved(engine: Engine, product: str, quantity: int = 100, level: Level = Level.COMPACT) -> Batch:
    """A reserved batch of a product, ordered by the operator."""
    request = BatchRequest(level, product, quantity, lot=LOT)
    key = f"{product}-{quantity}-{level}"
    return reserve.reserve(engine, request, caller=OPERATOR, idempotency_key=key, base=BASE, now=NOW)


def travelled(engine: Engine, batch: Batch) -> tuple[int, int]:
    """The numbers of an event of a batch and of one of its lot."""
    subjects = Subject(batch.number), Subject(gtin=batch.gtin, lot=batch.lot)
    event = EventRequest("produced", "2026-10-08", Bilingual("宁波" if batch.region == "330203" else "杭州"))
    recorded = [events.record(engine, one, [event], caller=OPERATOR, now=NOW) for one in subjects]
    return recorded[0].events[0].id, recorded[1].events[0].id


def complained(engine: Engine, product: str) -> str:
    """The number of a complaint about a product, with a contact and a photo."""
    named = complaints.about(engine, _no_keyring, product)
    form = ComplaintForm(ComplaintKind.QUALITY, "The thread broke", contact="13800000000", code=product)
    nonce = product.encode().ljust(16)
    return complaints.receive(engine, SentComplaint(form, nonce), named, (b"a photo",), now=NOW).number


def _no_keyring() -> NoReturn:
    raise AssertionError("a GTIN has no seal")


def issued(here: Authority, number: int) -> Batch:
    """A compact batch, issued."""
    return issue.issue(here.engine, here.signer, number, folder=here.exports, clock=here.clock)


@pytest.fixture
def http(base_url: str, world: Tenants) -> Iterator[httpx.Client]:
    """A client without a key; it asks for English. `as_` gives it one."""
    assert world
    with httpx.Client(base_url=base_url, headers={"Accept-Language": "en"}, timeout=30) as client:
        yield client


def as_(token: str) -> dict[str, str]:
    """Request headers that carry this key."""
    return {"Authorization": f"Bearer {token}"}
