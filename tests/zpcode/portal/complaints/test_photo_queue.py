"""Photos wait for the decoder by turns of their senders. Each test decides when a photo is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event, Lock

import pytest

from zpcode.errors import Refused, refusal
from zpcode.portal.complaints.photo_queue import FORMS, FORMS_EACH, PhotoQueue, QueueFull
from zpcode.services.pictures.decoder import CHILDREN

ONE, TWO, HONEST = "60.191.0.1", "60.192.0.1", "60.193.0.1"


class Decoder:
    """Decodes a photo when the test lets it: `started` has the photos in the order in which they were started."""

    def __init__(self) -> None:
        self.started: list[bytes] = []
        self._doors: dict[bytes, Event] = {}
        self._lock = Lock()

    def __call__(self, photo: bytes) -> bytes:
        """Wait until the test says so. Raises Refused for a photo whose name begins with `bad`."""
        with self._lock:
            self.started.append(photo)
        assert self._door(photo).wait(60)
        if photo.startswith(b"bad"):
            raise refusal("bad", "坏", "bad")
        return b"decoded " + photo

    def finish(self, *photos: bytes) -> None:
        """These photos are decoded."""
        for photo in photos:
            self._door(photo).set()

    async def runs(self, *photos: bytes) -> None:
        """Wait until these photos have been started, and no others."""
        async with asyncio.timeout(60):
            while len(self.started) < len(photos):  # noqa: ASYNC110 - it is another thread that starts them
                await asyncio.sleep(0.01)
        assert set(self.started) == set(photos)

    def _door(self, photo: bytes) -> Event:
        with self._lock:
            return self._doors.setdefault(photo, Event())


def run(test: Callable[[PhotoQueue, Decoder], Awaitable[None]]) -> None:
    """Run a test with a queue."""
    decoder = Decoder()
    asyncio.run(asyncio.wait_for(test(PhotoQueue(decoder), decoder), 60))


def form(queue: PhotoQueue, address: str | None, *photos: bytes) -> asyncio.Task[list[bytes | Exception]]:
    """A form with photos that has been sent."""
    return asyncio.ensure_future(queue.decode(photos, address))


def test_two_senders_of_slow_photos_delay_a_third_by_one_photo() -> None:
    """Each of the two fills its share of the queue; the next photo that is started is the third sender's."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        slow = [
            form(queue, address, *(b"%d-%d-%s" % (turn, number, address.encode()) for number in range(3)))
            for turn in range(FORMS_EACH)
            for address in (ONE, TWO)
        ]
        first = (b"0-0-60.191.0.1", b"0-0-60.192.0.1")
        await decoder.runs(*first)
        honest = form(queue, HONEST, b"small")
        await asyncio.sleep(0)
        decoder.finish(first[0])
        await decoder.runs(*first, b"small")
        decoder.finish(b"small")
        assert await honest == [b"decoded small"]
        assert not any(one.done() for one in slow)
        decoder.finish(
            *(b"%d-%d-%s" % (a, b, c) for a in range(3) for b in range(3) for c in (b"60.191.0.1", b"60.192.0.1"))
        )
        assert all(len(decoded) == 3 for decoded in await asyncio.gather(*slow))

    run(test)


def test_a_sender_has_one_photo_in_work_and_a_share_of_the_places() -> None:
    """Its whole network counts; a proxy that does not pass on its clients' addresses may use everything."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        forms = [form(queue, f"60.191.0.{number}", b"%d" % number) for number in range(FORMS_EACH)]
        await decoder.runs(b"0")
        with pytest.raises(QueueFull):
            await queue.decode([b"more"], ONE)
        others = [form(queue, None, b"proxy %d" % number) for number in range(FORMS - FORMS_EACH)]
        await decoder.runs(b"0", b"proxy 0")
        with pytest.raises(QueueFull):
            await queue.decode([b"more"], HONEST)
        decoder.finish(b"0", b"1", b"2", *(b"proxy %d" % number for number in range(FORMS)))
        assert len(await asyncio.gather(*forms, *others)) == FORMS
        decoder.finish(b"more")
        assert await queue.decode([b"more"], ONE) == [b"decoded more"], "the places are free again"

    run(test)


def test_a_proxy_uses_every_child() -> None:
    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        photos = [b"proxy %d" % number for number in range(CHILDREN)]
        forms = [form(queue, None, photo) for photo in photos]
        await decoder.runs(*photos)
        decoder.finish(*photos)
        await asyncio.gather(*forms)

    run(test)


def test_photos_come_back_in_order_with_the_errors_of_those_that_are_refused() -> None:
    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        decoder.finish(b"a", b"bad", b"c")
        first, second, third = await queue.decode([b"a", b"bad", b"c"], ONE)
        assert (first, third) == (b"decoded a", b"decoded c")
        assert isinstance(second, Refused)

    run(test)


def test_a_form_that_is_given_up_does_not_stop_the_others() -> None:
    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        given_up = form(queue, ONE, b"a", b"b")
        await decoder.runs(b"a")
        given_up.cancel()
        after = form(queue, ONE, b"c")
        decoder.finish(b"a", b"c")
        assert await after == [b"decoded c"]
        assert decoder.started == [b"a", b"c"]

    run(test)
