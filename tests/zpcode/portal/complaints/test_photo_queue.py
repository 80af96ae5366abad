"""Photos wait for the decoder by turns of their senders. Each test decides when a photo is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event, Lock

import pytest

from zpcode.errors import Refused, refusal
from zpcode.portal.complaints.photo_queue import LEAST, PhotoQueue, QueueFull
from zpcode.services.pictures.decoder import CHILDREN

ONE, TWO, HONEST = "60.191.0.1", "60.192.0.1", "60.193.0.1"
FORMS = 8
"""Forms with small photos for which the queue of these tests has space."""
FORMS_EACH = 3


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
    asyncio.run(asyncio.wait_for(test(PhotoQueue(decoder, FORMS * LEAST), decoder), 60))


def form(queue: PhotoQueue, address: str | None, *photos: bytes) -> asyncio.Task[list[bytes | Exception]]:
    """A form with photos that has been sent."""
    return asyncio.ensure_future(queue.decode(photos, address, lambda _: None))


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


def test_of_one_block_one_photo_is_in_work_and_its_networks_take_turns() -> None:
    """Somebody with four networks in a block; the photo of another network in it comes second, that of another block first."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        forms = [form(queue, f"60.191.{number % 4}.{number}", b"%d" % number) for number in range(6)]
        await decoder.runs(b"0")
        forms += [form(queue, "60.191.9.1", b"neighbour"), form(queue, HONEST, b"honest")]
        await decoder.runs(b"0", b"honest")
        order = [b"0", b"honest", b"1", b"2", b"3", b"neighbour", b"4", b"5"]
        for number in range(2, len(order)):
            decoder.finish(*order[:number])
            await decoder.runs(*order[: number + 1])
        decoder.finish(*order)
        assert decoder.started == order
        await asyncio.gather(*forms)

    run(test)


def test_who_has_just_been_served_comes_after_those_who_wait_also_with_a_new_form() -> None:
    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        decoder.finish(b"first")
        assert await form(queue, ONE, b"first") == [b"decoded first"]
        busy = [form(queue, f"61.{number}.0.1", b"busy %d" % number) for number in range(CHILDREN)]
        await asyncio.sleep(0)
        forms = [form(queue, ONE, b"again"), form(queue, HONEST, b"honest")]
        await asyncio.sleep(0)
        decoder.finish(b"busy 0")
        await decoder.runs(b"first", *(b"busy %d" % number for number in range(CHILDREN)), b"honest")
        decoder.finish(b"busy 1", b"again", b"honest")
        await asyncio.gather(*busy, *forms)

    run(test)


def test_a_form_of_the_sender_that_has_most_gives_way() -> None:
    """Two senders fill the queue. The honest form is decoded next; of the form that gave way, nothing more is decoded."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        slow = [form(queue, (ONE, TWO)[number % 2], b"slow %d" % number, b"more") for number in range(FORMS)]
        await decoder.runs(b"slow 0", b"slow 1")
        with pytest.raises(QueueFull):
            await form(queue, ONE, b"one more")
        honest = form(queue, HONEST, b"small")
        with pytest.raises(QueueFull):
            await slow[0]
        assert [one.done() for one in slow] == [True] + [False] * (FORMS - 1)
        decoder.finish(b"slow 0", b"small")
        assert await honest == [b"decoded small"]
        decoder.finish(b"more", *(b"slow %d" % number for number in range(FORMS)))
        await asyncio.gather(*slow[1:])
        assert decoder.started[2] == b"small"
        assert decoder.started.count(b"more") == FORMS - 1

    run(test)


def test_large_photos_give_way_to_small_ones_of_as_many_senders() -> None:
    """Each of two has one form; the larger one gives way, although it is the only one of its sender."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        large, less = bytes(5 * LEAST), bytes(3 * LEAST)
        forms = [form(queue, ONE, large), form(queue, TWO, less)]
        await decoder.runs(large, less)
        small = form(queue, HONEST, b"small")
        with pytest.raises(QueueFull):
            await forms[0]
        decoder.finish(large, less, b"small")
        assert await small == [b"decoded small"]
        assert await forms[1] == [b"decoded " + less]

    run(test)


def test_each_photo_is_counted_when_it_is_decoded() -> None:
    """Also those of a form that has to give way afterwards: they have cost their time."""

    async def test(queue: PhotoQueue, decoder: Decoder) -> None:
        counted: list[bytes | Exception] = []
        slow = asyncio.ensure_future(queue.decode([b"a", b"bad", b"c"], ONE, counted.append))
        decoder.finish(b"a", b"bad")
        await decoder.runs(b"a", b"bad", b"c")
        others = [form(queue, ONE, b"other %d" % number) for number in range(FORMS - 1)]
        honest = form(queue, HONEST, b"small")
        with pytest.raises(QueueFull):
            await slow
        assert counted[0] == b"decoded a"
        assert [isinstance(one, Refused) for one in counted] == [False, True]
        decoder.finish(b"c", b"small", *(b"other %d" % number for number in range(FORMS)))
        await asyncio.gather(honest, *others)

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
        first, second, third = await form(queue, ONE, b"a", b"bad", b"c")
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
