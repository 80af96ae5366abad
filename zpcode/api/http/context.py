"""The servers and settings that the routes work with, as one FastAPI dependency."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import Request

from keys.client import SigningService
from zpcode.api.http.rate_limits import ApiRateLimits
from zpcode.errors import Unavailable
from zpcode.projection import projector
from zpcode.projection.client import AnyRedis
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.pictures.storage import PictureStorage
from zpcode.store.database.session import Engine

_logger = logging.getLogger(__name__)


class Queue(Protocol):
    """The queue that hands a reserved batch to the worker."""

    def defer_issue(self, number: int) -> bool:
        """Ask for a batch to be issued. False: the queue did not take it, and the worker finds the batch in the database."""
        ...


@dataclass(frozen=True, slots=True)
class Authority:
    """The servers and settings behind the API.

    `base` is the address printed before every code, `exports` the folder of finished files. `keyring` gives the bytes of
    the public keyring and raises KeyringError; `clock` gives aware times.
    """

    engine: Engine
    redis: AnyRedis
    signer: SigningService
    queue: Queue
    keyring: Callable[[], bytes]
    exports: CodeFolder
    storage: PictureStorage
    base: str
    clock: Callable[[], datetime]
    rate_limits: ApiRateLimits = field(default_factory=ApiRateLimits)

    def project(self) -> None:
        """Copy what was committed to Redis. If Redis does not answer, the worker copies it later."""
        try:
            projector.catch_up(self.engine, self.redis, fill=False)
        except Unavailable:
            _logger.warning("the projection lags; the worker will bring it up to date")


async def authority_of(request: Request) -> Authority:
    """The authority of this application. Asynchronous: it must not wait for one of the threads, which may all be busy."""
    authority: Authority = request.app.state.authority
    return authority


AuthorityDep = Annotated[Authority, Depends(authority_of)]
