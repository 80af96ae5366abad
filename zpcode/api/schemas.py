"""The schemas of requests and responses, as the OpenAPI document shows them.

A request with an unknown member is refused. Times are UTC (RFC 3339); dates are calendar dates in Asia/Shanghai.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from zpcode.api import examples
from zpcode.api.fields import Day, Gtin, Index, Long, Moment, Short, Whole
from zpcode.exports.formats import EXPORTS
from zpcode.rules.access import Role
from zpcode.rules.batches.batch import DEFAULT_FORMAT, Activation, BatchState
from zpcode.rules.status.decisions import Action, Actor
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope, State

Item = TypeVar("Item")


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value})


def _request(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value}, extra="forbid")


class BilingualView(BaseModel):
    """A text in Chinese, and in English where there is one."""

    model_config = _example({"zh": "双金属螺杆", "en": "Bimetallic screw"})
    zh: str = ""
    en: str = ""


class PageView(BaseModel, Generic[Item]):
    """One page of a list. Send `next` as `after` to get the following page; null on the last page."""

    items: list[Item]
    next: str | int | None


# Requests --------------------------------------------------------------------------------------------------


class BatchOrder(BaseModel):
    """An order of a batch of codes."""

    model_config = _request(examples.ORDER)
    level: Level = Field(
        description="product, lot, item, or compact: a short item code without a seal, which only an online scan can verify."
    )
    gtin: Gtin = Field(description="The product's GTIN; 8, 12 and 13 digits are read as GTIN-14.")
    quantity: Whole = Field(
        description="1 … 1 000 000 000 codes. At product and lot level, the number of labels to be printed: "
        "all labels carry the same code, and the file has one code."
    )
    lot: Short = Field("", description="AI 10: 1 to 20 characters of 0-9 A-Z . -; required at level lot.")
    production_date: Day = Field(None, description="YYYY-MM-DD.")
    expiry_date: Day = Field(None, description="YYYY-MM-DD.")
    format: Short = Field(DEFAULT_FORMAT, description=f"The file's format: {', '.join(EXPORTS)}.")
    activation: Activation = Field(
        Activation.ON_ISSUE,
        description="on_issue: the codes are active as soon as the file is complete. manual: when you activate the batch.",
    )


class PublicNote(BaseModel):
    """The text that the consumer reads, in Chinese and English."""

    model_config = ConfigDict(extra="forbid")
    zh: Long = ""
    en: Long = ""


class DecisionOrder(BaseModel):
    """A decision to be made. docs/status.md lists scopes, actions and reasons, and who may decide what."""

    model_config = _request(examples.DECISION)
    scope: Scope
    target: Long = Field(
        description="Depends on the scope. code: a printed code, link, serial or NUMBER:INDEX; range, batch: a batch number; "
        "lot: GTIN:LOT; product: a GTIN; enterprise: a USCC; recognition, certificate, standard: its number; key: a key id."
    )
    action: Action
    reason: Short = Field(description="The slug of one of the reasons in docs/status.md.")
    first: Index = Field(None, description="Only of scope range: its first index, counted from 0, or its first serial.")
    last: Index = Field(None, description="Only of scope range: its last index or serial, which is included.")
    legal_basis: Long = Field(
        "",
        description="The legal provision that the decision is based on, at most 500 characters; some reasons require one.",
    )
    note: PublicNote = Field(
        default_factory=PublicNote, description="Public: the consumer reads it. At most 500 characters each."
    )
    notice: Short = Field("", description="The number of a public notice, if there is one.")
    effective_at: Moment = Field(
        None, description="RFC 3339 with offset, at most a year ahead; null: with immediate effect."
    )


class EventText(BaseModel):
    """A text of an event in Chinese and English, either of them possibly empty; at most 200 characters each."""

    model_config = ConfigDict(extra="forbid")
    zh: Long = ""
    en: Long = ""


class EventOrder(BaseModel):
    """One event of the goods' journey."""

    model_config = _request(examples.EVENT_ORDER)
    kind: Short = Field(description="produced, inspected, packed, stored, shipped, received or other.")
    at: Short = Field(
        description="When it happened: YYYY-MM-DD in Asia/Shanghai, or a time with its offset (RFC 3339), to the minute."
    )
    place: EventText = Field(default_factory=EventText, description="Where it happened, as the consumer reads it.")
    by: EventText = Field(
        default_factory=EventText, description="Who did it: for example a plant, a laboratory or a carrier."
    )
    note: EventText = Field(default_factory=EventText, description="A public note.")
    document: Short = Field("", description="The number of a document, such as a report or a waybill.")
    supersedes: int | None = Field(
        None, strict=True, ge=1, le=2**63 - 1,
        description="The id of a wrong event of the same batch or lot; this event replaces it.",
    )  # fmt: skip


