"""Complaints: their kinds, states and steps, who may take which step, and what a form must contain.

Anybody may send a complaint (投诉举报). It goes to the office of the region in which the enterprise has its seat, and is
finally closed or refused. Its state is the result of its last step.
"""

from __future__ import annotations

import enum
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from zpcode.errors import Conflict, Finding, Findings, Forbidden, Refused, Text
from zpcode.language.normalization import normalized, normalized_if_safe
from zpcode.language.visible import check_marks, is_blank
from zpcode.rules.access import Caller, Role, region_prefix
from zpcode.rules.regions import PROVINCE, is_region
from zpcode.wire.vocabulary import Bilingual

MAX_DESCRIPTION: Final = 2000
MAX_PLACE: Final = 200
MAX_CONTACT: Final = 120
MAX_CODE: Final = 300
MAX_ANSWER: Final = 2000
MAX_PHOTOS: Final = 3
SAME_WITHIN: Final = timedelta(hours=1)
"""The same words about the same code within this time are one complaint."""
KEPT_AFTER_END: Final = timedelta(days=180)
"""How long contact and photos are kept after the end of a complaint."""
PUBLIC: Final = "public"
"""The actor of every complainant in the audit log, which does not record who complained."""
_BREAKS: Final = frozenset("\n\t")


class ComplaintKind(enum.StrEnum):
    """The kind of problem: 疑似假冒 / 质量问题 / 标签或码不符 / 商家或售后 / 其他."""

    COUNTERFEIT = "counterfeit"
    QUALITY = "quality"
    LABEL = "label"
    SELLER = "seller"
    OTHER = "other"


class ComplaintState(enum.StrEnum):
    """The state of a complaint."""

    RECEIVED = "received"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    ANSWERED = "answered"
    CLOSED = "closed"
    REFUSED = "refused"


class ComplaintStep(enum.StrEnum):
    """The steps of handling: 受理登记 / 分派 / 开始办理 / 答复 / 办结 / 不予受理."""

    RECEIVE = "receive"
    ASSIGN = "assign"
    START = "start"
    ANSWER = "answer"
    CLOSE = "close"
    REFUSE = "refuse"


class ComplaintProof(enum.StrEnum):
    """What the authority could verify of the code when the complaint was received."""

    SEALED = "sealed"
    FORGED = "forged"
    UNSEALED = "unsealed"
    UNREADABLE = "unreadable"
    UNCHECKED = "unchecked"
    NONE = "none"


_OPEN: Final = frozenset(
    {ComplaintState.RECEIVED, ComplaintState.ASSIGNED, ComplaintState.IN_PROGRESS, ComplaintState.ANSWERED}
)
FOLLOWING: Final = {
    ComplaintStep.ASSIGN: (_OPEN, ComplaintState.ASSIGNED),
    ComplaintStep.START: (
        frozenset({ComplaintState.RECEIVED, ComplaintState.ASSIGNED, ComplaintState.ANSWERED}),
        ComplaintState.IN_PROGRESS,
    ),
    ComplaintStep.ANSWER: (_OPEN, ComplaintState.ANSWERED),
    ComplaintStep.CLOSE: (_OPEN, ComplaintState.CLOSED),
    ComplaintStep.REFUSE: (_OPEN - {ComplaintState.ANSWERED}, ComplaintState.REFUSED),
}
"""For each step, the states in which it may be taken and the state it leads to. RECEIVE is the first step, once."""
WITH_REPLY: Final = frozenset({ComplaintStep.ANSWER, ComplaintStep.CLOSE, ComplaintStep.REFUSE})
"""The steps with a text for the complainant."""
ENDED: Final = frozenset({ComplaintState.CLOSED, ComplaintState.REFUSED})


