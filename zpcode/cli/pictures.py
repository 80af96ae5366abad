"""`zpcode pictures clean-up`: removes pictures that no product uses, and reports pictures that are missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from zpcode.cli.connections import database
from zpcode.services.pictures import clean_up as service
from zpcode.services.pictures.storage import PictureStorage
from zpcode.settings import load

app = typer.Typer(add_completion=False, help="产品图片 / pictures of products", no_args_is_help=True)


@app.callback()
def pictures() -> None:
    """产品图片。Pictures of products."""


@app.command()
def clean_up(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只查看，不删除 / report only, remove nothing")] = False,
) -> None:
    """删除一天前存入且已无产品使用的图片文件，并报告缺失的文件。Remove unused pictures, report missing ones.

    Removes files that no product uses and that are older than a day. Exit status 1: a picture of a product is missing.
    """
    settings = load()
    storage = PictureStorage(settings.pictures_url)
    with database(settings) as engine:
        result = (service.compare if dry_run else service.clean_up)(engine, storage, now=datetime.now(UTC))
    size = sum(orphan.size for orphan in result.orphans)
    done = "可删除 / could be removed" if dry_run else "已删除 / removed"
    typer.echo(f"{done}: {len(result.orphans)} ({size / 10**6:.1f} MB); 保留 / kept: {result.kept}")
    for name in result.missing:
        typer.echo(f"缺失，请重新导入该产品的图片 / missing, import the product's picture again: {name}", err=True)
    if result.missing:
        raise typer.Exit(1)
