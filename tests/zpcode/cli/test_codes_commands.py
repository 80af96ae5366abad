"""`zpcode inspect` and `zpcode qr`: every verdict has its exit status, and drawn codes can be read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from typer.testing import CliRunner, Result

from tests.vectors import generate
from zpcode.cli import codes
from zpcode.errors import MalformedCode, Refused
from zpcode.wire.payload import Code, Identity, check_of

ITEM = generate.sealed(Identity(generate.GTINS[0], serial=generate.SERIALS[4]))
COMPACT_CHECK = check_of(generate.CHECK_KEY, generate.GTINS[0], generate.SERIALS[4])
COMPACT = Code(Identity(generate.GTINS[0], serial=generate.SERIALS[4], check=COMPACT_CHECK))
BASE = "https://zpm.zjs.cn"


@pytest.fixture
def ring(tmp_path: Path) -> list[str]:
    """The options that name the test vectors' keyring and root."""
    (tmp_path / "keyring.json").write_bytes(generate.keyring())
    (tmp_path / "root.pub.pem").write_text(str(generate.keys()["root"]))
    return ["--keyring", str(tmp_path / "keyring.json"), "--root", str(tmp_path / "root.pub.pem")]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(codes.app, list(arguments))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (BASE + ITEM.path, 0),
        (ITEM.path, 0),
        (f"  {BASE}{ITEM.path}?lang=en\n", 0),
        (generate.sealed(ITEM.identity, "retired").path, 0),
        (ITEM.path[:-1] + "K", 1),
        (generate.sealed(ITEM.identity, "foreign").path, 1),
        (ITEM.path[:-1] + "U", 2),
        ("hello", 2),
        ("", 2),
        (generate.sealed(ITEM.identity, "revoked").path, 3),
        (COMPACT.path, 4),
        (ITEM.identity.path, 4),
    ],
)
def test_the_exit_status_is_the_verdict(ring: list[str], text: str, status: int) -> None:
    """0 valid, 1 invalid, 2 not a code, 3 key revoked, 4 cannot be verified offline."""
    assert _run("inspect", text, *ring).exit_code == status


def test_each_part_of_a_code_is_explained(ring: list[str]) -> None:
    """Kind, key, signature, GTIN, serial, batch and slot, in Chinese and English."""
    shown = _run("inspect", BASE + ITEM.path.lower().replace("/10/", "/10/"), *ring).output
    assert ITEM.seal is not None
    serial = generate.SERIALS[4]
    for part in (
        "单品码 / item code",
        ITEM.seal.key_id,
        ITEM.seal.signature.hex(),
        generate.GTINS[0],
        serial.text,
        f"batch number: {serial.batch}",
        f"slot (permuted): {serial.slot}",
        ITEM.path,
        "签章有效",
    ):
        assert part in shown
    assert f"{COMPACT_CHECK:010x}" in _run("inspect", COMPACT.path, *ring).output


def test_without_a_keyring_nothing_is_called_valid(tmp_path: Path, ring: list[str]) -> None:
    """Without a keyring, or with one that the root has not signed, the code is explained but not verified."""
    missing = _run("inspect", ITEM.path, "--keyring", str(tmp_path / "none"), *ring[2:])
    assert missing.exit_code == 4
    assert "签章有效" not in missing.output
    (tmp_path / "keyring.json").write_bytes(generate.keyring().replace(b'"serial": 1', b'"serial": 2'))
    forged = _run("inspect", ITEM.path, *ring)
    assert forged.exit_code == 4
    assert "签章有效" not in forged.output


@pytest.mark.parametrize("code", [ITEM, COMPACT])
def test_a_drawn_code_is_read_back(tmp_path: Path, code: Code) -> None:
    """The canonical text is drawn with the given address, in whichever case the code was typed."""
    path = tmp_path / "code.png"
    done = _run("qr", (BASE + code.path).lower(), "-o", str(path))
    assert done.exit_code == 0, done.output
    (symbol,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(path.read_bytes())))
    assert symbol.text == BASE + code.path


def test_a_bare_path_is_drawn_on_the_address_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZPCODE_PUBLIC_BASE, as issuing prints it."""
    monkeypatch.setenv("ZPCODE_PUBLIC_BASE", "https://another.example")
    path = tmp_path / "code.PNG"
    assert _run("qr", ITEM.path, "-o", str(path)).exit_code == 0
    (symbol,) = zxingcpp.read_barcodes(Image.open(path))
    assert symbol.text == "https://another.example" + ITEM.path


def test_the_terminal_gets_a_drawing_and_the_file_only_a_known_kind(tmp_path: Path) -> None:
    """SVG and PNG are written; another suffix is refused before anything is written."""
    assert "█" in _run("qr", COMPACT.path).output
    assert _run("qr", COMPACT.path, "-o", str(tmp_path / "code.svg")).exit_code == 0
    assert (tmp_path / "code.svg").read_text("utf-8").startswith("<?xml")
    assert isinstance(_run("qr", COMPACT.path, "-o", str(tmp_path / "code.exe")).exception, Refused)
    assert not (tmp_path / "code.exe").exists()


def test_what_is_no_code_is_not_drawn() -> None:
    """Neither a forged text nor a foreign address."""
    assert isinstance(_run("qr", "https://zpm.zjs.cn/somewhere/else").exception, MalformedCode)
    assert isinstance(_run("qr", "https://user@host" + COMPACT.path).exception, Refused)
