"""The composition root of the authority's API and portal: it opens what the routes work with, and closes it at the end.

Run it with `uvicorn --factory --no-proxy-headers --no-server-header --no-access-log --http zpcode.server:AuthorityProtocol
--ws none zpcode.app:create_app`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final

from fastapi import FastAPI
from opentelemetry.trace import Tracer
from starlette.types import Lifespan

from keys.client import SignerClient
from keys.keyring import Keyring, KeyringFile, read_root
from zpcode.api.http import error_handlers, openapi
from zpcode.api.http.context import Authority
from zpcode.api.http.metrics import ApiMetrics
from zpcode.api.http.middleware import RequestMiddleware
from zpcode.api.http.rate_limits import ApiRateLimits
from zpcode.api.routes import complaints as api_complaints
from zpcode.api.routes import enterprise, journey, operator, pictures, public, regulator
from zpcode.embedded.servers import Servers
from zpcode.portal.complaints import routes
from zpcode.portal.complaints.desk import Desk
from zpcode.portal.complaints.metrics import FormCounters
from zpcode.portal.complaints.rate_limits import ComplaintRateLimits
from zpcode.portal.complaints.routes import Complaints
from zpcode.projection import client
from zpcode.projection.head_keys import HeadKeys
from zpcode.services.batches import file_keys
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.queue import IssueQueue
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import WITNESS_SECONDS, FilesWitness, RedisWitness, SignerWitness
from zpcode.services.monitoring import readiness
from zpcode.services.pictures.decoder import PictureDecoder, separate_slots
from zpcode.services.pictures.storage import PictureStorage
from zpcode.settings import AuthoritySettings, load
from zpcode.store.database.session import connect
from zpcode.store.database.tracing import trace
from zpcode.telemetry import exposition, logs, tracing
from zpcode.telemetry.exposition import Exposition

# Endpoints run in forty threads; a transaction rarely lasts longer than a few milliseconds.
POOL_SIZE: Final = 15
SIGNER_SECONDS: Final = 2.0
ROUTERS: Final = (
    enterprise.router,
    api_complaints.router,
    journey.router,
    pictures.router,
    regulator.router,
    operator.router,
    public.router,
)


def create_app() -> FastAPI:
    """The API with the settings of this process, logging as JSON lines."""
    settings = load()
    logs.configure("authority", level=settings.log_level)
    return create(settings)


def create(settings: AuthoritySettings) -> FastAPI:
    """The API and the portal. Nothing is connected before the first request; everything is closed when the lifespan ends."""
    resources = ExitStack()
    traces = tracing.start("authority", settings.traces, settings.trace_ratio)
    resources.callback(traces.close)
    authority = _authority(settings, resources)
    trace(authority.engine, traces.tracer)
    metrics = ApiMetrics()
    metrics_server = Exposition(settings.metrics_address, _private_pages(authority, metrics))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with resources, metrics_server:
            yield

    return serve(authority, lifespan, metrics, traces.tracer, _portal(settings, authority, resources, metrics))


def serve(
    authority: Authority,
    lifespan: Lifespan[FastAPI] | None = None,
    metrics: ApiMetrics | None = None,
    tracer: Tracer = tracing.OFF,
    portal: Complaints | None = None,
) -> FastAPI:
    """The API of an authority, and beside it the portal if there is one."""
    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        docs_url=None,  # FastAPI's pages load scripts from another origin
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },  # it would record whole paths
        lifespan=lifespan,
    )
    app.state.authority = authority
    for router in ROUTERS:
        app.include_router(router)
    if portal is not None:
        portal.install(app)
    error_handlers.install(app)
    openapi.install(app)
    app.add_middleware(
        RequestMiddleware, larger=operator.LARGER | pictures.LARGER | routes.LARGER, metrics=metrics, tracer=tracer
    )
    return app


def _private_pages(authority: Authority, metrics: ApiMetrics) -> exposition.Pages:
    """Metrics, and what the authority can reach: only for this machine and for Prometheus."""
    details = partial(readiness.details, authority.engine, authority.redis, authority.signer, authority.keyring)
    return {
        exposition.METRICS: exposition.of_metrics(metrics.registry),
        exposition.READYZ: exposition.of_state(details),
    }


def _authority(settings: AuthoritySettings, resources: ExitStack) -> Authority:
    database, cache = _addresses(settings)
    engine = connect(database, pool_size=POOL_SIZE)
    resources.callback(engine.dispose)
    redis = client.connect(cache)
    resources.callback(redis.close)
    signer = resources.enter_context(SignerClient(settings.signer_socket, timeout=SIGNER_SECONDS))
    witness = SignerWitness(resources.enter_context(SignerClient(settings.signer_socket, timeout=WITNESS_SECONDS)))
    gate = ContinuityGate(engine, [RedisWitness(redis), FilesWitness(settings.export_dir, settings.file_key), witness])
    gate.install()
    HeadKeys(partial(file_keys.secrets_of, settings.file_key)).install(engine)
    return Authority(
        engine=engine,
        redis=redis,
        signer=signer,
        queue=resources.enter_context(IssueQueue(database)),
        keyring=PublishedKeyring(settings.keyring, settings.root_public),
        exports=CodeFolder(settings.export_dir, settings.file_key),
        storage=PictureStorage(settings.pictures_url),
        base=settings.public_base,
        clock=lambda: datetime.now(UTC),
        rate_limits=ApiRateLimits(
            settings.api_requests_per_minute, settings.api_failures_per_minute, writes=settings.api_writes_per_day
        ),
    )


def _portal(settings: AuthoritySettings, authority: Authority, resources: ExitStack, metrics: ApiMetrics) -> Complaints:
    keyring = PublishedKeyring(settings.keyring, settings.root_public)
    desk = Desk(
        authority.engine,
        keyring.current,
        authority.clock,
        resources.enter_context(PictureDecoder(slots=separate_slots())),
    )
    rate_limits = ComplaintRateLimits(settings.complaints_per_hour, settings.complaints_per_code)
    return Complaints(desk, rate_limits, FormCounters(metrics.registry))


def _addresses(settings: AuthoritySettings) -> tuple[str, str]:
    """The addresses of PostgreSQL and Redis: those of the settings, else those of the embedded servers."""
    if settings.database_url and settings.redis_url:
        return settings.database_url, settings.redis_url
    embedded = Servers(settings.home).addresses
    return settings.database_url or embedded.database, settings.redis_url or embedded.redis


class PublishedKeyring:
    """The public keyring from its file, with its root signature verified. A replaced file is read again.

    The file is read at the first request, so that the API runs before the first ceremony. Raises KeyringError.
    """

    def __init__(self, keyring: Path, root: Path) -> None:
        self._paths = keyring, root
        self._reading = Lock()
        self._file: KeyringFile | None = None

    def __call__(self) -> bytes:
        """The bytes of the keyring, for publication."""
        return self.current().document

    def current(self) -> Keyring:
        """The present keyring."""
        with self._reading:
            if self._file is None:
                keyring, root = self._paths
                self._file = KeyringFile(keyring, read_root(root), time.monotonic)
            return self._file.current()
