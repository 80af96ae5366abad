"""`zpcode flag|suspend|recall|revoke|restore SCOPE TARGET --reason …`, and `zpcode reasons`.

Who runs these commands acts as the operator. The audit log records the login name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from zpcode.cli.connections import cache, database, operator
from zpcode.cli.output import finding_line, to_second
from zpcode.errors import ZpError
from zpcode.rules.status.decisions import ACTIONS, Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.rules.status.reasons import REASONS
from zpcode.services.status.change import ChangeResult, change_and_project
from zpcode.settings import load
from zpcode.wire.calendar import SHANGHAI
from zpcode.wire.vocabulary import Bilingual, Scope

app = typer.Typer(add_completion=False)

ScopeArgument = Annotated[
    Scope, typer.Argument(help="范围 / code, range, lot, batch, product, recognition, certificate, standard, …")
]
TargetArgument = Annotated[
    str, typer.Argument(help="对象 / printed code, BATCH:INDEX, batch, GTIN:LOT, GTIN, USCC or number")
]
Reason = Annotated[str, typer.Option(help="理由代码 / a slug listed by `zpcode reasons`")]
First = Annotated[str, typer.Option(help="号段首：序号或序列号 / first index or serial of a range")]
Last = Annotated[str, typer.Option(help="号段尾（含） / last index or serial of the range, inclusive")]
Basis = Annotated[str, typer.Option(help="法律依据 / legal basis")]
Note = Annotated[str, typer.Option(help="公开说明，消费者可见 / PUBLIC note in Chinese: consumers read it")]
NoteEn = Annotated[str, typer.Option(help="公开说明（英文） / public note in English")]
Notice = Annotated[str, typer.Option(help="公告文号 / number of the public notice")]
Effective = Annotated[
    str, typer.Option(help="生效时间 ISO 8601，未写时区按北京时间 / effective from; without a zone: Asia/Shanghai")
]


def _command(action: Action) -> Callable[..., None]:
    def decide(
        scope: ScopeArgument,
        target: TargetArgument,
        *,
        reason: Reason,
        first: First = "",
        last: Last = "",
        basis: Basis = "",
        note: Note = "",
        note_en: NoteEn = "",
        notice: Notice = "",
        effective: Effective = "",
    ) -> None:
        request = StatusRequest(
            scope,
            target,
            action,
            reason,
            first=first or None,
            last=last or None,
            legal_basis=basis,
            note=Bilingual(note, note_en),
            notice=notice,
            effective_at=moment(effective),
        )
        _decide(request)

    return decide


for _action in Action:
    app.command(_action.value, help=f"{ACTIONS[_action].zh}。{_action.value.capitalize()} codes, at any scope.")(
        _command(_action)
    )


@app.command()
def reasons() -> None:
    """列出全部理由及可用动作。List every reason and the actions it allows."""
    for reason in (one for one in REASONS.values() if one.actors):
        actions = ",".join(action for action in Action if action in reason.actions)
        typer.echo(f"{reason.slug:32} {actions:32} {reason.text.zh} / {reason.text.en}")


def _decide(request: StatusRequest) -> None:
    settings = load()
    with database(settings) as engine, cache(settings) as redis:
        try:
            done = change_and_project(engine, redis, request, caller=operator(), now=datetime.now(UTC))
        except ZpError as error:
            typer.echo(f"{error.text.zh}\n{error.text.en}", err=True)
            for finding in error.findings:
                typer.echo(finding_line(finding), err=True)
            raise typer.Exit(1) from None
    for line in summary(done):
        typer.echo(line)


def moment(text: str) -> datetime | None:
    """A time as typed, in Asia/Shanghai if it has no zone; None for an empty text. Raises typer.BadParameter."""
    if not text:
        return None
    try:
        typed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--effective: {text!r}: 2026-12-01T08:00") from None
    return typed if typed.tzinfo is not None else typed.replace(tzinfo=SHANGHAI)


def summary(done: ChangeResult) -> Iterator[str]:
    """A decision line by line."""
    change = done.change
    bounds = "" if change.first is None else f" [{change.first}–{change.last}]"
    verb = "此前已有相同决定，未作更改 / already decided, nothing changed" if change.repeated else "已记录 / recorded"
    yield f"{verb}: #{change.id} {change.action} {change.scope} {change.target}{bounds} → {change.state}"
    yield f"生效 / effective: {to_second(change.effective_at)}"
    if change.lifts is not None:
        yield f"解除的决定作出方 / lifts the decision of: {change.lifts}"
    if change.barred_until is not None:
        yield f"该企业可重新申请之日 / may apply again from: {change.barred_until}"
    if not done.projected:
        yield "缓存暂未更新，稍后自动同步 / Redis is not updated yet; the worker will do it"
