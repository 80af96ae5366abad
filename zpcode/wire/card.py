"""The cards: everything that a scan reads, derived by the authority and copied to Redis.

A card is one row of PostgreSQL's table `card` and, copied, one value in Redis. Both have the same key and the same
bytes (MessagePack), so a scan that cannot read Redis reads the same card from PostgreSQL. Writer:
`zpcode.projection.projector`; reader: `scanweb`.

    key                     body                    content
    p:GTIN14                ProductCard             all four blocks of the page
    b:NUMBER                BatchCard               one batch of codes
    l:GTIN14:LOT            LotCard                 the dates of a lot with lot codes
    s:SCOPE:TARGET          Timeline                the decisions about an enterprise, product, standard, …
    x:NUMBER:INDEX          Timeline                the decisions about one item
    n:                      NoticesCard             the public notices, newest first

A `History` is not a card: the scan service counts scans itself, and the worker drains them into PostgreSQL.

A reader refuses a card with a field that it does not know: so a new field needs the scan services first, then the authority
(docs/operating.md, "Upgrade").

Times are whole seconds since 1970 in UTC; dates are ISO 8601 calendar dates of Asia/Shanghai.
"""

from __future__ import annotations

from typing import Final

import msgspec

from zpcode.wire.vocabulary import Bilingual, Scope, State

GENERATION_FIELD: Final = "generation"
REVISION_FIELD: Final = "revision"
EVICTING_FIELD: Final = "evicting"
"""`0` in the head where this server never evicts keys, as the authority has seen it last; else `1`."""
PICTURES: Final = "/pictures/"
"""The path on the scan host below which pictures are served."""
PICTURE_NAME: Final = "([0-9a-f]{32})-([1-9][0-9]{0,4})[.](webp|jpg)"
"""A regular expression for the names of `picture_name`: digest, width, format."""
MAX_JOURNEY: Final = 30
MAX_NOTICES: Final = 50


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One decision: its state from `effective_at` on, and what the page shows of it.

    `begun` is True if the decision was in effect when the card was written, by the authority's clock. Such a decision
    is in effect at once, also for a reader whose clock is behind `effective_at`.
    """

    state: State
    effective_at: int
    reason: str = ""
    notice: str = ""
    note: Bilingual = Bilingual()
    decided_by: Bilingual = Bilingual()
    begun: bool = False


class Timeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decisions about one target in the order in which they take effect; at least one."""

    standings: tuple[Standing, ...]

    def at(self, now: int) -> Standing | None:
        """The decision in effect at `now` (the reader's clock); None if there is none or its state is GOOD."""
        effective = None
        for standing in self.standings:
            if standing.begun or standing.effective_at <= now:
                effective = standing
        return None if effective is None or effective.state is State.GOOD else effective

    def next_after(self, now: int) -> int | None:
        """When the next decision after `now` takes effect; None if there is none."""
        return min((standing.effective_at for standing in self.standings if standing.effective_at > now), default=None)


class RangeEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """From `effective_at` on, the standing with this number in its layer holds for the items `first` … `last` (included)."""

    first: int
    last: int
    standing: int
    effective_at: int


