"""`zpcode complaints list|show|assign|start|answer|close|refuse`: work on complaints from the command line.

Who runs these commands acts as the operator. The audit log records the login name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from keys.files import replace_file
from zpcode.cli.connections import database, operator
from zpcode.cli.output import to_second
from zpcode.rules.complaints.complaint import (
    OVER_BUDGET,
    STATES,
    STEPS,
    Complaint,
    ComplaintState,
    ComplaintStep,
    StepRequest,
)
from zpcode.rules.paging import MAX_PAGE
from zpcode.rules.regions import region_name
from zpcode.services import complaints
from zpcode.settings import load

app = typer.Typer(add_completion=False, no_args_is_help=True)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="编号 / number, e.g. TS-20261121-7K3Q9D2")]
Public = Annotated[str, typer.Option("--text", help="公开答复，投诉人可见 / PUBLIC answer: the complainant reads it")]


@app.command("list")
def list_(
    *,
    state: Annotated[ComplaintState | None, typer.Option(help="只看这个状态 / only complaints in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="最多件数 / number of complaints, at most")] = 50,
) -> None:
    """列出投诉，新的在前。List complaints, newest first."""
    with database(load()) as engine:
        for complaint in complaints.listing(engine, operator(), state=state, limit=limit):
            typer.echo(line(complaint))


@app.command()
def show(
    number: Number,
    *,
    photos: Annotated[
        Path | None, typer.Option(help="把照片存到此目录 / folder to write the photos to", file_okay=False, exists=True)
    ] = None,
) -> None:
    """查看一件投诉，含联系方式与办理过程。Show a complaint with its contact and all steps."""
    with database(load()) as engine:
        complaint = complaints.read(engine, number, operator())
        for text in whole(complaint):
            typer.echo(text)
        if photos is not None:
            for position in range(1, complaint.photos + 1):
                target = photos / f"{complaint.number}-{position}.jpg"
                replace_file(target, complaints.photo(engine, complaint.number, position, operator()), 0o600)
                typer.echo(str(target))


@app.command()
def assign(
    number: Number, region: Annotated[str, typer.Argument(metavar="REGION", help="行政区划 / GB/T 2260, 6 digits")]
) -> None:
    """分派到某区域的受理部门。Assign it to the office of a region."""
    _take(number, StepRequest(ComplaintStep.ASSIGN, region=region))


@app.command()
def start(number: Number) -> None:
    """开始办理。Start to work on it."""
    _take(number, StepRequest(ComplaintStep.START))


@app.command()
def answer(number: Number, *, text: Public) -> None:
    """公开答复投诉人。Answer the complainant."""
    _take(number, StepRequest(ComplaintStep.ANSWER, text))


@app.command()
def close(number: Number, *, text: Public) -> None:
    """办结。Close it."""
    _take(number, StepRequest(ComplaintStep.CLOSE, text))


@app.command()
def refuse(number: Number, *, text: Public) -> None:
    """不予受理，并说明理由。Refuse it, with the reason."""
    _take(number, StepRequest(ComplaintStep.REFUSE, text))


def _take(number: str, request: StepRequest) -> None:
    with database(load()) as engine:
        typer.echo(line(complaints.take(engine, number, request, caller=operator(), now=datetime.now(UTC))))


def line(complaint: Complaint) -> str:
    """A complaint as one line, without any text of the complainant."""
    state, kind = STATES[complaint.state], complaint.form.kind.value
    parts = (complaint.number, to_second(complaint.received_at), f"{state.zh} {state.en}", kind, complaint.region)
    mark = (f"{OVER_BUDGET.zh} {OVER_BUDGET.en}",) if complaint.over_budget else ()
    return "  ".join((*parts, complaint.gtin or "-", *mark))


def whole(complaint: Complaint) -> Iterator[str]:
    """A complaint line by line. Texts of people are indented; they have no control characters."""
    form = complaint.form
    yield line(complaint)
    yield f"  {region_name(complaint.region).zh}  USCC {complaint.uscc or '-'}  {complaint.proof.value}  {form.code or '-'}"
    yield f"  联系方式 / contact: {form.contact or '-'}  照片 / photos: {complaint.photos}  购买地 / bought: {form.place or '-'}"
    yield from (f"  | {part}" for part in form.description.split("\n"))
    for event in complaint.events:
        step = STEPS[event.step]
        to = f" → {event.region}" if event.region else ""
        yield f"  {to_second(event.at)}  {step.zh} / {step.en}{to}  {event.authority.zh}"
        yield from (f"    | {part}" for part in event.text.split("\n") if event.text)
