"""A page is filled by joining pieces, compressed or not: the result equals the rendered page, byte for byte."""

from __future__ import annotations

import gzip
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from scanweb.page.slots import SLOTS, RenderedPieces, SlottedPage
from zpcode.language.negotiation import takes_gzip

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters=SLOTS), max_size=300)
LONGEST_VALUE = 0xFFFF
VALUES = st.tuples(*[st.binary(max_size=200)] * len(SLOTS))


@given(st.lists(st.tuples(TEXT, st.sampled_from(SLOTS)), max_size=8), TEXT, VALUES)
def test_plain_and_compressed_are_the_rendered_text_with_its_slots_filled(
    parts: list[tuple[str, str]], end: str, values: tuple[bytes, ...]
) -> None:
    fill = SlottedPage("".join(text + slot for text, slot in parts) + end)
    expected = b"".join(text.encode() + values[SLOTS.index(slot)] for text, slot in parts) + end.encode()
    assert b"".join(fill.plain(values)) == expected
    assert gzip.decompress(b"".join(fill.gzipped(values))) == expected
    assert gzip.decompress(b"".join(fill.gzipped(values[::-1]))) == b"".join(fill.plain(values[::-1]))


def test_a_long_page_is_small_and_its_longest_values_fit() -> None:
    fill = SlottedPage("指标对比" * 20_000 + SLOTS[0] + "a" * 100_000)
    longest = (bytes(range(256)) * 256)[:LONGEST_VALUE]
    packed = b"".join(fill.gzipped((longest,)))
    assert gzip.decompress(packed) == b"".join(fill.plain((longest,)))
    assert len(packed) < LONGEST_VALUE + 3000


def test_gzip_goes_to_who_takes_it_and_to_nobody_else() -> None:
    for yes in ("gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.1"):
        assert takes_gzip(yes)
    for no in ("", "identity", "br", "gzip;q=0", "deflate, gzip;q=0.0", "notgzip"):
        assert not takes_gzip(no)


def test_of_rendered_pieces_the_last_ones_are_kept() -> None:
    pieces, made = RenderedPieces(2), []

    def make(name: str) -> str:
        made.append(name)
        return name

    source = object()
    for name in ("a", "a", "b", "c", "a", "c"):
        assert pieces.get((source,), name, partial(make, name)) == name
    assert made == ["a", "b", "c", "a"]
    assert pieces.get((object(),), "c", lambda: "of another") == "of another"
