"""An accepted picture: upright, sRGB, on white, in several widths, without metadata."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from tests.support.pictures import drawn, encoded, jpeg
from zpcode.services.pictures.encode import WIDTHS, EncodedPicture, encode_picture
from zpcode.wire.card import picture_name


def _largest(encoded_picture: EncodedPicture, form: str = "webp") -> Image.Image:
    picture = encoded_picture.picture
    return Image.open(BytesIO(encoded_picture.files[picture_name(picture.digest, picture.widths[-1], form)]))


def _color(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    pixel = image.convert("RGB").getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(pixel, tuple)
    return pixel


def _near(one: tuple[int, ...], other: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def _halves(left: str, right: str, size: tuple[int, int] = (400, 300)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(Image.new("RGB", (size[0] // 2, size[1]), right), (size[0] // 2, 0))
    return image


def test_it_comes_in_every_width_that_it_has_in_both_forms() -> None:
    encoded_picture = encode_picture(jpeg(1200, 900))
    picture = encoded_picture.picture
    assert (picture.width, picture.height, picture.widths) == (960, 720, WIDTHS)
    assert set(encoded_picture.files) == {
        picture_name(picture.digest, width, form) for width in WIDTHS for form in ("webp", "jpg")
    }
    for name, data in encoded_picture.files.items():
        with Image.open(BytesIO(data)) as image:
            assert image.format == ("WEBP" if name.endswith("webp") else "JPEG")
            assert image.size == (int(name.split("-")[1].split(".")[0]), image.width * 3 // 4)


@pytest.mark.parametrize(
    ("width", "widths"), [(960, (160, 320, 640, 960)), (959, (160, 320, 640)), (160, (160,)), (100, (100,))]
)
def test_it_is_never_enlarged(width: int, widths: tuple[int, ...]) -> None:
    picture = encode_picture(jpeg(width, 120)).picture
    assert picture.widths == widths
    assert picture.width == widths[-1]


def test_its_name_is_its_content() -> None:
    one, again, other = encode_picture(jpeg()), encode_picture(jpeg()), encode_picture(jpeg(seed=2))
    assert one == again
    digest = one.picture.digest
    assert digest == hashlib.sha256(one.files[picture_name(digest, 320, "webp")]).hexdigest()[:32]
    assert other.picture.digest != digest


@settings(max_examples=25)
@given(
    width=st.integers(32, 700),
    height=st.integers(70, 320),
    form=st.sampled_from([("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "1"), ("PNG", "I;16"), ("WEBP", "RGB"), ("WEBP", "RGBA")]),
    seed=st.integers(0, 50),
)  # fmt: skip
def test_every_picture_comes_out_as_plain_rgb(width: int, height: int, form: tuple[str, str], seed: int) -> None:
    source = drawn(width, height, seed=seed)
    source = source.convert("I").convert("I;16") if form[1] == "I;16" else source.convert(form[1])
    encoded_picture = encode_picture(encoded(source, form[0]))
    assert encoded_picture.files
    for name, data in encoded_picture.files.items():
        with Image.open(BytesIO(data)) as image:
            image.load()
            assert image.mode == "RGB", name
            assert not image.info.keys() & {"exif", "icc_profile", "xmp", "comment", "XML:com.adobe.xmp", "photoshop"}
            assert not dict(image.getexif())
            assert b"Exif" not in data
            assert image.width in encoded_picture.picture.widths
            assert abs(image.height * width - height * image.width) <= image.width + width


@pytest.mark.parametrize(("orientation", "red_at"), [
    (1, (0.1, 0.5)), (2, (0.9, 0.5)), (3, (0.9, 0.5)), (4, (0.1, 0.5)),
    (5, (0.5, 0.1)), (6, (0.5, 0.1)), (7, (0.5, 0.9)), (8, (0.5, 0.9)),
])  # fmt: skip
def test_it_is_turned_as_the_camera_was_held(orientation: int, red_at: tuple[float, float]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = _largest(encode_picture(encoded(_halves("red", "blue"), exif=exif, quality=95)))
    assert (image.width > image.height) == (orientation < 5)
    assert _near(_color(image, *red_at), (254, 0, 0))
    assert _near(_color(image, 1 - red_at[0], 1 - red_at[1]), (0, 0, 254))


def test_where_and_with_what_it_was_taken_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8825] = "SECRETCAMERA", {1: "N", 2: (30.0, 16.0, 27.0)}
    data = encoded(
        drawn(),
        exif=exif,
        comment=b"SECRETCOMMENT",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", "SECRETAUTHOR")
    for source in (data, encoded(drawn(), "PNG", pnginfo=notes), encoded(drawn(), "WEBP", exif=exif, xmp=b"SECRETXMP")):
        assert b"SECRET" in source
        for out in encode_picture(source).files.values():
            assert b"SECRET" not in out
            assert b"ICC" not in out


def test_what_hides_behind_or_in_a_picture_does_not_come_out() -> None:
    html = b"<html><script>alert(1)</script></html>"
    for data in (jpeg() + html, encoded(drawn(), comment=html), encoded(drawn(), "PNG") + html):
        assert all(b"script" not in out for out in encode_picture(data).files.values())


def test_colours_of_another_profile_are_converted() -> None:
    """A profile with red and blue swapped: a reader that dropped it would show the other colour."""
    swapped = _swapped_srgb()
    with_profile = encode_picture(encoded(Image.new("RGB", (200, 200), "red"), "PNG", icc_profile=swapped))
    without = encode_picture(encoded(Image.new("RGB", (200, 200), "red"), "PNG"))
    assert _near(_color(_largest(without), 0.5, 0.5), (254, 0, 0))
    assert _near(_color(_largest(with_profile), 0.5, 0.5), (0, 0, 254), by=20)


def _swapped_srgb() -> bytes:
    """An sRGB profile whose red and blue primaries have changed places: the tags rXYZ and bXYZ point to each other's data."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    at = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, blue = at[b"rXYZ"], at[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("profile", [b"", b"rubbish" * 40])
