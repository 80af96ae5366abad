"""Where a page finds the pictures of a product; the files themselves are `scanweb.http.pictures`."""

from __future__ import annotations

from zpcode.wire.card import PICTURES, Picture, picture_name


def address(picture: Picture, width: int, form: str) -> str:
    """The path of one file of a picture; `form` is `webp` or `jpg`."""
    return PICTURES + picture_name(picture.digest, width, form)


def srcset(picture: Picture, form: str) -> str:
    """Every width of a picture in a form, as `srcset` has it: `/pictures/…-160.webp 160w, …`."""
    return ", ".join(f"{address(picture, width, form)} {width}w" for width in picture.widths)


def source(picture: Picture, width: int = 320) -> str:
    """The JPEG for `src`: of this width, or the nearest there is."""
    return address(picture, min(picture.widths, key=lambda one: (abs(one - width), one)), "jpg")
