"""Pictures on the scan service: exact names only, cacheable for ever, and never slowing down a scan."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scanweb.http.pictures import MEMORY, PictureFiles
from scanweb.page import picture_urls
from tests.support import scan_factories as make
from tests.support.pictures import jpeg
from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.pictures.encode import EncodedPicture, encode_picture
from zpcode.services.pictures.storage import PictureStorage
from zpcode.wire.card import Picture, picture_name


@pytest.fixture(scope="module")
def encoded_picture() -> EncodedPicture:
    """A picture of four widths."""
    return encode_picture(jpeg(1000, 750))


@pytest.fixture
def folder(tmp_path: Path, encoded_picture: EncodedPicture) -> Path:
    """A folder with that picture."""
    directory = tmp_path / "图片 pictures"
    PictureStorage(directory.as_uri()).put(encoded_picture.files)
    (directory / "secret.txt").write_text("secret")
    return directory


Response = tuple[int, dict[bytes, bytes], bytes]


async def _missing(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"missing"})


async def requested(files: PictureFiles, path: str, method: str = "GET", **headers: str) -> Response:
    """The response to one ASGI request."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": given}
    await files(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(one.get("body", b"") for one in sent[1:])


def request(files: PictureFiles, path: str, method: str = "GET", **headers: str) -> Response:
    """The same from synchronous code."""
    return asyncio.run(requested(files, path, method, **headers))


def files_at(folder: Path, **more: Any) -> PictureFiles:
    """The pictures of a folder."""
    return PictureFiles(folder.as_uri(), _missing, **more)


def test_every_width_is_served_in_both_forms_for_good(folder: Path, encoded_picture: EncodedPicture) -> None:
    files = files_at(folder)
    assert len(encoded_picture.files) == 8
    for name, data in encoded_picture.files.items():
        status, headers, body = request(files, f"/pictures/{name}")
        assert (status, body) == (200, data)
        assert headers[b"content-type"] == (b"image/webp" if name.endswith("webp") else b"image/jpeg")
        assert headers[b"cache-control"] == b"public, max-age=31536000, immutable"
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert headers[b"content-length"] == str(len(data)).encode()
        assert headers[b"etag"] == f'"{name}"'.encode()


def test_head_and_conditional_requests_get_no_body(folder: Path, encoded_picture: EncodedPicture) -> None:
    name, data = next(iter(encoded_picture.files.items()))
    files = files_at(folder)
    status, headers, body = request(files, f"/pictures/{name}", "HEAD")
    assert (status, headers[b"content-length"], body) == (200, str(len(data)).encode(), b"")
    for tags in (f'"{name}"', f'W/"{name}"', f'"other", "{name}"'):
        status, headers, body = request(files, f"/pictures/{name}", if_none_match=tags)
        assert (status, body) == (304, b"")
        assert headers[b"etag"] == f'"{name}"'.encode()
    assert request(files, f"/pictures/{name}", if_none_match='"other"')[0] == 200
    assert request(files, f"/pictures/{name}", "POST")[0] == 405


@pytest.mark.parametrize("name", [
    "", "secret.txt", "../secret.txt", "..%2fsecret.txt", "%2e%2e/keyring.json", "0" * 32 + "-160.gif",
    "0" * 31 + "-160.webp", "0" * 32 + "-0160.webp", "0" * 32 + "-160.webp/", "0" * 32 + "-160.webp%00", "A" * 32 + "-160.webp",
    "0" * 32 + "-160.webp\n", "0" * 32 + "-160.webp",
])  # fmt: skip
def test_what_is_no_picture_is_not_there(folder: Path, name: str) -> None:
    status, _, body = request(files_at(folder), f"/pictures/{name}")
    assert (status, body) == (404, b"missing")


def test_an_invalid_name_never_reaches_storage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_at(folder)
    monkeypatch.setattr(files, "_file", lambda _: pytest.fail("it was read"))
    assert request(files, "/pictures/secret.txt")[0] == 404


def test_cached_pictures_are_served_without_storage_and_the_cache_is_bounded(
    folder: Path, encoded_picture: EncodedPicture
) -> None:
    largest = max(map(len, encoded_picture.files.values()))
    files = files_at(folder, memory=2 * largest)
    for name in encoded_picture.files:
        request(files, f"/pictures/{name}")
        assert sum(map(len, files._in_memory.values())) <= 2 * largest
    assert 10 * largest <= MEMORY
    last = name
    for file in folder.iterdir():
        file.unlink()
    assert request(files, f"/pictures/{last}")[0] == 200
    assert {request(files, f"/pictures/{name}")[0] for name in encoded_picture.files} == {200, 404}


def test_a_crowd_reads_a_file_once(
    folder: Path, encoded_picture: EncodedPicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, data = next(iter(encoded_picture.files.items()))
    files = files_at(folder)
    readings: list[bytes] = []
    read = files._read

    async def counted(wanted: bytes) -> bytes | None:
        readings.append(wanted)
        return await read(wanted)

    monkeypatch.setattr(files, "_read", counted)

    async def crowd() -> list[Response]:
        return await asyncio.gather(*(requested(files, f"/pictures/{name}") for _ in range(50)))

    assert {(status, body) for status, _, body in asyncio.run(crowd())} == {(200, data)}
    assert readings == [name.encode()]


def test_storage_that_does_not_answer_gives_503_and_is_not_cached(
    folder: Path, encoded_picture: EncodedPicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(encoded_picture.files))
    files = files_at(folder, seconds=0.05)
    read = files._read

    async def stuck(_: bytes) -> bytes | None:
        await asyncio.sleep(600)
        return None

    monkeypatch.setattr(files, "_read", stuck)
    status, headers, _ = request(files, f"/pictures/{name}")
    assert (status, headers[b"cache-control"]) == (503, b"no-store")
    monkeypatch.setattr(files, "_read", read)
    assert request(files, f"/pictures/{name}")[0] == 200


def test_addresses_on_the_page_are_those_that_are_served(folder: Path, encoded_picture: EncodedPicture) -> None:
    picture = encoded_picture.picture
    for form in ("webp", "jpg"):
        parts = [part.split(" ") for part in picture_urls.srcset(picture, form).split(", ")]
        assert [width for _, width in parts] == [f"{width}w" for width in picture.widths]
        assert all(request(files_at(folder), address)[0] == 200 for address, _ in parts)
    assert picture_urls.source(picture).endswith("-320.jpg")
    assert picture_urls.source(Picture("0" * 32, 100, 100, (100,))).endswith("-100.jpg")


def test_the_scan_service_serves_them_and_says_in_the_usual_manner_what_is_not_there(
    addresses: ServerAddresses, registry: ScanAuthority, tmp_path: Path, encoded_picture: EncodedPicture
) -> None:
    storage = PictureStorage((tmp_path / "storage").as_uri())
    with ScanService(make.settings(addresses, registry.room, pictures=storage.url)) as service:
        name = picture_name(encoded_picture.picture.digest, 320, "webp")
        assert service.get(f"/pictures/{name}").status_code == 404  # before there is a folder
        storage.put(encoded_picture.files)
        response = service.get(f"/pictures/{name}")
        assert (response.status_code, response.content) == (200, encoded_picture.files[name])
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert service.get(f"/pictures/{name}", if_none_match=response.headers["etag"]).status_code == 304
        for path in ("/pictures/", "/pictures/x", f"/pictures/{'0' * 32}-160.webp"):
            missing = service.get(path)
            assert missing.status_code == 404
            assert missing.headers["cache-control"] == "no-store"
            assert missing.headers["content-type"].startswith("text/html")
