"""The authority with its complaint pages, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest
from fastapi import FastAPI

from tests.support.clock import Clock
from tests.zpcode.portal.complaints.sending import ADDRESSES, CODES, SlowDecoder, Wall
from zpcode.api.http.context import Authority
from zpcode.app import PublishedKeyring, serve
from zpcode.portal.complaints.desk import Desk
from zpcode.portal.complaints.rate_limits import ComplaintRateLimits
from zpcode.portal.complaints.routes import Complaints
from zpcode.services.pictures.decoder import PictureDecoder, separate_slots


@pytest.fixture
def wall(now: datetime) -> Wall:
    """What tickets and complaints go by."""
    return Wall(now)


@pytest.fixture
def complaints(here: Authority, wall: Wall, clock: Clock) -> Iterator[Complaints]:
    """The complaint pages, with low rate limits."""
    assert isinstance(here.keyring, PublishedKeyring)
    with PictureDecoder(slots=separate_slots()) as decoder:
        desk = Desk(here.engine, here.keyring.current, wall, decoder)
        yield Complaints(desk, ComplaintRateLimits(ADDRESSES, CODES, clock))


@pytest.fixture
def app(here: Authority, wall: Wall, complaints: Complaints) -> FastAPI:
    """The authority with its portal."""
    return serve(replace(here, clock=wall), portal=complaints)


@pytest.fixture
def slow(complaints: Complaints) -> SlowDecoder:
    """The decoder of the complaint pages, which is slow until the test lets it go on."""
    decoder = SlowDecoder(complaints.desk.decoder.encode)
    complaints.desk.decoder.encode = decoder  # type: ignore[method-assign]
    return decoder
