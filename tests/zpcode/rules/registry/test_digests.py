"""The digests of the registry's records, and what a product's card is derived from."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from zpcode.rules.registry import digests as rules
from zpcode.rules.registry.layout import SHEETS
from zpcode.rules.registry.records import (
    Body,
    Certificate,
    Commitment,
    Enterprise,
    Indicator,
    Product,
    ProductClaim,
    Recognition,
    Registry,
    Standard,
    StoredPicture,
)
from zpcode.wire.card import Picture
from zpcode.wire.vocabulary import Bilingual

GTIN = "09501101530003"
NAME = Bilingual("名", "name")
PICTURE = StoredPicture("s", Picture("d", 1, 1, (1,)))
WHOLE = Registry(
    enterprises={"U": Enterprise("U", NAME, "330110", "C3523")},
    standards={"S": Standard("S", NAME)},
    bodies={"B": Body("B", NAME)},
    certificates={"C": Certificate("C", "U", "B", "zhejiang_made", date(2024, 1, 1), date(2029, 1, 1))},
    products={GTIN: Product(GTIN, "U", NAME, ("S",), ("C",), image_developed=PICTURE)},
    recognitions={"R": Recognition("R", GTIN, "certification", date(2024, 1, 1), date(2028, 1, 1), certificate="C")},
    indicators={GTIN: (Indicator(GTIN, NAME, "ge", NAME, NAME),)},
    commitments={GTIN: (Commitment(GTIN, "hotline", NAME),)},
    claims={GTIN: (ProductClaim(GTIN, "green", NAME, "GP-1"),)},
)
NAMES = {"enterprise:U", "standard:S", "body:B", "certificate:C", "recognition:R"} | {
    f"{kind}:{GTIN}" for kind in ("product", "indicators", "commitments", "claims", "image")
}
_OTHER: dict[str, Any] = {
    "str": "other",
    "date": date(2001, 1, 1),
    "bool": True,
    "int": 7,
    "Bilingual": Bilingual("别"),
}


def of(registry: Registry) -> dict[str, str]:
    """All digests."""
    return rules.digests(registry, NAMES | {f"mark:{GTIN}"})


def changed(plural: str, field: str) -> Registry:
    """The registry with another value in one field of its one record of an entity."""
    records = dict(getattr(WHOLE, plural))
    ((key, record),) = records.items()
    first = record[0] if isinstance(record, tuple) else record
    value = getattr(first, field)
    annotation = str(type(first).__annotations__[field])
    hint = next((name for name in _OTHER if name in annotation), "")
    other: Any = ("X",) if isinstance(value, tuple) else _OTHER.get(hint, PICTURE)
    if other == value:
        other = None
    new = msgspec.structs.replace(first, **{field: other})
    return msgspec.structs.replace(WHOLE, **{plural: {key: (new,) if isinstance(record, tuple) else new}})


def test_every_record_has_its_own_digest() -> None:
    assert of(WHOLE).keys() == NAMES
    assert len(set(of(WHOLE).values())) == len(NAMES)


@pytest.mark.parametrize(
    ("plural", "field"),
    [(sheet.plural, field) for sheet in SHEETS for field in sheet.record.__struct_fields__ if field != sheet.key],
)
def test_each_field_is_in_exactly_one_digest(plural: str, field: str) -> None:
    """A field that is in none could be changed unnoticed; one that is in two would be confirmed with the other."""
    before, after = of(WHOLE), of(changed(plural, field))
    different = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    expected = {
        ("products", "image_developed"): {f"image:{GTIN}"},
        ("products", "mark_developed"): {f"mark:{GTIN}"},
        ("recognitions", "gtin"): {"recognition:R", f"product:{GTIN}"},
    }
    key = next(iter(getattr(WHOLE, plural)))
    assert different == expected.get((plural, field), {rules.name(plural, key)})


def test_a_field_with_its_default_is_in_no_digest() -> None:
    """So a new field with a default does not make all records differ after an upgrade."""
    assert rules.fields(WHOLE.bodies["B"]) == {"code": "B", "name": {"zh": "名", "en": "name"}}
    assert rules.fields(WHOLE.claims[GTIN][0]).keys() == {"gtin", "kind", "text", "evidence"}


def test_the_digests_of_a_whole_registry_stay_what_they_were() -> None:
    """As `test_a_digest_stays_what_it_was`: these are in the log of every installation."""
    digests = of(WHOLE)
    assert digests["enterprise:U"] == "1:Jne3jkL1Jn8nEdYVH7dvvD56bJynQ3xN9SNyRrcT6wc"
    assert digests[f"product:{GTIN}"] == "1:dT_n5kgoohLyi-qnwDijJ5XYRD6NPaIAe8SigPQxIto"
    assert digests[f"indicators:{GTIN}"] == "1:wefZsp38-cKyHWXsIfGL49ZHOcOaEUPNy-J9Ic9_bAA"


def test_a_card_is_derived_from_all_records_that_it_shows() -> None:
    missing = {f"mark:{GTIN}"}
    assert rules.sources(WHOLE, [GTIN, "unknown"]) == {GTIN: NAMES | missing}
