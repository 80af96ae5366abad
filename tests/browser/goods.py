"""Products of the browser tests and the gallery: one with every block, and one with hostile text in every field."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar, cast

import msgspec

from tests.support import scan_factories as make
from zpcode.wire import card
from zpcode.wire.vocabulary import Bilingual, Scope, State

_ROWS: Final = (
    ("吸水率", "Water absorption", "le", "0.2", "0.3", "0.5", "0.4", "%", "GB/T 3299-2011"),
    ("热稳定性", "Thermal shock resistance", "ge", "200", "180", "160", "180", "K", "GB/T 3298-2022"),
    ("铅溶出量", "Lead release", "le", "0.05", "0.10", "0.50", "0.10", "mg/L", "GB/T 3534-2002"),
    ("镉溶出量", "Cadmium release", "le", "0.005", "0.010", "0.050", "0.010", "mg/L", "GB/T 3534-2002"),
    ("釉面光泽度", "Gloss of the glaze", "range", "62", "55–75", "50–80", "", "GU", "GB/T 3295-2018"),
    ("釉面硬度", "Hardness of the glaze", "ge", "6.8", "6.5", "6.0", "6.5", "Mohs", "QB/T 1010-2015"),
    ("抗弯强度", "Flexural strength", "ge", "68", "60", "48", "55", "MPa", "GB/T 4741-1999"),
    ("壶嘴断水", "Drip of the spout", "text", "不滴漏", "不滴漏", "", "", "", "T/ZZB 0664-2018"),
    ("白度", "Whiteness", "ge", "72.5", "70", "65", "", "%", "QB/T 1503-2011"),
    ("底部平整度", "Flatness of the foot", "le", "0.4", "0.5", "1.0", "0.5", "mm", "QB/T 3732-1999"),
    ("耐洗碗机洗涤", "Cycles in a dishwasher", "ge", "1000", "500", "", "500", "次", "EN 12875-1"),
    ("口径误差", "Error of the diameter", "range", "±0.6", "±1.0", "±1.5", "±1.0", "%", "GB/T 3301-1999"),
)
_SPOKEN: Final = {"不滴漏": "does not drip", "次": "cycles"}
HOSTILE: Final = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}",
    "quotes": "\"'`><\" onmouseover=alert(1) x='&quot;&#39;--><!--]]></style></title>",
    "marks": "\u202eevil\u2066 reversed\u2069 \u200f\u061c\u0000 \u2028 \ufeff end",
    "emoji": "👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈" + "e" + "\u0301" * 12 + "🧿",
    "long": "无空格也不断行" * 700 + "W" * 5100,
}
"""Hostile texts, by what is wrong with them. `long` has 10 000 characters."""
TEXTS: Final = {"plain": "一段文字 some words", **HOSTILE}


def _indicator(row: tuple[str, ...]) -> card.IndicatorInfo:
    zh, en, direction, *values, unit, method = row
    own, standard, national, benchmark = (Bilingual(value, _SPOKEN.get(value, value)) for value in values)
    return card.IndicatorInfo(
        Bilingual(zh, en), direction, own, standard, national, benchmark, unit=unit, method=method, report="BG-2025-17"
    )


def rich(gtin: str = make.GTIN, **changes: Any) -> card.ProductCard:
    """The product of the factories with the most content that a page must show: 12 indicators, several of everything."""
    plain = make.product(gtin)
    product = make.product(
        gtin,
        standards=(
            *plain.standards,
            card.StandardInfo("GB/T 13522-2008", Bilingual("骨质瓷器", "Bone china"), kind="product"),
        ),
        certificates=(
            *plain.certificates,
            card.CertificateInfo(
                "CNCA-3C-0003", "ccc", Bilingual("中国质量认证中心", "China Quality Certification Centre"), rule="CNCA-C17-01:2014"
            ),
        ),
        indicators=tuple(_indicator(row) for row in _ROWS),
        commitments=(
            *plain.commitments,
            card.CommitmentInfo("three_guarantees", Bilingual("三十天包退，一年包换", "Returns in 30 days, replaced for a year")),
            card.CommitmentInfo("service", Bilingual("破损补寄，终身补釉", "Broken pieces replaced, the glaze mended for life")),
        ),
        claims=(
            *plain.claims,
            card.ClaimInfo("same_line", Bilingual("同线同标同质", "One line, one standard, one quality"), evidence="ST-2025-3"),
            card.ClaimInfo("green", Bilingual("绿色产品", "Green product"), evidence="GR-0002", valid_to=make.day(200)),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(product, **changes)


def journey() -> tuple[card.TraceEvent, ...]:
    """A journey: made, inspected, packed, shipped, received."""
    steps = (
        ("produced", 40, "龙泉市剑池街道", "Jianchi Street, Longquan", "龙窑第 12 窑", "Dragon kiln, firing 12"),
        ("inspected", 36, "丽水市", "Lishui", "出厂检验合格", "Passed the final inspection"),
        ("packed", 35, "龙泉市剑池街道", "Jianchi Street, Longquan", "每套六件", "Six pieces a set"),
        ("shipped", 33, "龙泉市", "Longquan", "发往杭州", "On its way to Hangzhou"),
        ("received", 31, "杭州市西湖区", "Xihu District, Hangzhou", "", ""),
    )
    now = time.time()
    return tuple(
        card.TraceEvent(kind, int(now) - days * 86400, "minute", Bilingual(place, there), note=Bilingual(note, said))
        for kind, days, place, there, note, said in steps
    )


def notices(number: str) -> card.NoticesCard:
    """Two public notices: one in force, one ended."""
    title = Bilingual("青瓷茶具召回公告", "Recall of celadon tea sets")
    now = int(time.time())
    about = Bilingual("龙泉青瓷茶具 QX-8", "Longquan celadon tea set QX-8")
    return card.NoticesCard((
        card.NoticeInfo(number, State.RECALLED, Scope.LOT, now - 86400, about, "safety-recall", title, make.AUTHORITY, make.GTIN),
        card.NoticeInfo("BG-6", State.SUSPENDED, Scope.ENTERPRISE, now - 9 * 86400, title, "quality-check", ended_at=now - 86400),
    ))  # fmt: skip


def hostile(text: str, gtin: str) -> card.ProductCard:
    """The rich product with this text in every text field at every depth; GTIN and dates stay."""
    return msgspec.structs.replace(filled(rich(gtin), text), gtin=gtin)


_KEPT: Final = frozenset({"gtin", "valid_from", "valid_to", "uscc", "precision"})
"""Fields the registry holds to a form, and the key that an enterprise's standing hangs on."""
T = TypeVar("T")


def filled(value: T, text: str) -> T:
    """The same value with this text in every text field."""
    return cast("T", _filled(value, text))


def _filled(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(_filled(part, text) for part in value)
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        kept = {name: getattr(value, name) for name in names}
        return type(value)(**{
            name: part if name in _KEPT else _filled(part, text) for name, part in kept.items()
        })  # fmt: skip
    return value
