"""`zpcode journey import|list|withdraw`: the events of a batch or a lot from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from zpcode.cli.connections import database, operator, project
from zpcode.cli.output import to_minute
from zpcode.errors import Finding, Refused, Text
from zpcode.regular_files import any_file
from zpcode.rules import journey as rules
from zpcode.rules.journey import DAY, JourneyEvent, Subject
from zpcode.services.journey import events
from zpcode.services.journey.csv_import import MAX_BYTES, import_events
from zpcode.settings import load
from zpcode.wire.calendar import SHANGHAI
from zpcode.wire.gs1 import gtin14

app = typer.Typer(add_completion=False, no_args_is_help=True)
Batch = Annotated[int, typer.Option(min=0, help="批次序号 / batch number")]
Gtin = Annotated[str, typer.Option(help="商品条码 / GTIN")]
Lot = Annotated[str, typer.Option(help="批号 / lot (AI 10)")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="事件文件 .csv / file of events")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查，不写入 / check only, write nothing")] = False,
) -> None:
    """导入流转事件：全部正确才写入。Import events of batches and lots: all of them, or none."""
    settings = load()
    with any_file(file) as source:
        data = source.read(MAX_BYTES + 1)
    with database(settings) as engine:
        imported = import_events(engine, data, caller=operator(), now=datetime.now(UTC), dry_run=dry_run)
        if dry_run:
            typer.echo("试运行，未写入任何内容 / dry run, nothing was written")
        typer.echo(f"新增 new {len(imported.new)}, 已有 recorded before {len(imported.events) - len(imported.new)}")
        if not dry_run:
            project(engine, settings)


@app.command("list")
def list_(*, batch: Batch = 0, gtin: Gtin = "", lot: Lot = "") -> None:
    """列出一个批次或批号的事件。List the events of a batch (--batch) or a lot (--gtin, --lot)."""
    with database(load()) as engine:
        recorded = events.events(engine, _subject(batch, gtin, lot), operator())
    for line in _lines(recorded):
        typer.echo(line)


@app.command("withdraw")
def withdraw(
    event: Annotated[int, typer.Argument(min=1, help="事件编号 / id of the event")],
    *,
    reason: Annotated[str, typer.Option(help="原因 / reason")],
    batch: Batch = 0,
    gtin: Gtin = "",
    lot: Lot = "",
) -> None:
    """撤回一个事件，不再显示。Withdraw an event. It stays recorded and is no longer shown."""
    settings = load()
    with database(settings) as engine:
        subject = _subject(batch, gtin, lot)
        events.withdraw(engine, subject, event, reason, caller=operator(), now=datetime.now(UTC))
        project(engine, settings)
    typer.echo(f"事件 {event} 已撤回 / event {event} is withdrawn")


def _subject(batch: int, gtin: str, lot: str) -> Subject:
    if bool(batch) == bool(gtin or lot):
        text = Text("请给出 --batch，或 --gtin 和 --lot", "give --batch, or --gtin and --lot")
        raise Refused(text, (Finding("subject", text),))
    return Subject(batch) if batch else Subject(gtin=gtin14(gtin) or gtin, lot=lot)


def _lines(recorded: list[JourneyEvent]) -> Iterator[str]:
    standing = {event.id for event in rules.standing(recorded)}
    for event in recorded:
        when = f"{event.at.astimezone(SHANGHAI):%Y-%m-%d}" if event.precision == DAY else to_minute(event.at)
        mark = "" if event.id in standing else "已撤回 withdrawn" if event.withdrawn_at else "已更正 superseded"
        parts = (str(event.id), when, event.kind, event.place.zh, event.by.zh, event.note.zh, event.document, mark)
        yield "\t".join(parts).rstrip()
