"""Every kind of code is drawn and read back by an independent reader: the text is exactly the same."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import pytest
import segno
import zxingcpp
from PIL import Image, ImageDraw

from tests.vectors import generate
from zpcode.exports import qr
from zpcode.wire.payload import Code, Identity, check_of

BASE = "https://zpm.zjs.cn"  # a host of ten characters
GTIN = generate.GTINS[0]
SERIAL = generate.SERIALS[4]
KINDS = {
    "product": generate.sealed(Identity(GTIN)),
    "lot": generate.sealed(Identity(GTIN, lot="ABCDEFGHIJ0123456789")),
    "item": generate.sealed(Identity(GTIN, serial=SERIAL)),
    "compact": Code(Identity(GTIN, serial=SERIAL, check=check_of(generate.CHECK_KEY, GTIN, SERIAL))),
}


def _read(image: Image.Image) -> str:
    (barcode,) = zxingcpp.read_barcodes(image)
    assert barcode.format == zxingcpp.BarcodeFormat.QRCode
    return str(barcode.text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", [BASE, "http://127.0.0.1:8701", "https://zhejiang-product-code.example.gov.cn"])
def test_a_drawn_code_is_read_back_to_the_letter(kind: str, base: str) -> None:
    """Scheme and host in lower case, all the rest in upper case."""
    data = qr.png(qr.symbol(base, KINDS[kind]), scale=4)
    assert _read(Image.open(io.BytesIO(data))) == base + KINDS[kind].path


@pytest.mark.parametrize(("kind", "version"), [("item", 7), ("compact", 4)])
def test_a_symbol_is_as_small_as_it_was_designed(kind: str, version: int) -> None:
    """Level M, and no larger than the version the label was measured for."""
    drawn = qr.symbol(BASE, KINDS[kind])
    assert drawn.designator == f"{version}-M"
    assert drawn.symbol_size(border=0) == (17 + 4 * version, 17 + 4 * version)


@pytest.mark.parametrize("kind", ["product", "lot", "item"])
def test_two_segments_are_smaller_than_one(kind: str) -> None:
    """In byte mode alone the symbol would be larger: capitals allow an alphanumeric segment."""
    whole = segno.make(BASE + KINDS[kind].path, error="m", boost_error=False, micro=False)
    assert qr.symbol(BASE, KINDS[kind]).version < whole.version


@pytest.mark.parametrize("kind", KINDS)
def test_the_vector_drawing_has_the_same_modules(kind: str) -> None:
    """The path in the SVG, drawn by hand, is read back; its size is in millimetres with a quiet zone of four."""
    drawn = qr.symbol(BASE, KINDS[kind])
    root = ET.fromstring(qr.svg(drawn, module=0.5))  # noqa: S314 - our own drawing
    size = drawn.symbol_size(border=4)[0]
    assert root.attrib["width"] == f"{size * 0.5:g}mm"
    assert _read(_drawn(root, size)) == BASE + KINDS[kind].path


def _drawn(root: ET.Element, size: int) -> Image.Image:
    """Segno's strokes: `M x y`, `h length` and `m dx dy`, each stroke one module high."""
    (path,) = root.iter("{http://www.w3.org/2000/svg}path")
    image = Image.new("L", (size * 4, size * 4), 255)
    pen, x, y = ImageDraw.Draw(image), 0.0, 0.0
    for command, numbers in re.findall(r"([Mmhl])([^Mmhl]*)", path.attrib["d"]):
        values = [float(number) for number in re.findall(r"-?[0-9.]+", numbers)]
        if command == "h":
            pen.rectangle((x * 4, (y - 0.5) * 4, (x + values[0]) * 4 - 1, (y + 0.5) * 4 - 1), fill=0)
            x += values[0]
        elif command == "M":
            x, y = values
        else:
            x, y = x + values[0], y + values[1]
    return image


def test_the_terminal_drawing_has_the_same_modules() -> None:
    """The half blocks have the same modules as the picture."""
    drawn = qr.symbol(BASE, KINDS["compact"])
    pairs = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    rows: list[list[int]] = []
    for line in qr.text(drawn).splitlines():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        rows += [[pairs[character][half] for character in plain] for half in (0, 1)]
    image = Image.new("L", (len(rows[0]), len(rows)))
    image.putdata([value for row in rows for value in row])
    larger = image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)
    assert _read(larger) == BASE + KINDS["compact"].path
