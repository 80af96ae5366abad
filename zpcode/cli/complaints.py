"""`zpcode complaints list|show|assign|start|answer|close|refuse`: the desk, on the command line.

Whoever has the command line is the operator; the audit log keeps the system user's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from zpcode.cli.connections import database, operator
from zpcode.cli.status import shown_time
from zpcode.rules.complaints.complaint import STATES, STEPS, Complaint, ComplaintState, ComplaintStep, StepRequest
from zpcode.rules.paging import MAX_PAGE
from zpcode.rules.regions import region_name
from zpcode.services import complaints
from zpcode.settings import load

app = typer.Typer(add_completion=False, no_args_is_help=True)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="编号 / number, as TS-20261121-7K3Q9D2")]
Public = Annotated[
    str, typer.Option("--text", help="公开答复，投诉人可见 / PUBLIC words: whoever complained reads them")
]


@app.command("list")
def list_(
    *,
    state: Annotated[ComplaintState | None, typer.Option(help="只看这个状态 / only those in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="最多件数 / at most")] = 50,
) -> None:
    """列出投诉，新的在前。Complaints, newest first."""
    with database(load()) as engine:
        for found in complaints.listing(engine, operator(), state=state, limit=limit):
            typer.echo(line(found))


@app.command()
def show(
    number: Number,
    *,
    photos: Annotated[
        Path | None, typer.Option(help="把照片存到此目录 / folder to write the photos to", file_okay=False, exists=True)
    ] = None,
) -> None:
    """查看一件投诉，含联系方式与办理过程。One complaint, with contact and steps."""
    with database(load()) as engine:
        found = complaints.read(engine, number, operator())
        for text in whole(found):
            typer.echo(text)
        if photos is not None:
            for position in range(1, found.photos + 1):
                target = photos / f"{found.number}-{position}.jpg"
                target.touch(mode=0o600)
                target.write_bytes(complaints.photo(engine, found.number, position, operator()))
                typer.echo(str(target))


@app.command()
def assign(
    number: Number, region: Annotated[str, typer.Argument(metavar="REGION", help="行政区划 / GB/T 2260, 6 digits")]
) -> None:
    """分派到某区域的受理部门。Hand it to the office of a region."""
    _take(number, StepRequest(ComplaintStep.ASSIGN, region=region))


@app.command()
def start(number: Number) -> None:
    """开始办理。Begin to work on it."""
    _take(number, StepRequest(ComplaintStep.START))


@app.command()
def answer(number: Number, *, text: Public) -> None:
    """公开答复投诉人。Answer whoever complained."""
    _take(number, StepRequest(ComplaintStep.ANSWER, text))


@app.command()
def close(number: Number, *, text: Public) -> None:
    """办结。Close it."""
    _take(number, StepRequest(ComplaintStep.CLOSE, text))


@app.command()
def refuse(number: Number, *, text: Public) -> None:
    """不予受理，并说明理由。Refuse it, and say why."""
    _take(number, StepRequest(ComplaintStep.REFUSE, text))


def _take(number: str, request: StepRequest) -> None:
    with database(load()) as engine:
        typer.echo(line(complaints.take(engine, number, request, caller=operator(), now=datetime.now(UTC))))


def line(found: Complaint) -> str:
    """A complaint as one line: nothing somebody wrote is in it."""
    state = STATES[found.state]
    parts = (found.number, shown_time(found.received_at), f"{state.zh} {state.en}", found.form.kind.value, found.region)
    return "  ".join((*parts, found.gtin or "-"))


def whole(found: Complaint) -> Iterator[str]:
    """A complaint line by line; what somebody wrote comes without control characters, indented."""
    form = found.form
    yield line(found)
    yield f"  {region_name(found.region).zh}  USCC {found.uscc or '-'}  {found.proof.value}  {form.code or '-'}"
    yield f"  联系方式 / contact: {form.contact or '-'}  照片 / photos: {found.photos}  购买地 / bought: {form.place or '-'}"
    yield from (f"  | {part}" for part in form.description.split("\n"))
    for event in found.events:
        step = STEPS[event.step]
        to = f" → {event.region}" if event.region else ""
        yield f"  {shown_time(event.at)}  {step.zh} / {step.en}{to}  {event.authority.zh}"
        yield from (f"    | {part}" for part in event.text.split("\n") if event.text)
