"""Pictures with a registry file: all or nothing, refused with the row, kept if unchanged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, select
from typer.testing import CliRunner

from tests.support.pictures import jpeg, zipped
from tests.support.registry_data import as_json, as_xlsx, gtin, registry
from zpcode.cli.pictures import app as pictures_app
from zpcode.cli.registry import app as registry_app
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import ImportRefused, Unavailable
from zpcode.rules.registry.changes import ImportReport
from zpcode.services.pictures.clean_up import clean_up, compare, names
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.services.pictures.import_ import open_pictures
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry.importing import import_registry
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.store.tables import access
from zpcode.store.tables import registry as tables
from zpcode.wire.card import Picture, ProductCard, product_key

CUP, POT = jpeg(seed=1), jpeg(seed=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pictures lie."""
    return tmp_path / "pictures"


@pytest.fixture
def storage(folder: Path) -> PictureStorage:
    """The storage there."""
    return PictureStorage(folder.as_uri())


def content(image: str = "", mark: str = "") -> dict[str, list[dict[str, Any]]]:
    """A registry of one product that names these files."""
    changed = registry()
    changed["products"][0] |= {"image": image, "mark": mark}
    return changed


def bring_in(
    engine: Engine,
    storage: PictureStorage,
    data: bytes,
    files: Mapping[str, bytes] | None,
    now: datetime,
    *,
    dry_run: bool = False,
) -> ImportReport:
    """Import a registry file, with a ZIP or without."""
    with open_pictures(storage, None if files is None else zipped(files)) as pictures:
        return import_registry(engine, data, actor="cli:test", now=now, dry_run=dry_run, pictures=pictures)


def card(engine: Engine) -> ProductCard:
    """The product's card as a scan would read it."""
    with transaction(engine) as connection:
        (entry,) = cards.fetch(connection, [product_key(gtin())])
        return msgspec.msgpack.decode(entry.body, type=ProductCard)


def picture(engine: Engine) -> Picture:
    """The product's picture; there is one."""
    shown = card(engine).picture
    assert shown is not None
    return shown


def refused(
    engine: Engine, storage: PictureStorage, data: bytes, files: Mapping[str, bytes] | None, now: datetime
) -> list[tuple[str, str, str | None]]:
    """Reasons, places and values of a refused import."""
    with pytest.raises(ImportRefused) as error:
        bring_in(engine, storage, data, files, now)
    return [(one.reason, one.where, one.value) for one in error.value.findings]


def test_a_picture_and_a_mark_are_on_the_card_and_in_storage(
    engine: Engine, storage: PictureStorage, folder: Path, now: datetime
) -> None:
    report = bring_in(
        engine, storage, as_json(content("Cup.JPG", "logo/m.png")), {"a/cup.jpg": CUP, "logo/M.png": POT}, now
    )
    assert report.cards == (gtin(),)
    product = card(engine)
    assert product.picture is not None
    assert product.mark is not None
    assert product.picture != product.mark
    assert {one.name for one in folder.iterdir()} == {*names(product.picture), *names(product.mark)}
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o644}


def test_the_same_again_changes_nothing_and_encodes_nothing(
    engine: Engine, storage: PictureStorage, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    monkeypatch.setattr(PictureDecoder, "encode", lambda *_: pytest.fail("encoded again"))
    report = bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    assert (report.changes, report.cards) == ((), ())


def test_without_a_zip_pictures_whose_names_did_not_change_stay(
    engine: Engine, storage: PictureStorage, now: datetime
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg", "m.jpg")), {"cup.jpg": CUP, "m.jpg": POT}, now)
    before = card(engine)
    changed = content("cup.jpg", "m.jpg")
    changed["products"][0]["model"] = "QC-99"
    bring_in(engine, storage, as_json(changed), None, now)
    without = content()
    del without["products"][0]["image"], without["products"][0]["mark"]
    bring_in(engine, storage, as_json(without), None, now)
    assert (card(engine).picture, card(engine).mark) == (before.picture, before.mark)


def test_another_file_of_the_same_name_takes_its_place_and_a_blank_cell_takes_it_away(
    engine: Engine, storage: PictureStorage, now: datetime
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    before = picture(engine)
    report = bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": POT}, now)
    assert [field[0] for change in report.changes for field in change.fields] == ["image_developed"]
    assert picture(engine) != before
    bring_in(engine, storage, as_json(content("")), None, now)
    assert card(engine).picture is None


def test_missing_broken_and_wrong_files_are_reported_with_their_cells_and_nothing_is_written(
    engine: Engine, storage: PictureStorage, now: datetime
) -> None:
    files = {"cut.jpg": CUP[:3000], "page.jpg": b"<html>", "cup.jpg": CUP}
    assert refused(engine, storage, as_json(content("cut.jpg", "nothing.jpg")), files, now) == [
        ("broken", "/products/0/image", "cut.jpg"), ("picture_missing", "/products/0/mark", "nothing.jpg"),
    ]  # fmt: skip
    assert refused(engine, storage, as_json(content("page.jpg")), files, now)[0][:2] == (
        "not_a_picture",
        "/products/0/image",
    )
    assert refused(engine, storage, as_json(content("cup.jpg")), None, now)[0][0] == "picture_missing"
    assert (
        refused(engine, storage, as_json(content("https://elsewhere.example/cup.jpg")), files, now)[0][0] == "file_name"
    )
    ((reason, where, value),) = refused(engine, storage, as_xlsx(content("cut.jpg")), files, now)
    assert (reason, value) == ("broken", "cut.jpg")
    assert where.startswith("产品 Products, 第 2 行 row 2")
    assert "图片" in where
    with transaction(engine) as connection:
        assert connection.execute(select(tables.product.c.gtin)).scalars().all() == []
        assert connection.execute(select(access.audit.c.id)).scalars().all() == []


def test_a_broken_file_does_not_hide_behind_a_picture_that_stands(
    engine: Engine, storage: PictureStorage, now: datetime
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    findings = refused(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP[:2000]}, now)
    assert findings == [("broken", "/products/0/image", "cup.jpg")]


def test_a_dry_run_checks_pictures_and_writes_nothing(
    engine: Engine, storage: PictureStorage, folder: Path, now: datetime
) -> None:
    report = bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now, dry_run=True)
    assert report.cards == (gtin(),)
    assert not folder.exists() or list(folder.iterdir()) == []
    with pytest.raises(ImportRefused):
        bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP[:2000]}, now, dry_run=True)


