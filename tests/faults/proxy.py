"""A proxy between a service and its server that simulates network faults: delay, freeze, cut, lead to another server.

It listens on a unix socket and forwards to another. It also plays the stable address (a virtual IP, HAProxy, a
managed service's endpoint) through which a deployment reaches whichever server is the primary now.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Proxy:
    """A context manager; its loop runs in a thread. `delay` is how many seconds each chunk of a reply is held back."""

    def __init__(self, target: Path, listen: Path) -> None:
        self.target, self.path, self.delay = target, listen, 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._flowing = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def freeze(self) -> None:
        """Take connections and requests, pass nothing on, answer nothing."""
        self._call(self._flowing.clear)

    def thaw(self) -> None:
        """Pass on what was held back, and everything after it."""
        self._call(self._flowing.set)

    def cut(self) -> None:
        """Break off every connection there is."""
        self._do(self._let_go())

    def lead_to(self, target: Path) -> None:
        """Forward to another server from now on; connections to the old one are cut."""
        self.target = target
        self.cut()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def _call(self, work: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(work)

    async def _start(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._let_go()
        await asyncio.sleep(0.01)  # transports close in a later turn of the loop, which must still be there

    async def _let_go(self) -> None:
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._join(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # cut: discard what is still to be sent
        finally:
            writer.close()
            self._serving.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, out = await asyncio.open_unix_connection(self.target)
        except OSError:
            return
        try:
            await asyncio.gather(self._pump(reader, out, late=False), self._pump(onward, writer, late=True))
        except asyncio.CancelledError:
            out.transport.abort()
            raise
        finally:
            out.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        try:
            while chunk := await reader.read(65536):
                await self._flowing.wait()
                if late and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()
