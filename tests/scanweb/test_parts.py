"""The small parts: settings, the stream's entry, the function's reply, JSON logging, and what a scan imports."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.lookup import history
from scanweb.settings import ScanSettings
from zpcode.telemetry import logs
from zpcode.wire import scan_event
from zpcode.wire.card import History
from zpcode.wire.functions import histories
from zpcode.wire.scan_event import ScanEvent


def test_the_path_of_a_scan_needs_no_web_framework_no_sql_and_no_templates() -> None:
    heavy = "{'fastapi', 'starlette', 'sqlalchemy', 'numpy', 'jinja2', 'pydantic'}"
    code = f"import sys, scanweb.scan.resolver; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_settings_read_the_environment_as_people_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPCODE_HOME", "/srv/zp")
    monkeypatch.setenv("ZPCODE_TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7, fd00::/8")
    monkeypatch.setenv("ZPCODE_REDIS_URL", "redis://one")
    settings = ScanSettings()
    assert settings.trusted_proxies == tuple(map(ip_network, ("10.0.0.0/8", "192.168.1.7", "fd00::/8")))
    assert (settings.redis, settings.keyring_path, settings.root_path) == (
        "redis://one", Path("/srv/zp/keyring.json"), Path("/srv/zp/root.pub.pem"),
    )  # fmt: skip
    monkeypatch.setenv("ZPCODE_SCAN_REDIS_URL", "redis://two")
    assert ScanSettings().redis == "redis://two"


@pytest.mark.parametrize("base", ["zpm.example", "https://ZPM.example", "https://zpm.example/x"])
def test_a_base_address_that_cannot_stand_before_a_code_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="without a path"):
        ScanSettings(public_base=base)


@pytest.mark.parametrize("name", ScanSettings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    assert ScanSettings.model_fields[name].description


EVENTS = st.builds(
    ScanEvent,
    st.integers(0, 2**53),
    st.text(st.characters(codec="utf-8"), max_size=14),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.none() | st.integers(1, 2**26 - 1),
    st.none() | st.integers(0, 2**34 - 1),
    st.just("verified"),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.just("203.0.113.0/24"),
    st.binary(max_size=8),
    st.just("en"),
    st.just("browser"),
    st.booleans(),
)


@given(EVENTS)
def test_an_event_comes_back_as_it_went(event: ScanEvent) -> None:
    assert scan_event.decode(scan_event.encode([event, event])) == [event, event]


EMPTY = (b"\x90", b"\xdc\0\0", b"\xdd\0\0\0\0")
"""An array without an event, in the three forms of MessagePack."""


@given(st.binary(max_size=80).filter(lambda value: value not in EMPTY))
def test_any_other_bytes_are_no_entry(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        scan_event.decode(value)


@given(EVENTS, st.data())
def test_an_entry_that_is_cut_or_goes_on_is_refused(event: ScanEvent, data: st.DataObject) -> None:
    entry = scan_event.encode([event])
    for wrong in (entry[: data.draw(st.integers(0, len(entry) - 1))], entry + data.draw(st.binary(min_size=1))):
        with pytest.raises(ValueError, match=r"."):
            scan_event.decode(wrong)


FIELDS: list[Any] = [0, "gtin", "lot", 1, 2, "verified", "city", "203.0.113.0/24", b"visitor", "en", "browser", True]


@pytest.mark.parametrize(
    "value",
    [
        None, 1, {}, [None], [[]], [FIELDS[:10]], [[*FIELDS, 1]], [["0", *FIELDS[1:]]], [[0, 1, *FIELDS[2:]]],
        [[*FIELDS[:11], 1]], [[*FIELDS[:3], "1", *FIELDS[4:]]], [[*FIELDS[:8], 1, *FIELDS[9:]]], [FIELDS, None],
        [FIELDS] * 251,
    ],
)  # fmt: skip
def test_an_entry_of_another_shape_is_refused(value: object) -> None:
    """Too few fields, too many, of another type, and more scans than an entry may have."""
    assert scan_event.decode(msgspec.msgpack.encode([FIELDS] * 250))[-1].channel == "browser"
    with pytest.raises(ValueError, match=r"."):
        scan_event.decode(msgspec.msgpack.encode(value))


ANYTHING = (
    st.binary(max_size=80) | st.none() | st.integers() | st.floats() | st.lists(st.none(), max_size=2) | st.text()
)


@given(st.lists(ANYTHING, min_size=5, max_size=5))
def test_a_reply_of_another_shape_is_never_a_history_or_a_timeline(parts: list[Any]) -> None:
    """Whatever is in the five parts: a timeline is the fifth, unchanged, and a history is within its bounds."""
    (item,) = history.read_all(parts, 1)
    assert item.timeline is None or item.timeline is parts[4]
    if item.history is not None:
        assert (item.history.scans, item.history.first_at) == tuple(parts[1:3])
        assert 0 <= item.history.scans < 2**31
        assert 0 <= item.history.first_at < 2**32
        assert item.history.first_city.isprintable()


@given(ANYTHING.filter(lambda reply: not isinstance(reply, list)) | st.lists(ANYTHING, max_size=4))
def test_a_reply_of_another_length_says_nothing(reply: object) -> None:
    assert history.read_all(reply, 1) == [history.EMPTY]


def test_a_reply_of_the_function_is_read() -> None:
    reply = [7, 2, 0x6A000000, b"ab", b"stored", 8, 0, 0, b"", None]
    assert history.read_all(reply, 2) == [
        history.ItemReply(b"stored", True, History(2, 0x6A000000, "ab"), True),
        history.ItemReply(away=True),
    ]


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 1), st.text(max_size=20))
def test_a_stored_history_comes_back_as_it_went(scans: int, first_at: int, city: str) -> None:
    shown = city if city.isprintable() and len(city.encode()) <= histories.MAX_CITY else ""
    assert histories.unpack(histories.pack(History(scans, first_at, city))) == History(scans, first_at, shown)


@given(st.binary(max_size=120))
def test_bytes_that_are_no_history_are_refused(value: bytes) -> None:
    try:
        stored = histories.unpack(value)
    except ValueError:
        return
    assert value.startswith(histories.pack(stored))
    assert len(value) <= 9 + 64 + 36


def test_a_log_line_is_one_json_object_with_its_extras() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("scan", stream=stream)
        logging.getLogger("here").warning("码 %s", 1, extra={"bound": 3})
        try:
            raise ValueError("boom")  # noqa: TRY301 - the traceback is tested
        except ValueError:
            logging.getLogger("here").exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["service"], first["level"], first["message"], first["bound"]) == ("scan", "warning", "码 1", 3)
    assert "ValueError: boom" in second["error"]
