"""Codes for tests: hypothesis strategies of every kind of code."""

from __future__ import annotations

from hypothesis import strategies as st
from stdnum import ean

from zpcode.wire.gs1 import is_lot
from zpcode.wire.payload import MAX_BATCH, Code, Identity, Seal, Serial
from zpcode.wire.permutation import SLOTS


def _with_check_digit(number: int) -> str:
    digits = f"{number:013d}"
    return digits + ean.calc_check_digit(digits)


gtins = st.integers(0, 10**13 - 1).map(_with_check_digit)
lots = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.-", min_size=1, max_size=20).filter(is_lot)
slots = st.integers(0, SLOTS - 1)
serials = st.builds(Serial, st.integers(1, MAX_BATCH), slots)
sealable = st.one_of(
    st.builds(Identity, gtins), st.builds(Identity, gtins, lot=lots), st.builds(Identity, gtins, serial=serials)
)
compact = st.builds(Identity, gtins, serial=serials, check=st.integers(0, 2**40 - 1))
seals = st.builds(
    Seal, st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=4, max_size=4), st.binary(min_size=64, max_size=64)
)
codes = st.one_of(st.builds(Code, sealable, st.one_of(st.none(), seals)), st.builds(Code, compact))
