"""`zpcode audit verify` and `zpcode audit show`: the audit log.

Exit status of `verify`: 0 the chain is complete, 1 an entry was changed or is missing.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from zpcode.cli.connections import database
from zpcode.cli.output import to_second
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
        str, typer.Option(help="以前记下的末条哈希（64 位十六进制） / head hash written down earlier, 64 hex digits")
    ] = "",
    expect_count: Annotated[int, typer.Option(min=0, help="当时的条数 / number of entries at that time")] = 0,
) -> None:
    """核对审计日志的哈希链。Verify the hash chain. Write its head down elsewhere: only then a missing end is noticed."""
    with database(load()) as engine:
        result = audit.verify(engine, expect_head=_hash(expect_head), expect_count=expect_count)
    typer.echo(f"已核对 / entries verified: {result.count}\n末条哈希 / head: {result.head.hex()}")
    if result.broken is not None:
        typer.echo(_break_line(result.broken), err=True)
    if result.cut:
        typer.echo("以前记下的条目已不在链上 / the entry written down earlier is no longer in the chain", err=True)
    if not result.whole:
        raise typer.Exit(1)


def _hash(text: str) -> bytes | None:
    if not text:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("--expect-head: 64 位十六进制 / 64 hex digits")
    return digest


def _break_line(broken: Break) -> str:
    """Where and how the chain is broken."""
    zh, en = _BREAKS[broken.kind]
    return f"{zh.format(id=broken.id)} / {en.format(id=broken.id)}"


@app.command()
def show(
    object_: Annotated[
        str,
        typer.Option("--object", help="只看这个对象，如 code:7:12 / only entries about this object, e.g. code:7:12"),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=audit.MAX_SHOWN, help="最多条数 / number of entries, at most")] = 20,
) -> None:
    """查看审计日志，新的在前。Show entries of the audit log, newest first."""
    with database(load()) as engine:
        entries = audit.show(engine, object_, limit)
    for entry in entries:
        detail = json.dumps(entry.detail, ensure_ascii=False, sort_keys=True)
        typer.echo(f"{entry.id}  {to_second(entry.at)}  {entry.actor}  {entry.action}  {entry.object}  {detail}")
