"""`zpcode audit verify`, `zpcode audit show` and `zpcode audit adopt`: the audit log.

Exit status of `verify`: 0 nothing speaks against the log; 1 an entry or an API key was changed, is missing or is not in the log, or
the signing log was changed; 3 nothing speaks against the log, but not all countersignatures could be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zpcode.cli.connections import countersigned_heads, database, operator
from zpcode.cli.output import to_second
from zpcode.errors import Text, ZpError
from zpcode.rules.record_digest import RECORDS
from zpcode.services import audit
from zpcode.services.audit import Verification
from zpcode.services.fsck.chain import KEY_FINDINGS, signing_log_fault
from zpcode.services.head_comparison import HeadReport
from zpcode.services.records import adopt as records
from zpcode.settings import load

app = typer.Typer(add_completion=False, no_args_is_help=True)
_SHOWN_DIGESTS: Final = 5
NOT_COMPARED: Final = 3
"""Exit status of `verify`: a keyring, a file of heads or a signer could not be read."""

_BREAKS = {
    "gap": ("第 {id} 条缺失", "entry {id} is missing"),
    "previous": ("第 {id} 条与前一条不相连", "entry {id} does not follow the one before it"),
    "hash": ("第 {id} 条被改动", "entry {id} was changed"),
    "rewritten": (
        "第 {id} 条与会签不符：日志被改写",
        "entry {id} is not the countersigned one: the log was written again",
    ),
    "cut": ("第 {id} 条曾会签，现已不在：末尾被删去", "entry {id} was countersigned and is gone: the end was removed"),
}


@app.command()
def verify(
    expect_head: Annotated[
        str, typer.Option(help="以前记下的末条哈希（64 位十六进制） / head hash written down earlier, 64 hex digits")
    ] = "",
    expect_count: Annotated[int, typer.Option(min=0, help="当时的条数 / number of entries at that time")] = 0,
    signing_log: Annotated[
        list[Path] | None,
        typer.Option(
            help="已轮换的签名日志文件，按先后，可重复 / a file of the signing log that was rotated away; repeat it, oldest first"
        ),
    ] = None,
) -> None:
    """核对审计日志：哈希链、会签、访问密钥。Verify the audit log: its hash chain, its countersignatures, the API keys."""
    settings = load()
    heads, problems = None, []
    try:
        heads = countersigned_heads(settings, signing_log or ())
    except ZpError as error:
        problems.append(error.text)
    with database(settings) as engine:
        result = audit.verify(engine, heads=heads, expect_head=_hash(expect_head), expect_count=expect_count)
    problems += result.heads.problems
    typer.echo(f"已核对 / entries verified: {result.chain.count}\n末条哈希 / head: {result.chain.head.hex()}")
    for line in _countersigned_lines(result.heads):
        typer.echo(line)
    for line in (*_doubt_lines(result.heads, problems), *_wrong_lines(result)):
        typer.echo(line, err=True)
    if not result.whole:
        raise typer.Exit(1)
    if problems:
        raise typer.Exit(NOT_COMPARED)


def _countersigned_lines(heads: HeadReport) -> Iterator[str]:
    """How far the log is countersigned, and what was read of the signer's log."""
    if heads.newest is None:
        yield "没有会签：日志末尾被删或整体被改写时无法发现 / no countersignature: a removed end or a new chain is not noticed"
    else:
        at = to_second(datetime.fromtimestamp(heads.newest.at, UTC))
        yield f"会签至 / countersigned up to: {heads.newest.id}  {at}"
    yield f"已核对签名日志 / lines of the signing log verified: {heads.log_lines}"
    if heads.log_continues:
        zh = "签名日志接续更早的文件：请按先后以 --signing-log 给出，一并核对"
        en = "the signing log continues an earlier file: give all of them, oldest first, with --signing-log"
        yield f"{zh} / {en}"


def _doubt_lines(heads: HeadReport, problems: list[Text]) -> Iterator[str]:
    """What could not be compared, and what proves nothing."""
    for problem in problems:
        yield f"{problem.zh} / {problem.en}"
    if problems:
        yield "会签没有全部核对 / not all countersignatures were compared"
    if heads.unsigned or heads.revoked:
        zh = f"会签文件中有 {heads.unsigned} 行不是签名服务会签的，{heads.revoked} 个会签所用的密钥已撤销"
        en = f"{heads.unsigned} lines are not signed by the signer, {heads.revoked} heads are under a revoked key"
        yield f"{zh} / {en}"


def _wrong_lines(result: Verification) -> Iterator[str]:
    """Everything that speaks against the log, a line each."""
    if (broken := result.chain.broken) is not None:
        yield _line(broken.kind, broken.id)
    for contradiction in result.heads.contradicted:
        yield _line(contradiction.kind, contradiction.id)
    if (fault := result.heads.log_fault) is not None:
        text = signing_log_fault(fault)
        yield f"{text.zh} / {text.en}"
        yield "以 --signing-log 给出文件时，须按先后、无缺漏 / files in --signing-log must be given oldest first, none left out"
    for mismatch in result.keys:
        zh, en = KEY_FINDINGS[mismatch.kind]
        yield f"访问密钥 {mismatch.key_id}：{zh} / API key {mismatch.key_id}: {en}"
    if result.cut:
        yield "以前记下的条目已不在链上 / the entry written down earlier is no longer in the chain"


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


def _line(kind: str, number: int) -> str:
    zh, en = _BREAKS[kind]
    return f"{zh.format(id=number)} / {en.format(id=number)}"


@app.command()
def show(
    object_: Annotated[
        str,
        typer.Option("--object", help="只看这个对象，如 code:7:12 / only entries about this object, e.g. code:7:12"),
    ] = "",
    record: Annotated[
        str,
        typer.Option(
            help="只看登记过这条记录的条目，如 certificate:ZM-1 / only entries that recorded this record, e.g. certificate:ZM-1"
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=audit.MAX_SHOWN, help="最多条数 / number of entries, at most")] = 20,
) -> None:
    """查看审计日志，新的在前。Show entries of the audit log, newest first."""
    if object_ and record:
        raise typer.BadParameter("--object 与 --record 只能给出一个 / give --object or --record, not both")
    with database(load()) as engine:
        entries = audit.show_record(engine, record, limit) if record else audit.show(engine, object_, limit)
    for entry in entries:
        detail = json.dumps(_shown(entry.detail), ensure_ascii=False, sort_keys=True)
        typer.echo(f"{entry.id}  {to_second(entry.at)}  {entry.actor}  {entry.action}  {entry.object}  {detail}")


def _shown(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail of an entry; of many digests only how many there are."""
    records = detail.get(RECORDS, {})
    return detail if len(records) <= _SHOWN_DIGESTS else detail | {RECORDS: len(records)}


@app.command()
def adopt(
    record: Annotated[
        list[str] | None,
        typer.Option(
            help="只登记这条与日志不符的记录，可重复；须给出 --reason / only this record, which differs; may be repeated; needs --reason"
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="为何认可现有内容 / why the stored content is right")] = "",
) -> None:
    """把现有记录的摘要登记到审计日志：升级之后一次。Enter the digests of stored records into the audit log: once after an upgrade."""
    with database(load()) as engine:
        now = datetime.now(UTC)
        if record:
            count = records.adopt_named(engine, record, reason, caller=operator(), now=now)
        else:
            count = records.adopt_uncovered(engine, caller=operator(), now=now)
    typer.echo(f"已登记的摘要 / digests entered: {count}")