@dataclass(frozen=True, slots=True)
class ComplaintEvent:
    """One step. `text` is public: the complainant reads it. `region` is the region of an assignment."""

    step: ComplaintStep
    at: datetime
    authority: Bilingual
    text: str = ""
    region: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class ComplaintForm:
    """The cleaned fields of a form. `code` is as scanned or typed, `language` a BCP 47 tag."""

    kind: ComplaintKind
    description: str
    place: str = ""
    contact: str = ""
    code: str = ""
    language: str = "zh-CN"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint. `region` is that of the office that handles it; `uscc` is None if it names no registered product.

    The contact is empty if none was given, if it has been deleted, or if the caller may not read it. `photos` is the
    number of stored photos. `over_budget`: it came when there were too many about its code, and without photos.
    """

    id: int
    number: str
    received_at: datetime
    form: ComplaintForm
    proof: ComplaintProof
    gtin: str | None
    uscc: str | None
    region: str
    state: ComplaintState
    ended_at: datetime | None = None
    photos: int = 0
    events: tuple[ComplaintEvent, ...] = ()
    over_budget: bool = False


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A requested step. `text` is public; `region` is the region of an assignment (GB/T 2260)."""

    step: ComplaintStep
    text: str = ""
    region: str = ""


def read(kind: str, description: str, place: str, contact: str, code: str, language: str) -> ComplaintForm:
    """Check and clean the fields of a form. Raises Refused with every finding; `where` is the name of the field."""
    findings = Findings()
    if kind not in set(ComplaintKind):
        findings.add("kind", "请选择问题类型", "choose the kind of problem", where="kind")
    texts = {
        "description": _text(findings, "description", description, MAX_DESCRIPTION),
        "place": _text(findings, "place", place, MAX_PLACE),
        "contact": _text(findings, "contact", contact, MAX_CONTACT),
        "code": _text(findings, "code", code, MAX_CODE),
    }
    if not texts["description"] and "description" not in {finding.where for finding in findings.items}:
        findings.add("missing", "请填写具体情况", "say what happened", where="description")
    if texts["contact"] and not reachable(texts["contact"]):
        findings.add(
            "contact",
            "请填写电话号码或电子邮箱，也可以留空",
            "give a telephone number or an e-mail address, or leave this empty",
            where="contact",
        )
    findings.refuse("请更正标出的各项", "please correct what is marked")
    return ComplaintForm(ComplaintKind(kind), **texts, language=language)


def _text(findings: Findings, where: str, text: str, bound: int) -> str:
    """A field's text in NFC with one kind of line end, stripped, without control characters other than tabs.

    Empty if it shows nothing; empty, with a finding, if it is far too long or has too many combining marks.
    """
    if len(text) > 20 * bound:  # far too long: not worth cleaning
        _too_long(findings, where, len(text), bound)
        return ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    shown = "".join(one for one in lines if one in _BREAKS or unicodedata.category(one) not in {"Cc", "Cs"})
    try:
        kept = check_marks(normalized("NFC", shown).strip())
    except Refused as refused:
        findings.items += [replace(finding, where=where) for finding in refused.findings]
        return ""
    if len(kept) > bound:
        _too_long(findings, where, len(kept), bound)
    return "" if is_blank(kept) else kept


def _too_long(findings: Findings, where: str, length: int, bound: int) -> None:
    findings.add(
        "length",
        f"最多 {bound} 字，现在是 {length} 字",
        f"at most {bound} characters; there are {length}",
        where=where,
    )


def reachable(contact: str) -> bool:
    """Whether a text is a contact: an e-mail address, or 5 to 20 digits with separators."""
    if re.fullmatch(r"[^\s@<>\"]+@[^\s@<>\"]+\.[^\s@<>\"]+", contact):
        return True
    plain = normalized_if_safe("NFKC", contact)
    return bool(re.fullmatch(r"\+?[0-9() /.-]+", plain, re.ASCII)) and 5 <= sum(one.isdigit() for one in plain) <= 20


def permit(caller: Caller) -> None:
    """Raise Forbidden for an enterprise: it reads complaints about its products and takes no steps."""
    if caller.role is Role.ENTERPRISE:
        text = Text(
            "投诉由监管部门办理，企业只能查看", "complaints are handled by regulators; an enterprise reads them"
        )
        raise Forbidden(text, (Finding("role", text),))


def reads_contact(caller: Caller) -> bool:
    """Whether a caller sees contacts and photos: regulators and the operator do, an enterprise does not."""
    return caller.role is not Role.ENTERPRISE


