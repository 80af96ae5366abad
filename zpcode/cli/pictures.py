"""`zpcode pictures sweep`: what lies with the pictures and no product shows, and what is shown and not there."""

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
def sweep(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只查看，不删除 / look only, remove nothing")] = False,
) -> None:
    """删除一天前存入且已无产品使用的图片文件，并报告缺失的文件。Remove what no product shows.

    Remove files that no product shows and that were put more than a day ago; tell what is missing (then it ends with 1).
    """
    settings = load()
    shelf = PictureStorage(settings.pictures_url)
    with database(settings) as engine:
        found = (service.look if dry_run else service.take_away)(engine, shelf, now=datetime.now(UTC))
    size = sum(one.size for one in found.orphans)
    done = "可删除 / could be removed" if dry_run else "已删除 / removed"
    typer.echo(f"{done}: {len(found.orphans)} ({size / 10**6:.1f} MB); 保留 / kept: {found.kept}")
    for name in found.missing:
        typer.echo(f"缺失，请重新导入该产品的图片 / missing, import the product's picture again: {name}", err=True)
    if found.missing:
        raise typer.Exit(1)