class EventsOrder(BaseModel):
    """Events of one batch or lot. All of them are recorded, or none."""

    model_config = _request({"events": [examples.EVENT_ORDER]})
    events: list[EventOrder] = Field(min_length=1, max_length=100)


class Withdrawal(BaseModel):
    """The reason why an event is withdrawn."""

    model_config = _request({"reason": "录入有误，检验报告属于另一批次"})
    reason: Long = Field(description="Kept in the audit log; at most 200 characters.")


class KeyOrder(BaseModel):
    """An order of an API key."""

    model_config = _request(examples.KEY_ORDER)
    role: Role
    subject: Short = Field(
        description="A USCC for an enterprise, a GB/T 2260 region code of 6 digits for a regulator, * for an operator."
    )
    label: Short = Field(min_length=1, description="Who or what uses the key: 1 to 100 characters.")


# Responses -------------------------------------------------------------------------------------------------


class File(BaseModel):
    """A finished file of codes."""

    href: str = Field(description="The address to download it from.")
    sha256: str = Field(description="In hex. It is also the ETag of the download.")
    bytes: int
    removed_at: datetime | None = Field(
        description="Since when the file has been removed after its time. A download writes it again."
    )


class Progress(BaseModel):
    """The progress of a file of codes: `written` of `codes` are in it."""

    written: int
    codes: int


class BatchView(BaseModel):
    """A batch of codes. `file` is null until the batch is issued; `problem` says why a reserved batch waits."""

    model_config = _example(examples.BATCH)
    number: int
    enterprise: str = Field(description="The USCC of the enterprise that the batch belongs to.")
    gtin: str
    level: Level
    quantity: int
    codes: int = Field(description="The number of codes in the file: the quantity, or one at product and lot level.")
    lot: str
    production_date: date | None
    expiry_date: date | None
    format: str
    base: str = Field(description="The address that is printed before each code; the seal does not cover it.")
    activation: Activation
    state: BatchState
    key_id: str = Field(description="The id of the signing key; empty before signing begins, and at level compact.")
    created_at: datetime
    issued_at: datetime | None
    activated_at: datetime | None
    progress: Progress
    file: File | None
    problem: BilingualView | None


class RecognitionView(BaseModel):
    """The recognition that a scan shows today."""

    number: str
    path: str
    valid_from: date
    valid_to: date


class ProductView(BaseModel):
    """A product in a list. /v1/products/{gtin} has everything about it."""

    model_config = _example(examples.PRODUCT)
    gtin: str
    enterprise: str
    name: BilingualView
    brand: str
    model: str
    tier: str
    recognition: RecognitionView | None


class EnterpriseView(BaseModel):
    """An enterprise within your reach. `code_quota` is null if its item codes are not limited."""

    model_config = _example(examples.ENTERPRISE)
    uscc: str
    name: BilingualView
    region: str
    region_name: BilingualView
    industry: str
    code_quota: int | None


class NoticeView(BaseModel):
    """A public notice: a decision of a regulator or the operator that carries a notice number."""

    model_config = _example(examples.NOTICE)
    id: int
    scope: Scope
    target: str
    first: int | None
    last: int | None
    action: Action
    reason: str
    reason_text: BilingualView
    state: State
    note: BilingualView
    notice: str
    authority: BilingualView
    effective_at: datetime


