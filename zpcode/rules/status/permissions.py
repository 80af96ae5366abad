"""Who may flag, suspend, recall, revoke and restore, at which scope and for which reason; and the checks of a request.

Everything not in `MAY` is denied. A regulator's level follows its region code (GB/T 2260): 330000 is the province, 330100
a city, 330106 a county or district. Whether a target is within a caller's reach is checked separately
(`rules.access.Caller.reaches`).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from zpcode.errors import Finding, Findings, Forbidden, Text
from zpcode.language.visible import text_fault
from zpcode.rules.access import Caller, Role, region_prefix
from zpcode.rules.regions import PROVINCE, office_of
from zpcode.rules.status.decisions import ACTIONS, ACTORS, SCOPES, Action, Actor
from zpcode.rules.status.reasons import REASONS
from zpcode.wire.calendar import SHANGHAI
from zpcode.wire.vocabulary import Bilingual, Scope, State

MAX_TARGET = 512
MAX_TEXT = 500
MAX_NOTICE = 100
SKEW = timedelta(minutes=5)
HORIZON = timedelta(days=366)
BAR_YEARS = 3
NO_NOTE: Final = Bilingual()

UNCONFIRMED: Final = "unconfirmed"
"""The credential of the operator in `decided_by` of what a recovery entered and nobody has confirmed."""

# An actor may lift decisions of its own rank and of lower ranks. Province and operator have the same rank. What a recovery
# entered is confirmed or rejected by `zpcode recover` alone.
RANK: Final = {
    Actor.ENTERPRISE: 0,
    Actor.COUNTY: 1,
    Actor.CITY: 2,
    Actor.PROVINCE: 3,
    Actor.OPERATOR: 3,
    Actor.RECOVERY: 4,
}

_F, _S, _C, _R, _X = Action.FLAG, Action.SUSPEND, Action.RECALL, Action.REVOKE, Action.RESTORE
_ITEMS = (Scope.CODE, Scope.RANGE, Scope.LOT, Scope.BATCH)
_TOP: dict[Scope, frozenset[Action]] = {
    **dict.fromkeys((*_ITEMS, Scope.PRODUCT), frozenset({_F, _S, _C, _R, _X})),
    **dict.fromkeys(
        (Scope.RECOGNITION, Scope.CERTIFICATE, Scope.STANDARD, Scope.ENTERPRISE), frozenset({_F, _S, _R, _X})
    ),
    Scope.KEY: frozenset({_S, _R, _X}),
}
MAY: Final[dict[Actor, dict[Scope, frozenset[Action]]]] = {
    Actor.ENTERPRISE: dict.fromkeys(_ITEMS, frozenset({_F, _S, _C, _R, _X})),
    Actor.COUNTY: dict.fromkeys((*_ITEMS, Scope.PRODUCT), frozenset({_F, _S, _C, _X})),
    Actor.CITY: {
        **dict.fromkeys(_ITEMS, frozenset({_F, _S, _C, _R, _X})),
        Scope.PRODUCT: frozenset({_F, _S, _C, _X}),
        **dict.fromkeys((Scope.RECOGNITION, Scope.ENTERPRISE), frozenset({_F, _S, _X})),
    },
    Actor.PROVINCE: _TOP,
    Actor.OPERATOR: _TOP,
}


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """A requested decision.

    `target` depends on the scope. Code: a printed code, link, serial or `NUMBER:INDEX`. Range and batch: a batch number.
    Lot: `GTIN:LOT`. Product: a GTIN. Enterprise: a USCC. Recognition, certificate and standard: its number. Key: a key
    id. Only a range has `first` and `last` (both included): indices from 0, or serials of that batch. `note` is public:
    the consumer reads it. `notice` is the number of a public notice. `effective_at` is timezone-aware; None: at once.
    """

    scope: Scope
    target: str
    action: Action
    reason: str
    first: int | str | None = None
    last: int | str | None = None
    legal_basis: str = ""
    note: Bilingual = NO_NOTE
    notice: str = ""
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A recorded decision; never altered afterwards.

    `target` is as in the card key: `NUMBER:INDEX`, a batch number, `GTIN14:LOT`, a USCC … A restoration has `lifts`: the
    actor whose decision it ended. `state` is the result of this decision alone; a more severe one of another level or
    scope may be in force too. `uscc` is the enterprise concerned, None for a standard or a key. `repeated` is True if
    the same decision was already recorded and nothing new was.
    """

    id: int
    scope: Scope
    target: str
    first: int | None
    last: int | None
    action: Action
    reason: str
    state: State
    lifts: Actor | None
    legal_basis: str
    note: Bilingual
    notice: str
    effective_at: datetime
    actor: Actor
    authority: Bilingual
    uscc: str | None
    created_at: datetime
    repeated: bool = False

    @property
    def barred_until(self) -> date | None:
        """The first day on which the enterprise may apply again (Asia/Shanghai); None if this decision does not bar it."""
        barring = self.action is Action.REVOKE and self.scope in {Scope.RECOGNITION, Scope.ENTERPRISE}
        if not barring or not REASONS[self.reason].bars:
            return None
        return barred_until(self.effective_at.astimezone(SHANGHAI).date())


