"""What every route works with, put together once by the composition root (`zpcode.app`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import Request

from keys.client import SigningService
from zpcode.api.http.rate_limits import ApiRateLimits
from zpcode.errors import Unavailable
from zpcode.projection import projector
from zpcode.projection.client import AnyRedis
from zpcode.services.pictures.storage import PictureStorage
from zpcode.store.database.session import Engine

_logger = logging.getLogger(__name__)


class Queue(Protocol):
    """Where a reserved batch is handed on. False means that the worker will find it by itself."""

    def defer_issue(self, number: int) -> bool:
        """Ask for a batch to be issued."""
        ...


@dataclass(frozen=True, slots=True)
class Authority:
    """The servers and settings behind the API.

    `base` is printed before every code, `exports` holds finished files, `shelf` pictures, `keyring` gives the public keyring's
    bytes (it raises KeyringError), `clock` aware times; `rate_limits` limits how often anybody asks.
    """

    engine: Engine
    redis: AnyRedis
    signer: SigningService
    queue: Queue
    keyring: Callable[[], bytes]
    exports: Path
    shelf: PictureStorage
    base: str
    clock: Callable[[], datetime]
    rate_limits: ApiRateLimits = field(default_factory=ApiRateLimits)

    def project(self) -> None:
        """Tell Redis what was committed; where it does not answer, the worker and the scan processes catch up."""
        try:
            projector.catch_up(self.engine, self.redis, fill=False)
        except Unavailable:
            _logger.warning("the projection lags; the worker will bring it up to date")


async def authority_of(request: Request) -> Authority:
    """The authority this application serves. Asynchronous, so that it needs none of the threads, which may all wait."""
    found: Authority = request.app.state.authority
    return found


Here = Annotated[Authority, Depends(authority_of)]