def check(request: StepRequest, caller: Caller) -> StepRequest:
    """Check and clean a requested step. Raises Refused with every finding."""
    findings = Findings()
    text = _text(findings, "/text", request.text, MAX_ANSWER)
    if request.step is ComplaintStep.RECEIVE:
        findings.add("step", "投诉只能由投诉人提交", "only the complainant sends a complaint", where="/step")
    if request.step in WITH_REPLY and not text:
        findings.add("missing", "请写明给投诉人的答复", "write the reply to the complainant", where="/text")
    if request.step is ComplaintStep.ASSIGN and not may_assign(caller, request.region):
        findings.add(
            "region",
            "应为您辖区内或上级的行政区划代码（GB/T 2260，6 位）",
            "expected: a region code (GB/T 2260, 6 digits) inside your region, or of a region that contains yours",
            where="/region",
            value=request.region,
        )
    if request.step is not ComplaintStep.ASSIGN and request.region:
        findings.add("region", "只有分派时才填写行政区划", "only an assignment names a region", where="/region")
    findings.refuse("不能执行这一步", "this step is refused")
    return StepRequest(request.step, text, request.region)


def may_assign(caller: Caller, region: str) -> bool:
    """Whether a caller may assign a complaint to a region: one inside its own, or one that contains its own."""
    if region != PROVINCE and not is_region(region):
        return False
    if caller.role is Role.OPERATOR:
        return True
    own, other = region_prefix(caller.subject), region_prefix(region)
    return other.startswith(own) or own.startswith(other)


def after(state: ComplaintState, step: ComplaintStep) -> ComplaintState:
    """The state that a step leads to. Raises Conflict if the step cannot be taken in the present state."""
    before, following = FOLLOWING.get(step, (frozenset(), state))
    if state not in before:
        text = Text(
            f"当前状态为“{STATES[state].zh}”，不能{STEPS[step].zh}",
            f"the complaint is {STATES[state].en}: “{STEPS[step].en}” is not possible any more",
        )
        raise Conflict(text, (Finding("state", text, "/step", step.value),))
    return following


def state_of(steps: Iterable[ComplaintStep]) -> ComplaintState | None:
    """The state after these steps; None if the sequence is not allowed."""
    state: ComplaintState | None = None
    for step in steps:
        if state is None:
            if step is not ComplaintStep.RECEIVE:
                return None
            state = ComplaintState.RECEIVED
        elif step not in FOLLOWING or state not in FOLLOWING[step][0]:
            return None
        else:
            state = FOLLOWING[step][1]
    return state


def logged(complaint: Complaint) -> dict[str, Any]:
    """The detail of a new complaint for the audit log: without the complainant's identity and without texts."""
    return {
        "kind": complaint.form.kind.value,
        "gtin": complaint.gtin,
        "region": complaint.region,
        "proof": complaint.proof.value,
        "photos": complaint.photos,
        "text": _digest(complaint.form.description),
        "over_budget": complaint.over_budget,
    }


def logged_step(event: ComplaintEvent, state: ComplaintState) -> dict[str, Any]:
    """The detail of a step for the audit log: the state that it led to, and the SHA-256 of its text."""
    return {"event": event.id, "state": state.value, "text": _digest(event.text), "region": event.region}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


OVER_BUDGET: Final = Text("超量", "over budget")
"""The mark of a complaint that came when there were too many."""
STATES: Final = {
    ComplaintState.RECEIVED: Text("已收到", "received"),
    ComplaintState.ASSIGNED: Text("已分派", "assigned"),
    ComplaintState.IN_PROGRESS: Text("办理中", "in progress"),
    ComplaintState.ANSWERED: Text("已答复", "answered"),
    ComplaintState.CLOSED: Text("已办结", "closed"),
    ComplaintState.REFUSED: Text("不予受理", "refused"),
}
STEPS: Final = {
    ComplaintStep.RECEIVE: Text("收到", "receive"),
    ComplaintStep.ASSIGN: Text("分派", "assign"),
    ComplaintStep.START: Text("开始办理", "start"),
    ComplaintStep.ANSWER: Text("答复", "answer"),
    ComplaintStep.CLOSE: Text("办结", "close"),
    ComplaintStep.REFUSE: Text("不予受理", "refuse"),
}