def actor_of(caller: Caller) -> Actor:
    """The kind of caller (`Actor`) that decides. A regulator's level is the length of its region's prefix."""
    if caller.role is Role.ENTERPRISE:
        return Actor.ENTERPRISE
    if caller.role is Role.OPERATOR:
        return Actor.RECOVERY if caller.credential == UNCONFIRMED else Actor.OPERATOR
    return {2: Actor.PROVINCE, 4: Actor.CITY}.get(len(region_prefix(caller.subject)), Actor.COUNTY)


def may(actor: Actor, scope: Scope, action: Action) -> bool:
    """Whether this kind of caller may take this action at this scope."""
    return action in MAY.get(actor, {}).get(scope, frozenset())


def may_lift(actor: Actor, decided: Actor) -> bool:
    """Whether `actor` may end a decision of `decided`: not if that is a higher level."""
    return RANK[decided] <= RANK[actor]


def decides_ownerless(caller: Caller) -> bool:
    """Whether a caller may decide about standards and keys: the office of this province and the operator may."""
    return caller.role is Role.OPERATOR or (caller.role is Role.REGULATOR and caller.subject == PROVINCE)


def permit(request: StatusRequest, actor: Actor) -> None:
    """Raise Forbidden if this kind of caller may not take the action at this scope, or not for this reason.

    `check` refuses an unknown reason.
    """
    if not may(actor, request.scope, request.action):
        _forbid("not-permitted", f"{ACTORS[actor].zh}无权在{SCOPES[request.scope].zh}范围执行{ACTIONS[request.action].zh}",
                f"{ACTORS[actor].en} may not {request.action} at scope {request.scope}")  # fmt: skip
    reason = REASONS.get(request.reason)
    if reason is not None and actor not in reason.actors:
        _forbid(
            "reason-not-permitted",
            f"{ACTORS[actor].zh}不能使用理由 {reason.slug}",
            f"{ACTORS[actor].en} may not give the reason {reason.slug}",
        )


def _forbid(slug: str, zh: str, en: str) -> None:
    text = Text(f"{zh}；各方权限见 docs/status.md", f"{en}; see docs/status.md for who may do what")
    raise Forbidden(text, (Finding(slug, text),))


def check(request: StatusRequest, actor: Actor, now: datetime) -> None:
    """Raise Refused with all findings about a request. Its target is parsed and looked up later."""
    findings = Findings()
    _check_reason(request, actor, findings)
    _check_texts(request, findings)
    _check_time(request, now, findings)
    if (request.scope is Scope.RANGE) != (request.first is not None) or (request.first is None) != (
        request.last is None
    ):
        findings.add(
            "range",
            "号段须同时给出首尾 first 和 last，其他范围不得给出",
            "a range needs both first and last, and no other scope has them",
            where="/first",
            value=request.first,
        )
    findings.refuse("状态变更申请有误", "the request for a status change is not valid")


