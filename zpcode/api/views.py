"""From what the services return to what goes out: every field that leaves the house is named here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from zpcode.api import schemas
from zpcode.rules import journey
from zpcode.rules.access import ApiKey
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.rules.journey import BIZ_STEPS, JourneyEvent
from zpcode.rules.regions import region_name
from zpcode.rules.registry.changes import ImportReport
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.reasons import REASONS
from zpcode.services.access import NewKey
from zpcode.services.batches import code_file
from zpcode.services.registry.listing import ListedEnterprise
from zpcode.wire import card, vocabulary

MAX_LISTED: Final = 1000


def _bilingual(text: vocabulary.Bilingual) -> schemas.BilingualView:
    return schemas.BilingualView(zh=text.zh, en=text.en)


def picture(found: card.Picture, base: str) -> schemas.PictureView:
    """A picture, and where the scan service has it."""
    return schemas.PictureView(
        digest=found.digest,
        width=found.width,
        height=found.height,
        files=[
            base + card.PICTURES + card.picture_name(found.digest, width, form)
            for form in ("webp", "jpg")
            for width in found.widths
        ],
    )


def batch(found: Batch, exports: Path) -> schemas.BatchView:
    """A batch; how far its file has come is read from the file."""
    issued = found.state is BatchState.ISSUED
    written = found.codes if issued else code_file.progress(exports, found)
    href = f"/v1/batches/{found.number}/codes"
    return schemas.BatchView(
        number=found.number,
        enterprise=found.uscc,
        gtin=found.gtin,
        level=found.level,
        quantity=found.quantity,
        codes=found.codes,
        lot=found.lot,
        production_date=found.production_date,
        expiry_date=found.expiry_date,
        format=found.format,
        base=found.base,
        activation=found.activation,
        state=found.state,
        key_id=found.key_id,
        created_at=found.created_at,
        issued_at=found.issued_at,
        activated_at=found.activated_at,
        progress=schemas.Progress(written=written, codes=found.codes),
        file=schemas.File(href=href, sha256=found.sha256, bytes=found.bytes) if issued else None,
        problem=found.problem and schemas.BilingualView(zh=found.problem.zh, en=found.problem.en),
    )


def product(found: card.ProductCard) -> schemas.ProductView:
    """A product as it is listed."""
    recognition = found.recognition
    return schemas.ProductView(
        gtin=found.gtin,
        enterprise=found.enterprise.uscc,
        name=_bilingual(found.name),
        brand=found.brand,
        model=found.model,
        tier=found.tier,
        recognition=recognition and schemas.RecognitionView.model_validate(recognition, from_attributes=True),
    )


def enterprise(found: ListedEnterprise) -> schemas.EnterpriseView:
    """An enterprise as it is listed."""
    return schemas.EnterpriseView(
        uscc=found.uscc,
        name=_bilingual(found.name),
        region=found.region,
        region_name=_bilingual(region_name(found.region)),
        industry=found.industry,
        code_quota=found.code_quota,
    )


def notice(found: StatusChange) -> schemas.NoticeView:
    """A decision as anybody may read it."""
    text = REASONS[found.reason].text
    return schemas.NoticeView(
        id=found.id,
        scope=found.scope,
        target=found.target,
        first=found.first,
        last=found.last,
        action=found.action,
        reason=found.reason,
        reason_text=schemas.BilingualView(zh=text.zh, en=text.en),
        state=found.state,
        note=_bilingual(found.note),
        notice=found.notice,
        authority=_bilingual(found.authority),
        effective_at=found.effective_at,
    )


def change(found: StatusChange) -> schemas.ChangeView:
    """A decision as those within whose reach it lies may read it."""
    return schemas.ChangeView(
        **dict(notice(found)),
        actor=found.actor,
        lifts=found.lifts,
        legal_basis=found.legal_basis,
        enterprise=found.uscc,
        barred_until=found.barred_until,
        created_at=found.created_at,
    )


def made(found: StatusChange, *, projected: bool) -> schemas.MadeView:
    """A decision as whoever made it is answered."""
    return schemas.MadeView(**dict(change(found)), repeated=found.repeated, projected=projected)


def event(found: JourneyEvent, *, shown: bool) -> schemas.JourneyEventView:
    """An event of the goods' journey."""
    return schemas.JourneyEventView(
        id=found.id,
        kind=found.kind,
        biz_step=BIZ_STEPS[found.kind],
        at=found.at,
        precision=found.precision,
        place=_bilingual(found.place),
        by=_bilingual(found.by),
        note=_bilingual(found.note),
        document=found.document,
        supersedes=found.supersedes,
        shown=shown,
        recorded_at=found.recorded_at,
        withdrawn_at=found.withdrawn_at,
        withdrawal=found.withdrawal,
    )


def events(found: Sequence[JourneyEvent], known: Sequence[JourneyEvent], recorded: int = 0) -> schemas.EventsView:
    """Some events of a batch or lot, of which `known` are all."""
    standing = {one.id for one in journey.standing(known)}
    return schemas.EventsView(items=[event(one, shown=one.id in standing) for one in found], recorded=recorded)


def key(found: ApiKey) -> schemas.KeyView:
    """An API key on record."""
    return schemas.KeyView.model_validate(found, from_attributes=True)


def new_key(found: NewKey) -> schemas.NewKeyView:
    """An API key and, this once, its token."""
    return schemas.NewKeyView(**dict(key(found.key)), token=found.token)


def report(found: ImportReport) -> schemas.ImportView:
    """What an import did; long lists are cut."""
    return schemas.ImportView(
        dry_run=found.dry_run,
        counts={
            name: schemas.CountView.model_validate(count, from_attributes=True) for name, count in found.counts.items()
        },
        changes=[
            schemas.RecordChange(entity=one.entity, key=one.key, kind=one.kind, fields=list(one.fields))
            for one in found.changes[:MAX_LISTED]
        ],
        changes_in_all=len(found.changes),
        products=list(found.cards[:MAX_LISTED]),
        products_in_all=len(found.cards),
    )
