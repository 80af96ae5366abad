"""The addresses of a product's pictures. The files are served by `scanweb.http.pictures`."""

from __future__ import annotations

from zpcode.wire.card import PICTURES, Picture, picture_name


def address(picture: Picture, width: int, form: str) -> str:
    """The path of one file of a picture; `form` is `webp` or `jpg`."""
    return PICTURES + picture_name(picture.digest, width, form)


def srcset(picture: Picture, form: str) -> str:
    """All widths of a picture in one form, for `srcset`: `/pictures/…-160.webp 160w, …`."""
    return ", ".join(f"{address(picture, width, form)} {width}w" for width in picture.widths)


def source(picture: Picture, width: int = 320) -> str:
    """The JPEG for `src`, with the available width nearest to `width`."""
    return address(picture, min(picture.widths, key=lambda one: (abs(one - width), one)), "jpg")
