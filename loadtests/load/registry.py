"""A made-up registry of any size: the demo's enterprises and products repeated, with other numbers.

Everything is valid until 2099, so a code is green on any day. GTINs are from GS1's demonstration range (950 6…) and differ
from those of the demo.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

from stdnum import ean
from stdnum.cn import uscc as stdnum_uscc

PER_ENTERPRISE: Final = 200
MAX_PRODUCTS: Final = 1_000_000
_ALWAYS: Final = {"valid_from": "2024-01-01", "valid_to": "2099-12-31"}
Record = dict[str, Any]


def gtin(number: int) -> str:
    """The GTIN-14 of the product of this number, 0 … 999 999."""
    stem = f"950610{number:06d}"
    return f"0{stem}{ean.calc_check_digit(stem)}"


def uscc(number: int) -> str:
    """The 统一社会信用代码 of the enterprise of this number, 0 … 9999."""
    stem = f"91330100MA9L0{number:04d}"
    return stem + str(stdnum_uscc.calc_check_digit(stem))


def files_for(products: int) -> Iterator[bytes]:
    """Registry files in JSON: one for each enterprise, with up to 200 products. Import them one after another."""
    demo = json.loads(files("zpcode.demo").joinpath("registry.json").read_bytes())
    makers = [(maker, models) for maker in demo["enterprises"] if (models := _certified(demo, maker["uscc"]))]
    for number, first in enumerate(range(0, products, PER_ENTERPRISE)):
        maker, models = makers[number % len(makers)]
        numbers = range(first, min(first + PER_ENTERPRISE, products))
        yield json.dumps(_enterprise(demo, number, maker, models, numbers), ensure_ascii=False).encode("utf-8")


def _certified(demo: Record, maker: str) -> list[Record]:
    """The products of an enterprise whose recognition is based on a certificate."""
    return [
        product
        for product in demo["products"]
        if product["uscc"] == maker and product["recognitions"][0]["path"] == "certification"
    ]


def _enterprise(demo: Record, number: int, maker: Record, models: list[Record], numbers: range) -> Record:
    """The registry file of one enterprise: the demo's products in turn, under these numbers."""
    used = {certificate for product in models for certificate in product["certificates"]}
    certificates = [one for one in demo["certificates"] if one["number"] in used]
    renamed = {one["number"]: f"LOAD-{number:04d}-{index}" for index, one in enumerate(certificates)}
    own = {key: value for key, value in maker.items() if key != "code_quota"}
    return {
        "enterprises": [own | {"uscc": uscc(number), "name": _numbered(maker["name"], number)}],
        "standards": demo["standards"],
        "bodies": demo["bodies"],
        "certificates": [
            one | _ALWAYS | {"number": renamed[one["number"]], "uscc": uscc(number)} for one in certificates
        ],
        "products": [_product(models[one % len(models)], one, uscc(number), renamed) for one in numbers],
    }  # fmt: skip


def _product(model: Record, number: int, maker: str, renamed: dict[str, str]) -> Record:
    product = copy.deepcopy(
        {key: value for key, value in model.items() if key not in {"image", "mark"}}
    )  # pictures come in a ZIP file, and there is none
    recognition = product["recognitions"][0] | _ALWAYS
    recognition |= {"number": f"LOAD-{number:06d}", "certificate": renamed[recognition["certificate"]]}
    return product | {
        "gtin": gtin(number),
        "uscc": maker,
        "name": _numbered(product["name"], number),
        "certificates": [renamed[one] for one in product["certificates"]],
        "recognitions": [recognition],
    }


def _numbered(name: dict[str, str], number: int) -> dict[str, str]:
    return {"zh": f"{name['zh']} {number} 号", "en": f"{name['en']} no. {number}"}
