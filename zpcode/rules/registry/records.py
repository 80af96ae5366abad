"""The records of the registry: enterprises, standards, certificates, products and others.

Frozen structs, one for each sheet of the workbook and each table of the database. `reader` makes them from the cells of a
file; `consistency` checks whether they agree with each other. Dates are calendar dates of Asia/Shanghai.
"""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

import msgspec

from zpcode.wire.card import Picture
from zpcode.wire.vocabulary import Bilingual


class Enterprise(msgspec.Struct, frozen=True):
    """A manufacturer; key `uscc`, its 统一社会信用代码. `code_quota` None: no limit on item codes."""

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
    """A standard; key `number`, its own. `registration` is `ZZB □XXXX-YYYY`."""

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
    """A certificate; key `number`. `accepted` is True for another scheme accepted as evidence (采信)."""

    number: str
    uscc: str
    body_code: str
    kind: str
    valid_from: date
    valid_to: date
    rule: str = ""
    accepted: bool = False


class StoredPicture(msgspec.Struct, frozen=True):
    """A stored picture. `source` identifies the file it was made from (`zpcode.services.pictures.encode.source_of`)."""

    source: str
    picture: Picture


class Product(msgspec.Struct, frozen=True):
    """A product; key `gtin` (14 digits). Standards and certificates are in the order in which they are shown.

    `image` and `mark` are file names in the registry file. `image_developed` and `mark_developed` are the stored pictures
    made from those files; they are no columns of a registry file.
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
    """A brand recognition; key `number`. It has the evidence for its own path and for no other path."""

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
    """Records by entity and key. The lists of a product (indicators and others) have its GTIN as key, in order."""

    enterprises: dict[str, Enterprise] = {}
    standards: dict[str, Standard] = {}
    bodies: dict[str, Body] = {}
    certificates: dict[str, Certificate] = {}
    products: dict[str, Product] = {}
    recognitions: dict[str, Recognition] = {}
    indicators: dict[str, tuple[Indicator, ...]] = {}
    commitments: dict[str, tuple[Commitment, ...]] = {}
    claims: dict[str, tuple[ProductClaim, ...]] = {}


def merged(stored: Registry, file: Registry) -> Registry:
    """The registry after the import of a file: its records replace the stored ones with the same keys.

    The indicators, commitments and claims of a product are replaced as whole lists.
    """
    return Registry(**{name: {**getattr(stored, name), **getattr(file, name)} for name in Registry.__struct_fields__})
