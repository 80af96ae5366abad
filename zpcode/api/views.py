"""What the services return, as the schemas of responses. Every field that the API sends is named here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
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
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.registry.listing import ListedEnterprise
from zpcode.wire import card, vocabulary

MAX_LISTED: Final = 1000


def _bilingual(text: vocabulary.Bilingual) -> schemas.BilingualView:
    return schemas.BilingualView(zh=text.zh, en=text.en)


def picture(picture: card.Picture, base: str) -> schemas.PictureView:
    """A picture, with its addresses on the scan service."""
    return schemas.PictureView(
        digest=picture.digest,
        width=picture.width,
        height=picture.height,
        files=[
            base + card.PICTURES + card.picture_name(picture.digest, width, form)
            for form in ("webp", "jpg")
            for width in picture.widths
        ],
    )


def batch(batch: Batch, exports: CodeFolder) -> schemas.BatchView:
    """A batch. The progress of its file is read from the file."""
    issued = batch.state is BatchState.ISSUED
    written = batch.codes if issued else code_file.progress(exports, batch)
    href = f"/v1/batches/{batch.number}/codes"
    return schemas.BatchView(
        number=batch.number,
        enterprise=batch.uscc,
        gtin=batch.gtin,
        level=batch.level,
        quantity=batch.quantity,
        codes=batch.codes,
        lot=batch.lot,
        production_date=batch.production_date,
        expiry_date=batch.expiry_date,
        format=batch.format,
        base=batch.base,
        activation=batch.activation,
        state=batch.state,
        key_id=batch.key_id,
        created_at=batch.created_at,
        issued_at=batch.issued_at,
        activated_at=batch.activated_at,
        progress=schemas.Progress(written=written, codes=batch.codes),
        file=schemas.File(href=href, sha256=batch.sha256, bytes=batch.bytes, removed_at=batch.file_removed_at)
        if issued
        else None,
        problem=batch.problem and schemas.BilingualView(zh=batch.problem.zh, en=batch.problem.en),
    )


def product(product: card.ProductCard) -> schemas.ProductView:
    """A product as it is listed."""
    recognition = product.recognition
    return schemas.ProductView(
        gtin=product.gtin,
        enterprise=product.enterprise.uscc,
        name=_bilingual(product.name),
        brand=product.brand,
        model=product.model,
        tier=product.tier,
        recognition=recognition and schemas.RecognitionView.model_validate(recognition, from_attributes=True),
    )


def enterprise(enterprise: ListedEnterprise) -> schemas.EnterpriseView:
    """An enterprise as it is listed."""
    return schemas.EnterpriseView(
        uscc=enterprise.uscc,
        name=_bilingual(enterprise.name),
        region=enterprise.region,
        region_name=_bilingual(region_name(enterprise.region)),
        industry=enterprise.industry,
        code_quota=enterprise.code_quota,
    )


def notice(decision: StatusChange) -> schemas.NoticeView:
    """A decision that carries a public notice, for readers without a key."""
    text = REASONS[decision.reason].text
    return schemas.NoticeView(
        id=decision.id,
        scope=decision.scope,
        target=decision.target,
        first=decision.first,
        last=decision.last,
        action=decision.action,
        reason=decision.reason,
        reason_text=schemas.BilingualView(zh=text.zh, en=text.en),
        state=decision.state,
        note=_bilingual(decision.note),
        notice=decision.notice,
        authority=_bilingual(decision.authority),
        effective_at=decision.effective_at,
    )


def change(decision: StatusChange) -> schemas.ChangeView:
    """A decision, for callers that it is within the reach of."""
    return schemas.ChangeView(
        **dict(notice(decision)),
        actor=decision.actor,
        lifts=decision.lifts,
        legal_basis=decision.legal_basis,
        enterprise=decision.uscc,
        barred_until=decision.barred_until,
        created_at=decision.created_at,
    )


def made(decision: StatusChange, *, projected: bool) -> schemas.MadeView:
    """A decision, as the response to the request that made it."""
    return schemas.MadeView(**dict(change(decision)), repeated=decision.repeated, projected=projected)


def event(event: JourneyEvent, *, shown: bool) -> schemas.JourneyEventView:
    """An event of the goods' journey. `shown` is whether a scan shows it."""
    return schemas.JourneyEventView(
        id=event.id,
        kind=event.kind,
        biz_step=BIZ_STEPS[event.kind],
        at=event.at,
        precision=event.precision,
        place=_bilingual(event.place),
        by=_bilingual(event.by),
        note=_bilingual(event.note),
        document=event.document,
        supersedes=event.supersedes,
        shown=shown,
        recorded_at=event.recorded_at,
        withdrawn_at=event.withdrawn_at,
        withdrawal=event.withdrawal,
    )


def events(listed: Sequence[JourneyEvent], all_events: Sequence[JourneyEvent], recorded: int = 0) -> schemas.EventsView:
    """Events of a batch or lot. `all_events` are all events of it, which decide what a scan shows."""
    standing = {one.id for one in journey.standing(all_events)}
    return schemas.EventsView(items=[event(one, shown=one.id in standing) for one in listed], recorded=recorded)


def key(key: ApiKey) -> schemas.KeyView:
    """An API key on record."""
    return schemas.KeyView.model_validate(key, from_attributes=True)


def new_key(made: NewKey) -> schemas.NewKeyView:
    """An API key with its token, which is shown only once."""
    return schemas.NewKeyView(**dict(key(made.key)), token=made.token)


def report(report: ImportReport) -> schemas.ImportView:
    """What an import did, with the first thousand changes and products."""
    return schemas.ImportView(
        dry_run=report.dry_run,
        counts={
            name: schemas.CountView.model_validate(count, from_attributes=True) for name, count in report.counts.items()
        },
        changes=[
            schemas.RecordChange(entity=one.entity, key=one.key, kind=one.kind, fields=list(one.fields))
            for one in report.changes[:MAX_LISTED]
        ],
        changes_in_all=len(report.changes),
        products=list(report.cards[:MAX_LISTED]),
        products_in_all=len(report.cards),
        withheld=dict(islice(report.withheld.items(), MAX_LISTED)),
        withheld_in_all=len(report.withheld),
    )
