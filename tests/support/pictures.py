"""Made-up pictures: files in every form, and ZIPs of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw


def drawn(width: int = 400, height: int = 300, *, seed: int = 1, mode: str = "RGB") -> Image.Image:
    """A picture of stripes and a disc, different for each seed."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    pen = ImageDraw.Draw(image)
    for number in range(12):
        x = (number * 37 + seed * 53) % width
        pen.rectangle((x, 0, x + 9, height), fill=((seed * 91 + number * 20) % 256, (seed * 17) % 256, 120))
    pen.ellipse((width // 4, height // 4, width // 2, height // 2), fill=(200, 40, (seed * 29) % 256))
    return image.convert(mode)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file."""
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def jpeg(width: int = 400, height: int = 300, *, seed: int = 1) -> bytes:
    """A JPEG file."""
    return encoded(drawn(width, height, seed=seed))


def with_scans(data: bytes, scans: int, *, between: bytes = b"") -> bytes:
    """A progressive JPEG with this many scans: its last scan is repeated. `between` is put before each further scan."""
    marker, end = b"\xff\xda", data.rindex(b"\xff\xd9")
    last = data[data.rindex(marker) : end]
    return data[:end] + (between + last) * (scans - data.count(marker)) + data[end:]


def progressive(width: int = 400, height: int = 300, *, scans: int) -> bytes:
    """A progressive JPEG of one colour with this many scans: about 60 bytes each."""
    return with_scans(encoded(Image.new("RGB", (width, height), "teal"), progressive=True), scans)


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> BytesIO:
    """A ZIP with these files, to be read from its beginning."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    target.seek(0)
    return target