class RangeLayer(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The decisions of one kind of actor about ranges of a batch (`zpcode.wire.timelines.item_timeline` reads them).

    `standings` are their different texts, without times. `current` are the ranges in force when the card was written:
    disjoint and in order. `coming` are later changes in the order of taking effect; GOOD ends the actor's decision.
    """

    actor: str
    standings: tuple[Standing, ...] = ()
    current: tuple[RangeEntry, ...] = ()
    coming: tuple[RangeEntry, ...] = ()


class Picture(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stored picture. Each of `widths` (pixels, ascending) exists as WebP and as JPEG, see `picture_name`.

    `digest` is the first 128 bits of SHA-256 over the largest WebP, in lower-case hex; `width` and `height` are the
    size of the largest.
    """

    digest: str
    width: int
    height: int
    widths: tuple[int, ...]


class EnterpriseInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The manufacturer. `uscc` is the 统一社会信用代码 (GB 32100), `region` the GB/T 2260 code."""

    uscc: str
    name: Bilingual
    region: str
    region_name: Bilingual
    industry_name: Bilingual = Bilingual()
    address: Bilingual = Bilingual()
    phone: str = ""
    website: str = ""
    story: Bilingual = Bilingual()


class StandardInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A standard that the product complies with; `registration` is its `ZZB □XXXX-YYYY` number."""

    number: str
    title: Bilingual
    registration: str = ""
    kind: str = "product"
    status: str = "in_force"
    version: str = ""
    text_url: str = ""


class CertificateInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A certificate. `accepted` is True for a certificate of another scheme that was accepted as evidence (采信)."""

    number: str
    kind: str
    body: Bilingual
    body_code: str = ""
    rule: str = ""
    valid_from: str = ""
    valid_to: str = ""
    accepted: bool = False


class RecognitionInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The brand recognition: its path, the evidence for that path, and the dates of its validity.

    `old_stock` says how goods already made are shown after it ends: valid, warned or revoked.
    """

    number: str
    path: str
    valid_from: str
    valid_to: str
    old_stock: str = "warned"
    certificate: str = ""
    declaration_number: str = ""
    declaration_url: str = ""
    guarantee_number: str = ""
    guarantor: Bilingual = Bilingual()
    transferred_scheme: Bilingual = Bilingual()
    transferred_number: str = ""


class IndicatorInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row of the comparison table (指标对比表). Values are texts as in the registry.

    `direction` is `ge`, `le`, `range` or `text`.
    """

    name: Bilingual
    direction: str
    product: Bilingual
    standard: Bilingual
    national: Bilingual = Bilingual()
    benchmark: Bilingual = Bilingual()
    unit: str = ""
    method: str = ""
    report: str = ""


class CommitmentInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One quality commitment; `kind` is first_responsibility, three_guarantees, service, insurance or hotline."""

    kind: str
    text: Bilingual
    insurer: Bilingual = Bilingual()
    policy: str = ""
    phone: str = ""


class ClaimInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A typed claim with its evidence: same_line (三同), green, carbon_footprint or carbon_label."""

    kind: str
    text: Bilingual
    value: str = ""
    unit: str = ""
    evidence: str = ""
    evidence_url: str = ""
    issuer: Bilingual = Bilingual()
    valid_to: str = ""


class ProductCard(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything that the page shows of a product, in four blocks.

    `mark` is the small logo of the brand beside the name; it says nothing about the product.

    `lost`: a restore of the database has lost the record of this product. Nothing but its GTIN is known, and its codes cannot be
    confirmed.
    """

    gtin: str
    name: Bilingual
    enterprise: EnterpriseInfo
    recognition: RecognitionInfo | None
    standards: tuple[StandardInfo, ...]
    certificates: tuple[CertificateInfo, ...]
    indicators: tuple[IndicatorInfo, ...]
    commitments: tuple[CommitmentInfo, ...]
    claims: tuple[ClaimInfo, ...] = ()
    brand: str = ""
    model: str = ""
    category: Bilingual = Bilingual()
    tier: str = "brand"
    picture: Picture | None = None
    mark: Picture | None = None
    lost: bool = False

    def standing_keys(self) -> tuple[tuple[Scope, str], ...]:
        """The registry records whose decisions apply to this product, as (scope, target).

        Of the certificates, only that of the recognition counts. When another certificate (green, CCC) ends, the page
        shows it, but the recognition does not end.
        """
        keys = [(Scope.ENTERPRISE, self.enterprise.uscc), (Scope.PRODUCT, self.gtin)]
        keys += [(Scope.STANDARD, standard.number) for standard in self.standards]
        if self.recognition is not None:
            keys.append((Scope.RECOGNITION, self.recognition.number))
            if self.recognition.certificate:
                keys.append((Scope.CERTIFICATE, self.recognition.certificate))
        return tuple(keys)


class TraceEvent(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One journey event of a whole batch or lot; never of a single item.

    `kind` is produced, inspected, packed, stored, shipped, received or other; `at` is in seconds. `precision` is `day`
    (`at` is midnight in Asia/Shanghai; show no time) or `minute`. `by` is who did it, `document` the number of a report
    or waybill.
    """

    kind: str
    at: int
    precision: str = "day"
    place: Bilingual = Bilingual()
    by: Bilingual = Bilingual()
    note: Bilingual = Bilingual()
    document: str = ""


class BatchCard(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One batch of codes. Indexes are below `quantity`. Each key is 16 random bytes; only a compact batch has a check key.

    `activated_at` 0 means not activated. `exceptions` is True if there are decisions about single items (x cards).
    `ranges` has one layer for each kind of actor that decided about ranges, the lowest level first. `journey` has at
    most `MAX_JOURNEY` events in order of time, including those of the lot.

    `lost`: a restore of the database has lost the record of this batch. Its codes cannot be confirmed, and are not forged
    either. It never has a check key. Without a former card nothing but the number is known.
    """

    number: int
    gtin: str
    level: str
    quantity: int
    permutation_key: bytes
    check_key: bytes
    key_id: str = ""
    lot: str = ""
    production_date: str = ""
    expiry_date: str = ""
    activated_at: int = 0
    timeline: Timeline = Timeline(())
    ranges: tuple[RangeLayer, ...] = ()
    exceptions: bool = False
    journey: tuple[TraceEvent, ...] = ()
    lost: bool = False


class LotCard(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The dates of a lot, as given with its lot codes; `journey` as in `BatchCard`."""

    gtin: str
    lot: str
    production_date: str = ""
    expiry_date: str = ""
    activated_at: int = 0
    journey: tuple[TraceEvent, ...] = ()


class NoticeInfo(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A public notice: a decision of a regulator or the operator that has a notice number.

    `number` is the notice number. `about` names its target in words: a product or enterprise, the number of a standard,
    a lot. `gtin` is empty if the target is not one product. `ended_at` is 0 while the notice is in force.
    """

    number: str
    state: State
    scope: Scope
    effective_at: int
    about: Bilingual
    reason: str = ""
    note: Bilingual = Bilingual()
    decided_by: Bilingual = Bilingual()
    gtin: str = ""
    ended_at: int = 0


class NoticesCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public notices, newest first, at most `MAX_NOTICES`. An empty card means that there are none."""

    notices: tuple[NoticeInfo, ...] = ()


class History(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The scans of an item: their number, and the time and city of the first."""

    scans: int
    first_at: int
    first_city: str = ""


AnyCard = ProductCard | BatchCard | LotCard | Timeline | NoticesCard
CARD_TYPES: Final[dict[str, type[AnyCard]]] = {
    "p": ProductCard,
    "b": BatchCard,
    "l": LotCard,
    "s": Timeline,
    "x": Timeline,
    "n": NoticesCard,
}
"""The type of a card by the first letter of its key."""


def is_card(key: str, body: bytes) -> bool:
    """Whether these bytes are a card of the kind that the key names."""
    try:
        msgspec.msgpack.decode(body, type=CARD_TYPES[key[:1]])
    except (msgspec.MsgspecError, KeyError, ValueError):
        return False
    return True


def product_key(gtin: str) -> str:
    """The key of a product card."""
    return f"p:{gtin}"


def batch_key(number: int) -> str:
    """The key of a batch card."""
    return f"b:{number}"


def lot_key(gtin: str, lot: str) -> str:
    """The key of a lot card."""
    return f"l:{gtin}:{lot}"


def standing_key(scope: Scope, target: str) -> str:
    """The key of a registry record's timeline. A lot's target is `GTIN14:LOT`."""
    return f"s:{scope}:{target}"


def item_key(number: int, index: int) -> str:
    """The key of one item's timeline."""
    return f"x:{number}:{index}"


def notices_key() -> str:
    """The key of the card of public notices."""
    return "n:"


def history_key(number: int, index: int) -> str:
    """The key of one item's history in the database view."""
    return f"h:{number}:{index}"


def picture_name(digest: str, width: int, form: str) -> str:
    """The name of one file of a picture, in storage and in its URL. `form` is `webp` or `jpg`."""
    return f"{digest}-{width}.{form}"
