"""`zpcode import`: imports a registry file, checks it without writing, or writes a blank workbook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from zpcode.cli.connections import database, operator, project
from zpcode.cli.output import finding_line, withheld_lines
from zpcode.errors import ImportRefused, Refused, refusal
from zpcode.regular_files import any_file
from zpcode.rules.registry.changes import ImportReport
from zpcode.rules.registry.layout import SHEETS
from zpcode.services.pictures.import_ import ImportPictures, open_pictures
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry.files.archive import MAX_FILE, too_large
from zpcode.services.registry.files.template import template as blank_workbook
from zpcode.services.registry.importing import import_registry
from zpcode.settings import load

app = typer.Typer(add_completion=False)


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(help="登记文件 .xlsx 或 .json / registry file")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查，不写入 / check only, write nothing")] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="随附的图片 ZIP / ZIP with the pictures named in the file")
    ] = None,
    template: Annotated[Path | None, typer.Option(help="写出空白工作簿 / write a blank workbook to this file")] = None,
) -> None:
    """导入登记文件：全部正确才写入。Import a registry file: all of it, or nothing."""
    if template is not None:
        template.write_bytes(blank_workbook())
        typer.echo(f"模板已写入 / template written: {template}")
    if file is None and template is None:
        raise typer.BadParameter("FILE.xlsx, FILE.json 或 / or --template OUT.xlsx")
    if file is not None:
        _import(file, pictures, dry_run=dry_run)


def _import(file: Path, pictures: Path | None, *, dry_run: bool) -> None:
    settings = load()
    data = _contents(file)
    with database(settings) as engine, _uploaded(pictures, PictureStorage(settings.pictures_url)) as uploaded:
        try:
            report = import_registry(
                engine, data, actor=operator().name, now=datetime.now(UTC), dry_run=dry_run, pictures=uploaded
            )
        except ImportRefused as refused:
            typer.echo(f"{refused.text.zh}\n{refused.text.en}", err=True)
            for finding in refused.findings:
                typer.echo(finding_line(finding), err=True)
            raise typer.Exit(1) from None
        for line in summary(report):
            typer.echo(line)
        if not dry_run:
            project(engine, settings)


@contextmanager
def _uploaded(pictures: Path | None, storage: PictureStorage) -> Iterator[ImportPictures]:
    """The pictures in the ZIP, or none."""
    if pictures is None:
        yield ImportPictures(storage)
        return
    try:
        file = any_file(pictures)
    except OSError as error:
        raise _no_file(pictures) from error
    with file, open_pictures(storage, file) as uploaded:
        yield uploaded


def _no_file(file: Path) -> Refused:
    return refusal("no_file", f"无法读取文件 {file}", f"{file} cannot be read")


def _contents(file: Path) -> bytes:
    try:
        with any_file(file) as source:
            data = source.read(MAX_FILE + 1)
    except OSError as error:
        raise _no_file(file) from error
    if len(data) > MAX_FILE:
        raise too_large()
    return data


def summary(report: ImportReport) -> Iterator[str]:
    """An import line by line: the counts of each sheet, then every change with its old and new values."""
    if report.dry_run:
        yield "试运行，未写入任何内容 / dry run, nothing was written"
    for sheet in SHEETS:
        count = report.counts[sheet.plural]
        yield (
            f"{sheet.title}: 新增 new {count.new}, 更改 changed {count.changed}, "
            f"未变 unchanged {count.unchanged}, 移除 removed {count.removed}"
        )
    for change in report.changes:
        if change.kind != "new":
            yield f"  {change.entity} {change.key}: {change.kind}"
        for name, old, new in change.fields:
            yield f"    {name}: {_shown(old)} → {_shown(new)}"
    yield f"扫码页面有变化的产品 / products whose page changes: {len(report.cards)}"
    yield from withheld_lines(report.withheld)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