class ChangeView(NoticeView):
    """A decision as it was recorded. It is never changed; later decisions follow it."""

    model_config = _example(examples.CHANGE)
    actor: Actor = Field(description="The actor that the decision was made as.")
    lifts: Actor | None = Field(description="Only of a restoration: the actor whose decision it lifted.")
    legal_basis: str
    enterprise: str | None = Field(description="The USCC of the enterprise concerned; null for a standard or a key.")
    barred_until: date | None = Field(description="The first day on which a barred enterprise may apply again.")
    created_at: datetime


class MadeView(ChangeView):
    """A decision that was just made. `repeated`: it was in force already, and nothing was recorded."""

    model_config = _example(examples.MADE)
    repeated: bool
    projected: bool = Field(
        description="Whether it is in the scan service's Redis already; if not, the worker copies it."
    )


class JourneyEventView(BaseModel):
    """An event as it was recorded. A scan shows it unless it is withdrawn or superseded."""

    model_config = _example(examples.EVENT)
    id: int
    kind: str
    biz_step: str = Field(description="The kind as a business step of EPCIS 2.0 (GS1 CBV 2.0).")
    at: datetime
    precision: str = Field(description="`day` (`at` is midnight of that day in Asia/Shanghai) or `minute`.")
    place: BilingualView
    by: BilingualView
    note: BilingualView
    document: str
    supersedes: int | None
    shown: bool
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawal: str


class EventsView(BaseModel):
    """All events of one batch or lot, or those just reported. `recorded` is the number of events that are new."""

    model_config = _example({"items": [examples.EVENT], "recorded": 1})
    items: list[JourneyEventView]
    recorded: int


class KeyView(BaseModel):
    """An API key without its secret, which is not stored."""

    model_config = _example(examples.KEY)
    id: str
    role: Role
    subject: str
    label: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class NewKeyView(KeyView):
    """An API key that was just made. `token` is shown only once."""

    model_config = _example(examples.NEW_KEY)
    token: str


class PictureView(BaseModel):
    """A picture: every width as WebP and as JPEG."""

    model_config = _example(examples.PICTURE)
    digest: str = Field(
        description="The first 128 bits of SHA-256 over the largest WebP: another picture has other addresses."
    )
    width: int = Field(description="The width of the largest file, in pixels.")
    height: int
    files: list[str] = Field(description="The addresses of the files on the scan service.")


class CountView(BaseModel):
    """The number of records of one sheet, by what the import does with them."""

    new: int
    changed: int
    unchanged: int
    removed: int


class RecordChange(BaseModel):
    """One record that an import adds, changes or removes; `fields` holds [field, old, new]."""

    entity: str
    key: str
    kind: str
    fields: list[tuple[str, Any, Any]]


class ImportView(BaseModel):
    """What an import did, or would do with dry_run. At most a thousand changes and products are listed."""

    model_config = _example(examples.IMPORT)
    dry_run: bool
    counts: dict[str, CountView]
    changes: list[RecordChange]
    changes_in_all: int
    products: list[str] = Field(description="The GTINs of the products whose page changes.")
    products_in_all: int
    withheld: dict[str, list[str]] = Field(
        description="The GTINs of products whose page stays as it is, with the records that differ from the audit log."
    )
    withheld_in_all: int


class Readiness(BaseModel):
    """Whether the process is ready: false (503) without the database."""

    model_config = _example(examples.READY)
    ready: bool


class Health(BaseModel):
    """The process answers. This says nothing about the database or other services."""

    model_config = _example({"status": "ok"})
    status: str


class ProblemKind(BaseModel):
    """A kind of problem, and advice on what to do about it."""

    model_config = _example(examples.PROBLEM_KIND)
    type: str
    status: int
    title: BilingualView
    advice: BilingualView
