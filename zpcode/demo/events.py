"""The past of the demo: journeys of its goods, and public notices."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch
from zpcode.rules.journey import EventRequest, Subject
from zpcode.rules.paging import MAX_PAGE
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services.journey import events
from zpcode.services.status import change as status
from zpcode.store.database.session import Engine
from zpcode.wire.card import ProductCard
from zpcode.wire.vocabulary import Bilingual, Scope

PROVINCE: Final = Caller(Role.REGULATOR, "330000", "cli:demo")
# No code of the demo belongs to these products, so every code that the demo prints is green.
RECALLED, SUSPENDED, WITHDRAWN = "09506000100234", "09506000100203", "PZB-2024-0018"
NOTICES: Final = (
    StatusRequest(
        Scope.PRODUCT, SUSPENDED, Action.SUSPEND, "sample-test-failed",
        legal_basis="《中华人民共和国产品质量法》第十五条",
        note=Bilingual("市场抽样检验发现保温效能低于标识值，复检期间暂停使用品牌标识。",
                       "A bought sample kept heat less well than stated; the mark is suspended until the retest."),
        notice="浙市监质〔2026〕41号",
    ),
    StatusRequest(
        Scope.PRODUCT, SUSPENDED, Action.RESTORE, "rectified",
        note=Bilingual("复检合格，恢复使用。", "The retest was passed; the mark is restored."),
        notice="浙市监质〔2026〕52号",
    ),
    StatusRequest(
        Scope.RECOGNITION, WITHDRAWN, Action.REVOKE, "standard-not-met",
        legal_basis="浙市监质〔2023〕1号附件2第三部分第2条",
        note=Bilingual("桑蚕丝含量低于声明的标准，撤回品牌授权。",
                       "The silk content is below the declared standard; the licence is withdrawn."),
        notice="浙市监质〔2026〕63号",
    ),
    StatusRequest(
        Scope.PRODUCT, RECALLED, Action.RECALL, "safety-recall",
        legal_basis="《消费品召回管理暂行规定》第十三条",
        note=Bilingual("部分爬梯踏板的边缘可能开裂，请停止使用，联系企业免费更换。",
                       "The edges of some ladder treads may crack. Stop using it; the maker replaces them free of charge."),
        notice="浙市监召〔2026〕18号",
    ),
)  # fmt: skip


def record_journey(engine: Engine, batch: Batch, card: ProductCard, *, caller: Caller, now: datetime) -> None:
    """Record production, inspection, storage and two shipments of a batch's lot, or of the batch if it has no lot."""
    subject = Subject(gtin=batch.gtin, lot=batch.lot) if batch.lot else Subject(batch.number)
    events.record(engine, subject, _events(batch, card), caller=caller, now=now)


def _events(batch: Batch, card: ProductCard) -> list[EventRequest]:
    maker, home = card.enterprise.name, card.enterprise.region_name
    number = f"{batch.gtin[8:13]}"
    return [
        EventRequest("produced", "2026-10-08", home, maker),
        EventRequest(
            "inspected", "2026-10-10", home, Bilingual("企业中心实验室", "Central laboratory of the maker"),
            Bilingual("出厂检验全项合格", "All outgoing tests passed"), f"QC-2026-1010-{number}",
        ),
        EventRequest("stored", "2026-10-11T16:40+08:00", home, maker, Bilingual("成品库", "Finished goods warehouse")),
        EventRequest(
            "shipped", "2026-10-13T09:20+08:00", Bilingual("发往浙江杭州", "To Hangzhou, Zhejiang"), maker,
            document=f"YD-1013-{number}",
        ),
        EventRequest(
            "shipped", "2026-10-14T14:05+08:00", Bilingual("发往上海", "To Shanghai"), maker, document=f"YD-1014-{number}",
        ),
    ]  # fmt: skip


def publish_notices(engine: Engine, *, now: datetime) -> None:
    """Make the province's decisions with their notices. A notice that exists already is not made again."""
    existing = {change.notice for change in status.notices(engine, 0, MAX_PAGE)}
    for request in NOTICES:
        if request.notice not in existing:
            status.change(engine, request, caller=PROVINCE, now=now)
