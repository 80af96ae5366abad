"""The examples in the OpenAPI document: a fictional enterprise, its product, a batch, decisions and complaints."""

from __future__ import annotations

from typing import Any, Final

from zpcode.exports.base import CodeRow, Export

GTIN: Final = "09501101530003"
USCC: Final = "91330100MA2T00001Y"
NUMBER: Final = 4711

Example = dict[str, Any]

ORDER: Final[Example] = {
    "level": "item",
    "gtin": GTIN,
    "quantity": 20000,
    "lot": "L20261121",
    "production_date": "2026-11-20",
    "expiry_date": None,
    "format": "csv",
    "activation": "on_issue",
}
BATCH: Final[Example] = {
    "number": NUMBER,
    "enterprise": USCC,
    "gtin": GTIN,
    "level": "item",
    "quantity": 20000,
    "codes": 20000,
    "lot": "L20261121",
    "production_date": "2026-11-20",
    "expiry_date": None,
    "format": "csv",
    "base": "https://zpm.example",
    "activation": "on_issue",
    "state": "issued",
    "key_id": "K7QF",
    "created_at": "2026-11-21T04:00:00Z",
    "issued_at": "2026-11-21T04:00:03Z",
    "activated_at": "2026-11-21T04:00:03Z",
    "progress": {"written": 20000, "codes": 20000},
    "file": {
        "href": f"/v1/batches/{NUMBER}/codes",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 4060058,
    },
    "problem": None,
}
RESERVED: Final[Example] = BATCH | {
    "state": "reserved",
    "key_id": "",
    "issued_at": None,
    "activated_at": None,
    "progress": {"written": 0, "codes": 20000},
    "file": None,
}
PRODUCT: Final[Example] = {
    "gtin": GTIN,
    "enterprise": USCC,
    "name": {"zh": "双金属螺杆", "en": "Bimetallic screw"},
    "brand": "青澄",
    "model": "QC-45",
    "tier": "brand",
    "recognition": {
        "number": "PZB-0001",
        "path": "certification",
        "valid_from": "2024-03-01",
        "valid_to": "2028-02-29",
    },
}
CARD: Final[Example] = {
    "gtin": GTIN,
    "name": {"zh": "双金属螺杆", "en": "Bimetallic screw"},
    "enterprise": {
        "uscc": USCC,
        "name": {"zh": "杭州青澄机械有限公司", "en": "Hangzhou Qingcheng Machinery"},
        "region": "330110",
        "region_name": {"zh": "浙江省杭州市余杭区", "en": "Yuhang District, Hangzhou, Zhejiang"},
    },
    "recognition": {
        "number": "PZB-0001",
        "path": "certification",
        "valid_from": "2024-03-01",
        "valid_to": "2028-02-29",
        "certificate": "ZM-0001",
    },
    "standards": [
        {
            "number": "T/ZZB 0001-2023",
            "title": {"zh": "双金属螺杆", "en": "Bimetallic screws"},
            "registration": "ZZB T0001-2023",
        }
    ],
    "certificates": [],
    "indicators": [
        {
            "name": {"zh": "表面硬度", "en": "Surface hardness"},
            "direction": "ge",
            "unit": "HRC",
            "product": {"zh": "62"},
            "standard": {"zh": "≥ 60"},
            "national": {"zh": "≥ 55"},
        }
    ],
    "commitments": [{"kind": "hotline", "text": {"zh": "工作日接听"}, "phone": "400-800-1200"}],
}
_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015"
PICTURE: Final[Example] = {
    "digest": _DIGEST,
    "width": 320,
    "height": 320,
    "files": [
        f"https://zpm.example/pictures/{_DIGEST}-{name}" for name in ("160.webp", "320.webp", "160.jpg", "320.jpg")
    ],
}
ENTERPRISE: Final[Example] = {
    "uscc": USCC,
    "name": {"zh": "杭州青澄机械有限公司", "en": "Hangzhou Qingcheng Machinery"},
    "region": "330110",
    "region_name": {"zh": "浙江省杭州市余杭区", "en": "Yuhang District, Hangzhou, Zhejiang"},
    "industry": "C3523",
    "code_quota": None,
}
EVENT_ORDER: Final[Example] = {
    "kind": "inspected",
    "at": "2026-11-20",
    "place": {"zh": "浙江杭州", "en": "Hangzhou, Zhejiang"},
    "by": {"zh": "企业中心实验室", "en": "Central laboratory of the plant"},
    "note": {"zh": "全项合格", "en": "All tests passed"},
    "document": "QC-2026-1120-07",
    "supersedes": None,
}
EVENT: Final[Example] = EVENT_ORDER | {
    "id": 812,
    "biz_step": "inspecting",
    "at": "2026-11-19T16:00:00Z",
    "precision": "day",
    "shown": True,
    "recorded_at": "2026-11-21T04:00:00Z",
    "withdrawn_at": None,
    "withdrawal": "",
}
DECISION: Final[Example] = {
    "scope": "batch",
    "target": str(NUMBER),
    "action": "recall",
    "reason": "safety-recall",
    "legal_basis": "《消费品召回管理暂行规定》第十三条",
    "note": {
        "zh": "螺纹可能断裂，请停止使用并联系企业退换。",
        "en": "The thread may break. Stop using it and return it.",
    },
    "notice": "浙市监召〔2026〕18号",
    "effective_at": None,
}
NOTICE: Final[Example] = {
    "id": 93,
    "scope": "batch",
    "target": str(NUMBER),
    "first": None,
    "last": None,
    "action": "recall",
    "reason": "safety-recall",
    "reason_text": {"zh": "缺陷产品召回", "en": "recall of defective products"},
    "state": "recalled",
    "note": {
        "zh": "螺纹可能断裂，请停止使用并联系企业退换。",
        "en": "The thread may break. Stop using it and return it.",
    },
    "notice": "浙市监召〔2026〕18号",
    "authority": {"zh": "浙江省市场监督管理局", "en": "Zhejiang Administration for Market Regulation"},
    "effective_at": "2026-11-21T04:00:00Z",
}
CHANGE: Final[Example] = NOTICE | {
    "actor": "province",
    "lifts": None,
    "legal_basis": "《消费品召回管理暂行规定》第十三条",
    "enterprise": USCC,
    "barred_until": None,
    "created_at": "2026-11-21T04:00:00Z",
}
MADE: Final[Example] = CHANGE | {"repeated": False, "projected": True}
KEY_ORDER: Final[Example] = {"role": "enterprise", "subject": USCC, "label": "MES 生产线 2"}
KEY: Final[Example] = {
    "id": "3T7XJ0Q4M8RA",
    "role": "enterprise",
    "subject": USCC,
    "label": "MES 生产线 2",
    "created_at": "2026-11-21T04:00:00Z",
    "revoked_at": None,
    "last_used_at": None,
}
NEW_KEY: Final[Example] = KEY | {"token": "zpk_3T7XJ0Q4M8RA_" + "EXAMPLE2" * 6 + "ABCD"}
IMPORT: Final[Example] = {
    "dry_run": True,
    "counts": {"products": {"new": 0, "changed": 1, "unchanged": 19, "removed": 0}},
    "changes": [{"entity": "products", "key": GTIN, "kind": "changed", "fields": [["model", "QC-40", "QC-45"]]}],
    "changes_in_all": 1,
    "products": [GTIN],
    "products_in_all": 1,
    "withheld": {},
    "withheld_in_all": 0,
}
REGISTRY: Final[Example] = {"enterprises": [{"uscc": USCC, "name": {"zh": "杭州青澄机械有限公司"}, "region": "330110", "industry": "C3523"}]}  # fmt: skip
READY: Final[Example] = {"ready": True}
PROBLEM_KIND: Final[Example] = {
    "type": "/problems/not-found",
    "status": 404,
    "title": {"zh": "没有找到", "en": "Not found"},
    "advice": {"zh": "该对象不存在，或者不在您的权限范围内；两种情况的应答相同。", "en": "The object does not exist, or it is outside your reach. The answer is the same in both cases."},
}  # fmt: skip
KEYRING: Final[Example] = {
    "serial": 3,
    "issued": "2026-11-01T02:00:00Z",
    "keys": [{"id": "K7QF", "suite": "ES256-P1363-LOWS", "state": "active"}],
}
_SERIAL: Final = "04JQ7M2X9TBK"
_CODE: Final = CodeRow(f"https://zpm.example/SEAL/01/{GTIN}/21/{_SERIAL}", GTIN, "L20261121", _SERIAL, "2026-11-20", "")


def codes(export: Export) -> str:
    """The header and the first row of a code file in a format."""
    return export.example(_CODE)