def test_a_broken_profile_is_no_reason_to_refuse(profile: bytes) -> None:
    image = _largest(encode_picture(encoded(_halves("red", "blue"), "PNG", icc_profile=profile)))
    assert _near(_color(image, 0.1, 0.5), (254, 0, 0))


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (200, 200), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 100, 200))
    for data in (encoded(clear, "PNG"), encoded(clear, "WEBP", lossless=True)):
        for form in ("webp", "jpg"):
            image = _largest(encode_picture(data), form)
            assert _near(_color(image, 0.9, 0.5), (255, 255, 255))
            assert _near(_color(image, 0.1, 0.5), (0, 0, 254))


def test_sixteen_bits_of_grey_are_not_all_white() -> None:
    image = _largest(encode_picture(encoded(Image.new("I;16", (200, 200), 0x8000), "PNG")))
    assert _near(_color(image, 0.5, 0.5), (128, 128, 128))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_shown(form: str) -> None:
    frames = [Image.new("RGB", (200, 200), color) for color in ("red", "blue", "lime")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    assert _near(_color(_largest(encode_picture(data)), 0.5, 0.5), (254, 0, 0))


def test_a_large_photograph_is_taken() -> None:
    """Forty megapixels, as from a phone; it is decoded at reduced size."""
    encoded_picture = encode_picture(encoded(Image.new("RGB", (8000, 5000), "teal"), quality=30))
    assert (encoded_picture.picture.width, encoded_picture.picture.height) == (960, 600)


def test_the_demo_s_pictures_weigh_little() -> None:
    """Each picture at 320 pixels, the width for a phone, has less than 15 KB."""
    folder = files("zpcode.demo")
    registry: dict[str, Any] = json.loads(folder.joinpath("registry.json").read_text("utf-8"))
    named = {name for one in registry["products"] for name in (one["image"], one["mark"])}
    assert named == {one.name for one in folder.joinpath("pictures").iterdir()}
    for name in [*sorted(named)[::6], "scarf.webp"]:
        encoded_picture = encode_picture(folder.joinpath("pictures", name).read_bytes())
        assert len(encoded_picture.files[picture_name(encoded_picture.picture.digest, 320, "webp")]) < 15_000, name
