"""Encode an uploaded picture: decode it, turn it upright, and encode it in the sizes that are served.

Only the pixels are kept: no EXIF, location, comment or colour profile, and nothing after the end of the picture.
`encode_picture` runs libjpeg, libpng, libwebp and lcms on untrusted files, so services call it in a child process with
limits on memory and time (`zpcode.services.pictures.decoder`).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image, ImageCms

from zpcode.errors import Refused, refusal
from zpcode.services.pictures.sniff import cut_short, picture_header
from zpcode.services.pictures.structure import check_structure
from zpcode.wire.card import Picture, picture_name

MAX_BYTES: Final = 10 * 10**6
MAX_PIXELS: Final = 40 * 10**6
MAX_SIDE: Final = 12_000
MIN_SIDE: Final = 32
MAX_ASPECT: Final = 10
WIDTHS: Final = (160, 320, 640, 960)
FORMS: Final = ("webp", "jpg")
_RECIPE = b"zpcode picture 1\n"  # change this text with every change below that changes the encoded files
_SAVING: Final[dict[str, dict[str, object]]] = {
    "webp": {"format": "WEBP", "quality": 78, "method": 4},
    "jpg": {"format": "JPEG", "quality": 80, "optimize": True, "progressive": True, "subsampling": "4:2:0"},
}
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture and its files by name: every width in both formats."""

    picture: Picture
    files: dict[str, bytes]


def source_of(data: bytes) -> str:
    """Identifies an uploaded file and the way it is encoded: equal values mean equal pictures."""
    return hashlib.sha256(_RECIPE + data).hexdigest()


def encode_picture(data: bytes) -> EncodedPicture:
    """Encode the picture in a JPEG, PNG or WebP file of at most 10 MB, 40 megapixels and 12 000 pixels a side.

    Of an animation only the first frame is used. Raises Refused with one finding, which says what to do.
    """
    if len(data) > MAX_BYTES:
        raise too_large()
    header = picture_header(data)
    _check_size(*header.size)
    check_structure(data, header.form)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _decoded(data, header.form)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except Refused:
        raise
    except Exception as error:
        raise cut_short() from error  # every other error of a decoder means a damaged file
    return _encode_sizes(image)


def _check_size(width: int, height: int) -> None:
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise _too_many_pixels()
    if min(width, height) < MIN_SIDE:
        raise refusal(
            "too_small",
            f"图片宽或高不足 {MIN_SIDE} 像素（此图 {width}×{height}），请换一张较大的图片",
            f"the width or height of the picture is below {MIN_SIDE} pixels ({width}×{height}); send a larger one",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise refusal(
            "too_long_a_strip",
            f"图片长边超过短边的 {MAX_ASPECT} 倍（{width}×{height}），请裁剪后再试",
            f"the picture's longer side is more than {MAX_ASPECT} times the other ({width}×{height}); crop it",
        )


def _decoded(data: bytes, form: str) -> Image.Image:
    """The first frame in sRGB, upright, on white; only its pixels."""
    with Image.open(BytesIO(data), formats=(form,)) as image:
        _check_size(*image.size)
        turn = _UPRIGHT.get(_orientation(image))
        profile = image.info.get("icc_profile")
        if form == "JPEG":
            image.draft(image.mode, (2 * WIDTHS[-1], 2 * WIDTHS[-1]))  # libjpeg then decodes no more pixels than needed
        image.load()
        shown = _in_srgb(image, profile)
    shown = shown if turn is None else shown.transpose(turn)
    clean = Image.new("RGB", shown.size)
    clean.paste(shown)
    return clean


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - an unreadable EXIF block does not make the picture unreadable
        return 1


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as 8-bit RGB on white; colours are converted if there is a profile."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode.startswith("I;16") or image.mode == "I":
        image = (
            image.convert("I").point(lambda value: value / 256).convert("L")
        )  # otherwise all values above 255 would be white
    elif image.mode not in {"RGB", "L", "CMYK"}:
        image = image.convert("RGB")
    image = _converted(image, profile) if profile else image.convert("RGB")
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source_profile = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source_profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # a broken profile, or one for another colour model
        converted = None
    return image.convert("RGB") if converted is None else converted


def _encode_sizes(image: Image.Image) -> EncodedPicture:
    widths = tuple(width for width in WIDTHS if width <= image.width) or (image.width,)
    images = {width: _scaled(image, width) for width in widths}
    largest = images[widths[-1]]
    encoded = {(width, form): _encoded(image, form) for width, image in images.items() for form in FORMS}
    digest = _digest(encoded[widths[-1], "webp"])
    files = {picture_name(digest, width, form): data for (width, form), data in encoded.items()}
    return EncodedPicture(Picture(digest, largest.width, largest.height, widths), files)


def _digest(largest: bytes) -> str:
    return hashlib.sha256(largest).hexdigest()[:32]


def is_whole(encoded: EncodedPicture) -> bool:
    """Whether the files are those of the picture, by number, names, formats and widths, as `encode_picture` makes them."""
    picture, files = encoded.picture, encoded.files
    forms = {picture_name(picture.digest, width, form): (width, form) for width in picture.widths for form in FORMS}
    if not picture.widths or picture.widths[-1] != picture.width or files.keys() != forms.keys():
        return False
    try:
        headers = {forms[name]: picture_header(data) for name, data in files.items()}
    except Refused:
        return False
    return picture.digest == _digest(files[picture_name(picture.digest, picture.width, "webp")]) and all(
        (header.form, header.size[0]) == (_SAVING[form]["format"], width) for (width, form), header in headers.items()
    )


def _scaled(image: Image.Image, width: int) -> Image.Image:
    height = max(1, round(image.height * width / image.width))
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _encoded(image: Image.Image, form: str) -> bytes:
    target = BytesIO()
    image.save(target, **_SAVING[form])  # type: ignore[arg-type]
    return target.getvalue()


def too_large() -> Refused:
    """The refusal of a file above 10 MB."""
    return refusal(
        "too_large",
        f"图片文件超过 {MAX_BYTES // 10**6} MB，请缩小后再试",
        f"the picture's file is larger than {MAX_BYTES // 10**6} MB; make it smaller",
    )


def _too_many_pixels() -> Refused:
    megapixels, side = MAX_PIXELS // 10**6, f"{MAX_SIDE:,}".replace(",", " ")
    return refusal(
        "too_many_pixels",
        f"图片尺寸过大，最多 {megapixels} 百万像素、每边 {side} 像素；请缩小后再试（宽 1200 像素已足够）",
        f"the picture has too many pixels: at most {megapixels} million, {side} a side; make it smaller "
        "(1200 pixels wide are enough)",
    )