def test_where_pictures_cannot_be_put_nothing_is_imported(engine: Engine, now: datetime) -> None:
    with pytest.raises(Unavailable):
        bring_in(engine, PictureStorage("file:///proc/nowhere"), as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    with transaction(engine) as connection:
        assert connection.execute(select(tables.product.c.gtin)).scalars().all() == []


def test_a_picture_lost_from_storage_is_stored_again(
    engine: Engine, storage: PictureStorage, folder: Path, now: datetime
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    for file in folder.iterdir():
        file.unlink()
    assert set(compare(engine, storage, now=datetime.now(UTC)).missing) == set(names(picture(engine)))
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    assert compare(engine, storage, now=datetime.now(UTC)).missing == ()


def test_unused_pictures_are_deleted_after_a_day(
    engine: Engine, storage: PictureStorage, folder: Path, now: datetime
) -> None:
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": CUP}, now)
    bring_in(engine, storage, as_json(content("cup.jpg")), {"cup.jpg": POT}, now)
    (folder / "README").write_text("somebody's own")
    shown = {*names(picture(engine)), "README"}
    today = datetime.now(UTC)
    assert clean_up(engine, storage, now=today).orphans == ()
    report = clean_up(engine, storage, now=today + timedelta(days=1, minutes=1))
    assert len(report.orphans) == 4
    assert {one.name for one in folder.iterdir()} == shown


def test_what_lies_for_long_is_made_young_when_it_is_put_again(storage: PictureStorage, folder: Path) -> None:
    """Otherwise the clean-up might delete as unused a file that a running import has just reused."""
    name = "0" * 32 + "-160.webp"
    storage.put({name: b"it"})
    long_ago = datetime.now(UTC).timestamp() - 80_000
    os.utime(folder / name, (long_ago, long_ago))
    storage.put({name: b"it"})
    assert (folder / name).stat().st_mtime > long_ago + 70_000


def test_the_command_line_takes_a_zip_and_cleans_up(
    addresses: ServerAddresses, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    monkeypatch.setenv("ZPCODE_HOME", str(tmp_path))
    file, upload = tmp_path / "registry.json", tmp_path / "pictures.zip"
    file.write_bytes(as_json(content("cup.jpg")))
    upload.write_bytes(zipped({"cup.jpg": CUP}).getvalue())
    run = CliRunner()
    result = run.invoke(registry_app, [str(file), "--pictures", str(upload)])
    assert result.exit_code == 0, result.output
    kept = sorted(one.name for one in (tmp_path / "pictures").iterdir())
    assert kept == sorted(names(picture(engine)))
    cleaned = run.invoke(pictures_app, ["clean-up"])
    assert cleaned.exit_code == 0, cleaned.output
    assert "removed: 0" in cleaned.output
    (tmp_path / "pictures" / kept[0]).unlink()
    cleaned = run.invoke(pictures_app, ["clean-up", "--dry-run"])
    assert cleaned.exit_code == 1
    assert kept[0] in cleaned.output
    assert isinstance(run.invoke(registry_app, [str(file), "--pictures", str(file)]).exception, ImportRefused)
