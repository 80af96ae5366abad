"""The HTTP server of API and portal: `uvicorn --http zpcode.server:AuthorityProtocol …`.

A body may be large here (a registry file with its pictures), so it is not measured as a whole: the application bounds it
while it reads (`zpcode.api.http.middleware`, `zpcode.portal.shell.forms`). The protocol sees to it that a body keeps
coming, and that one which nobody reads ends.
"""

from __future__ import annotations

from typing import ClassVar, Final

from zpcode.request_bounds import RequestBounds

BODY_BYTES: Final = 32 * 1024
"""A body that is not whole brings at least this much in each `body_seconds`."""
UNREAD_BYTES: Final = 16 * 2**20
"""How much of a body is taken after its response, so that a client which sends first and then reads gets its response."""


class AuthorityProtocol(RequestBounds):
    """One connection to the authority. Times that the application needs, to read a body or to respond, are not limited."""

    take_seconds: ClassVar[float] = 60.0
    body_seconds: ClassVar[float] = 30.0

    body_of: object = None
    """The scope of the request whose body is being timed."""
    window_bytes = 0
    unread_bytes = 0

    def on_response_complete(self) -> None:
        """A response is complete. If the connection ends with it, start the timer for reading the rest."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_reading_timer()

    def _check_body(self, more: int) -> None:
        """A body has to keep coming: start the timer behind its head, and count what comes then."""
        self._size = 1  # a body as a whole has no bound here, so that only the request's being under way counts
        if self.body_of is not self.scope:
            self.body_of, self.unread_bytes = self.scope, 0
            self._start_window()
        else:
            self.window_bytes += more
        if self.cycle.response_complete:
            self.unread_bytes += more
            if self.unread_bytes > UNREAD_BYTES:
                self._hang_up()

    def _start_window(self) -> None:
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
        self.window_bytes = 0
        self._arrival_timer = self.loop.call_later(self.body_seconds, self._window_ended)

    def _window_ended(self) -> None:
        """Too little came, and not because the application has yet to read what came before: refuse."""
        self._arrival_timer = None
        if self.window_bytes >= BODY_BYTES or self.flow.read_paused:
            self._start_window()
        else:
            self._refuse(408)
