"""The small parts: settings, the stream's entry, the script's answer, JSON logging, and what a scan imports."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.lookup import history
from scanweb.settings import ScanSettings
from zpcode.telemetry import logs
from zpcode.wire import scan_event
from zpcode.wire.card import History
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


@given(st.binary(max_size=80))
def test_an_entry_that_is_none_is_refused(value: bytes) -> None:
    try:
        scan_event.decode(value)
    except msgspec.MsgspecError:
        return


@given(st.binary(max_size=60) | st.none() | st.integers() | st.just(ValueError("refused")))
def test_an_answer_of_the_script_that_is_none_says_nothing(reply: object) -> None:
    item = history.read(reply)
    assert isinstance(item, history.ItemReply)
    if not isinstance(reply, bytes) or len(reply) < 10:
        assert item == history.EMPTY


def test_an_answer_of_the_script_is_read() -> None:
    reply = b"\x07\x00\x00\x00\x02\x6a\x00\x00\x00\x02ab" + b"stored"
    assert history.read(reply) == history.ItemReply(b"stored", True, History(2, 0x6A000000, "ab"), True)


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
