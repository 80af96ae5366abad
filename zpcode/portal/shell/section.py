"""A section as an ASGI application: its routes, the files of the layout, and every error as a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from zpcode.errors import RETRY_SECONDS, NotFound, ZpError
from zpcode.portal.shell.cross_site import SAFE, is_cross_site, is_embedded
from zpcode.portal.shell.layout import PortalPages, redirect
from zpcode.ratelimit import READS, ReadRateLimit

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouteLabel:
    """What the log and the metrics call a route; `RequestMiddleware` reads it from the scope."""

    path: str


class Section:
    """The pages of one section. The paths of `routes` are relative to `pages.prefix`.

    A request that may change something is refused with 403 if a page of another site sent it (`cross_site`), before its body
    is read; so is any request of a page of another site that no reader navigates to, such as an image. An address that reads
    more than `reads` pages a minute gets 429; files of the layout are not counted. An exception of an endpoint becomes a page:
    HTTPException with its status, NotFound with 404, every other ZpError with 503, anything else with 500; the last is logged
    and not shown.
    """

    def __init__(
        self,
        pages: PortalPages,
        routes: Sequence[Route],
        *,
        reads: int = READS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pages = pages
        self._reads, self._clock = ReadRateLimit(reads), clock
        limited = [Route(route.path, self._limited(route), methods=route.methods) for route in routes]
        static = Route("/static/{name}", self._static, methods=["GET"])
        self._router = Router([self._labelled(route) for route in (static, *limited)], redirect_slashes=False)

    def install(self, app: Starlette) -> None:
        """Serve the section at its prefix; the prefix without a slash leads to it (308)."""
        app.mount(self.pages.prefix, self)
        app.add_route(self.pages.prefix, self._with_slash, ["GET"], include_in_schema=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        scope["route"] = RouteLabel(f"{self.pages.prefix}/…")
        scope.setdefault("app", self)
        scope["starlette.exception_handlers"] = ({}, {})  # those of the API would answer with problem documents
        try:
            _refuse_cross_site(scope)
            await self._router(scope, receive, send_on)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started:
                raise
            response = self._failed(Request(scope), error)
            await response(scope, receive, send)

    def _failed(self, request: Request, error: Exception) -> Response:
        status, headers = 500, {}
        if isinstance(error, HTTPException):
            status, headers = error.status_code, dict(error.headers or {})
        elif isinstance(error, NotFound):
            status = 404
        elif isinstance(error, ZpError):
            status, headers = 503, {"Retry-After": str(RETRY_SECONDS)}
        else:
            _logger.error("a page failed", exc_info=error)
        if status in {403, 408, 413}:
            headers["Connection"] = "close"  # the rest of the body is not read
        return self.pages.error(self.pages.texts(request), status, headers)

    def _labelled(self, route: Route) -> Route:
        """The same route, whose endpoint says first which route it is."""

        async def endpoint(request: Request) -> Response:
            request.scope["route"] = RouteLabel(self.pages.prefix + route.path)
            response: Response = await route.endpoint(request)
            return response

        return Route(route.path, endpoint, methods=route.methods)

    def _limited(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a route, which an address asks for a page within its limit."""

        async def endpoint(request: Request) -> Response:
            if request.method in SAFE:
                seconds = self._reads.spend(None if request.client is None else request.client.host, self._clock())
                if seconds:
                    raise HTTPException(429, headers={"Retry-After": str(seconds)})
            response: Response = await route.endpoint(request)
            return response

        return endpoint

    async def _static(self, request: Request) -> Response:
        file = self.pages.static(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return file

    async def _with_slash(self, request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return redirect(f"{self.pages.prefix}/{query}", 308)


def _refuse_cross_site(scope: Scope) -> None:
    headers = Headers(scope=scope)
    if is_embedded(headers) or (scope["method"] not in SAFE and is_cross_site(headers)):
        raise HTTPException(403)
