"""The registry's records: what an enterprise, a standard, a certificate, a product … is made of.

Plain frozen structs, one for each sheet of the workbook and each table of the database. A record that
exists has been read cell by cell (`rules.drafts`); whether it agrees with the others is asked by
`rules.checks`. Dates are calendar dates of Asia/Shanghai.
"""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

import msgspec

from zpcode.wire.card import Picture
from zpcode.wire.vocabulary import Bilingual


class Enterprise(msgspec.Struct, frozen=True):
    """A manufacturer; key `uscc`, its 统一社会信用代码. `code_quota` None is no limit on item codes."""

    uscc: str
    name: Bilingual
    region: str
    industry: str
    address: Bilingual = Bilingual()
    contact: str = ""
    phone: str = ""
    email: str = ""
    website: str = ""
    story: Bilingual = Bilingual()
    code_quota: int | None = None


class Standard(msgspec.Struct, frozen=True):
    """A standard; key `number`, its own. `registration` is `ZZB □XXXX-YYYY` (seed 004, annex 1, 2.6)."""

    number: str
    title: Bilingual
    registration: str = ""
    kind: str = "product"
    status: str = "in_force"
    version: str = "1"
    text_url: str = ""
    in_force_from: date | None = None
    replaced_by: str = ""


class Body(msgspec.Struct, frozen=True):
    """A certification body; key `code`. `approval` is its approval number (CNCA-R-…)."""

    code: str
    name: Bilingual
    approval: str = ""
    website: str = ""


class Certificate(msgspec.Struct, frozen=True):
    """A certificate; key `number`. `accepted`: of another scheme, accepted as evidence (采信)."""

    number: str
    uscc: str
    body_code: str
    kind: str
    valid_from: date
    valid_to: date
    rule: str = ""
    accepted: bool = False


class StoredPicture(msgspec.Struct, frozen=True):
    """A picture on the shelf, and what it was made of: `source` is `services.pictures.develop.source_of` its file."""

    source: str
    picture: Picture


class Product(msgspec.Struct, frozen=True):
    """A product; key `gtin` (14 digits). Its standards and certificates in the order they are shown.

    `image` and `mark` are names of files as the registry file has them; what became of those files stands in
    `image_developed` and `mark_developed`, which no column of a registry file fills.
    """

    gtin: str
    uscc: str
    name: Bilingual
    standards: tuple[str, ...]
    certificates: tuple[str, ...] = ()
    brand: str = ""
    model: str = ""
    category: Bilingual = Bilingual()
    tier: str = "brand"
    image: str = ""
    mark: str = ""
    image_developed: StoredPicture | None = None
    mark_developed: StoredPicture | None = None


class Recognition(msgspec.Struct, frozen=True):
    """A brand recognition; key `number`. Carries the evidence of its path and of no other."""

    number: str
    gtin: str
    path: str
    valid_from: date
    valid_to: date
    old_stock: str = "warned"
    certificate: str = ""
    declaration_number: str = ""
    declaration_url: str = ""
    guarantee_number: str = ""
    guarantor: Bilingual = Bilingual()
    transferred_scheme: Bilingual = Bilingual()
    transferred_number: str = ""


class Indicator(msgspec.Struct, frozen=True):
    """One row of a product's comparison table. Direction: ge, le, range or text."""

    gtin: str
    name: Bilingual
    direction: str
    product_value: Bilingual
    standard_value: Bilingual
    national_value: Bilingual = Bilingual()
    benchmark_value: Bilingual = Bilingual()
    unit: str = ""
    method: str = ""
    report: str = ""


class Commitment(msgspec.Struct, frozen=True):
    """One quality commitment of a product."""

    gtin: str
    kind: str
    text: Bilingual
    insurer: Bilingual = Bilingual()
    policy: str = ""
    phone: str = ""


class ProductClaim(msgspec.Struct, frozen=True):
    """One typed claim of a product with its evidence."""

    gtin: str
    kind: str
    text: Bilingual
    evidence: str
    value: str = ""
    unit: str = ""
    evidence_url: str = ""
    issuer: Bilingual = Bilingual()
    valid_to: date | None = None


Record: TypeAlias = (
    Enterprise | Standard | Body | Certificate | Product | Recognition | Indicator | Commitment | ProductClaim
)


class Registry(msgspec.Struct):
    """Records by entity and key. The lists of a product (indicators …) stand under its GTIN, in order."""

    enterprises: dict[str, Enterprise] = {}
    standards: dict[str, Standard] = {}
    bodies: dict[str, Body] = {}
    certificates: dict[str, Certificate] = {}
    products: dict[str, Product] = {}
    recognitions: dict[str, Recognition] = {}
    indicators: dict[str, tuple[Indicator, ...]] = {}
    commitments: dict[str, tuple[Commitment, ...]] = {}
    claims: dict[str, tuple[ProductClaim, ...]] = {}


def merged(known: Registry, file: Registry) -> Registry:
    """What the registry is once the file is in: the file's records over the known ones.

    A product's indicators, commitments and claims are replaced list by list, never mixed.
    """
    return Registry(**{name: {**getattr(known, name), **getattr(file, name)} for name in Registry.__struct_fields__})