def _check_reason(request: StatusRequest, actor: Actor, findings: Findings) -> None:
    reason = REASONS.get(request.reason)
    if reason is None:
        findings.add(
            "reason-unknown",
            "没有这个理由，可用理由见 docs/status.md",
            "there is no such reason; docs/status.md lists them",
            where="/reason",
            value=request.reason,
        )
        return
    if request.action not in reason.actions:
        findings.add("reason-action", f"该理由不能用于{ACTIONS[request.action].zh}", f"this reason cannot be used for {request.action}",
                     where="/reason", value=request.reason)  # fmt: skip
    if request.scope not in reason.scopes:
        findings.add("reason-scope", f"该理由不能用于{SCOPES[request.scope].zh}范围", f"this reason cannot be used at scope {request.scope}",
                     where="/reason", value=request.reason)  # fmt: skip
    if reason.needs_basis and actor is not Actor.ENTERPRISE and not request.legal_basis.strip():
        findings.add("legal-basis", "该理由须写明法律依据", "this reason needs a legal basis", where="/legal_basis")


def _check_texts(request: StatusRequest, findings: Findings) -> None:
    for where, text, most in (
        ("/target", request.target, MAX_TARGET),
        ("/legal_basis", request.legal_basis, MAX_TEXT),
        ("/note/zh", request.note.zh, MAX_TEXT),
        ("/note/en", request.note.en, MAX_TEXT),
        ("/notice", request.notice, MAX_NOTICE),
    ):
        faults = text_faults(text, most)
        if "too-long" in faults:
            findings.add("too-long", f"最多 {most} 个字符", f"at most {most} characters", where=where, value=text)
        if "characters" in faults:
            findings.add("characters", "含有控制字符", "contains control characters", where=where, value=ascii(text))
        fault = text_fault(text[: most + 1])
        if fault is not None:
            findings.add(fault[0], fault[1].zh, fault[1].en, where=where, value=ascii(text))
    if not request.target.strip():
        findings.add("target", "缺少对象", "there is no target", where="/target")
    if request.note.en and not request.note.zh:
        findings.add("note", "公开说明须有中文", "the public note needs a Chinese text", where="/note/zh")


def text_faults(text: str, most: int) -> tuple[str, ...]:
    """What is wrong with a text of a decision: `too-long` (above `most` characters), `characters` (control characters), `blank` or
    `marks` (`zpcode.language.visible`).
    """
    control = any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text[: most + 1])
    fault = text_fault(text[: most + 1])
    return (
        *(("too-long",) if len(text) > most else ()),
        *(("characters",) if control else ()),
        *((fault[0],) if fault else ()),
    )


def _check_time(request: StatusRequest, now: datetime, findings: Findings) -> None:
    asked = request.effective_at
    if asked is None:
        return
    if asked.utcoffset() is None:
        findings.add(
            "time-zone",
            "生效时间须带时区",
            "the effective time needs a time zone",
            where="/effective_at",
            value=asked,
        )
    elif asked < now - SKEW:
        findings.add("time-past", "生效时间不能早于现在；决定日期请写入依据或公告", "a decision cannot take effect in the past; write the date of a document into the legal basis or notice",
                     where="/effective_at", value=asked)  # fmt: skip
    elif asked > now + HORIZON:
        findings.add(
            "time-far",
            "生效时间不能晚于一年之后",
            "a decision can take effect at most one year from now",
            where="/effective_at",
            value=asked,
        )


def effective(request: StatusRequest, now: datetime) -> datetime:
    """When a request that passed `check` takes effect: never before `now`."""
    asked = now if request.effective_at is None else request.effective_at
    return max(asked, now).astimezone(UTC)


def barred_until(effective_on: date) -> date:
    """The first day of a new application after a recognition was withdrawn: the same day three years later.

    浙市监质〔2023〕1号, annex 2, part 3, item 2. From 29 February it is 1 March.
    """
    try:
        return effective_on.replace(year=effective_on.year + BAR_YEARS)
    except ValueError:
        return date(effective_on.year + BAR_YEARS, 3, 1)


def authority_of(caller: Caller, enterprise_name: Bilingual) -> Bilingual:
    """The public name of the decider, as the consumer reads it."""
    if caller.role is Role.ENTERPRISE:
        return enterprise_name
    if caller.role is Role.OPERATOR:
        return Bilingual("浙品码平台运营方", "the operator of 浙品码")
    return office_of(caller.subject)
