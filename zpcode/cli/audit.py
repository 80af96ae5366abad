"""`zpcode audit verify` and `zpcode audit show`: the log of everything that was decided.

Exit status of `verify`: 0 the chain is whole, 1 it is broken or cut.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from zpcode.cli.connections import database
from zpcode.cli.status import shown_time
from zpcode.rules.audit import Break
from zpcode.services import audit
from zpcode.settings import load

app = typer.Typer(add_completion=False, no_args_is_help=True)

_BREAKS = {
    "gap": ("第 {id} 条缺失", "entry {id} is missing"),
    "previous": ("第 {id} 条与前一条不相连", "entry {id} does not follow the one before it"),
    "hash": ("第 {id} 条被改动", "entry {id} was changed"),
}


@app.command()
def verify(
    expect_head: Annotated[
        str, typer.Option(help="以前记下的末条哈希（64 位十六进制） / head hash noted earlier, 64 hex digits")
    ] = "",
    expect_count: Annotated[int, typer.Option(min=0, help="当时的条数 / how many entries there were then")] = 0,
) -> None:
    """核对审计日志的哈希链。Walk the hash chain; note its head elsewhere, so that a cut at its end shows too."""
    with database(load()) as engine:
        found = audit.verify(engine, expect_head=_hash(expect_head), expect_count=expect_count)
    typer.echo(f"已核对 / entries that hold: {found.count}\n末条哈希 / head: {found.head.hex()}")
    if found.broken is not None:
        typer.echo(told(found.broken), err=True)
    if found.cut:
        typer.echo("以前记下的条目已不在链上 / what was noted earlier is no longer in the chain", err=True)
    if not found.whole:
        raise typer.Exit(1)


def _hash(text: str) -> bytes | None:
    if not text:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise typer.BadParameter("--expect-head: 64 位十六进制 / 64 hex digits")
    return found


def told(broken: Break) -> str:
    """Where a chain breaks, in two languages."""
    zh, en = _BREAKS[broken.kind]
    return f"{zh.format(id=broken.id)} / {en.format(id=broken.id)}"


@app.command()
def show(
    object_: Annotated[
        str, typer.Option("--object", help="只看这个对象，如 code:7:12 / only about this, as code:7:12")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=audit.MAX_SHOWN, help="最多条数 / at most")] = 20,
) -> None:
    """查看审计日志，新的在前。Show the newest entries of the audit log."""
    with database(load()) as engine:
        entries = audit.show(engine, object_, limit)
    for entry in entries:
        detail = json.dumps(entry.detail, ensure_ascii=False, sort_keys=True)
        typer.echo(f"{entry.id}  {shown_time(entry.at)}  {entry.actor}  {entry.action}  {entry.object}  {detail}")
