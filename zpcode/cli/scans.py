"""`zpcode scans drop`: drops the single scans of months that are long past."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

import typer

from zpcode.cli.connections import database, operator
from zpcode.services import scan_retention as service
from zpcode.settings import load

app = typer.Typer(add_completion=False, help="扫码记录 / stored scans", no_args_is_help=True)


@app.callback()
def scans() -> None:
    """扫码记录。Stored scans."""


@app.command()
def drop(
    *,
    before: Annotated[
        str, typer.Option(help="只涉及此月之前的各月，如 2026-01 / only the months before this one", metavar="MONTH")
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="删除；不加此项则只列出 / drop them; without this, only list them")
    ] = False,
) -> None:
    """按月列出指定月份之前的扫码记录；加 --apply 则永久删除。List the scans before a month, by month; with --apply, drop them for good.

    Histories of items keep their counts. Scans are kept for half a year after the end of their month.
    """
    month, caller, now = _month(before), operator(), datetime.now(UTC)
    with database(load()) as engine:
        listed = service.droppable(engine, month, caller=caller, now=now)
        for one in listed:
            count = service.drop(engine, one.month, caller=caller, now=now).scans if apply else one.scans
            done = "已删除 / dropped" if apply else "可删除 / could be dropped"
            typer.echo(f"{one.month:%Y-%m}\t{count}\t{done}")
    if not listed:
        typer.echo("没有更早的扫码记录 / there are no earlier scans")
    elif not apply:
        typer.echo("尚未删除任何记录；加 --apply 才会删除 / nothing was dropped; --apply drops them")


def _month(text: str) -> date:
    """The first day of a month. Raises typer.BadParameter."""
    try:
        return date.fromisoformat(f"{text}-01" if len(text) == len("2026-01") else "")
    except ValueError:
        raise typer.BadParameter("应为“年-月”，如 2026-01 / a month such as 2026-01", param_hint="--before") from None
