"""The layout of a registry file: all sheets and fields, in both languages.

The template, the readers of workbooks and JSON and the messages of an import use this table; a test compares
docs/registry.md with it. A bilingual field is two columns of a workbook and one object {"zh": …, "en": …} of a JSON file.
English is always optional.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from zpcode.rules.registry import records
from zpcode.rules.registry.records import Record


class CellKind(enum.StrEnum):
    """How a cell is read; see `cell_values`."""

    TEXT = "text"
    PROSE = "prose"
    CODE = "code"
    CODES = "codes"
    USCC = "uscc"
    GTIN = "gtin"
    REGION = "region"
    INDUSTRY = "industry"
    REGISTRATION = "registration"
    URL = "url"
    FILE = "file"
    PHONE = "phone"
    EMAIL = "email"
    DATE = "date"
    YES_NO = "yes_no"
    COUNT = "count"
    CHOICE = "choice"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of an enumeration: its stored code, and its Chinese and English words."""

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a workbook. `name` is that of the field, with `.zh` or `.en` if the field has two languages."""

    name: str
    zh: str
    en: str
    required: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `limit` is its greatest length in characters; `zh_note` and `en_note` explain it."""

    name: str
    zh: str
    en: str
    kind: CellKind = CellKind.TEXT
    required: bool = False
    bilingual: bool = False
    limit: int = 200
    choices: tuple[Choice, ...] = ()
    zh_note: str = ""
    en_note: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column, or one for each language."""
        if not self.bilingual:
            return (Column(self.name, self.zh, self.en, self.required),)
        return (
            Column(f"{self.name}.zh", f"{self.zh}（中文）", f"{self.en} (zh)", self.required),
            Column(f"{self.name}.en", f"{self.zh}（英文）", f"{self.en} (en)", required=False),
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """One entity. `key` is the field that identifies a record; for lists of a product it is the GTIN.

    `plural` is the name of the entity in a JSON file, in `Registry` and in reports.
    """

    plural: str
    zh: str
    en: str
    record: type[Record]
    key: str
    fields: tuple[Field, ...]
    listed: bool = False

    @property
    def title(self) -> str:
        """The name of the sheet in a workbook, in Chinese and English."""
        return f"{self.zh} {self.en}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns of the sheet in order."""
        return tuple(column for field in self.fields for column in field.columns)


def _choices(*words: tuple[str, str, str]) -> tuple[Choice, ...]:
    return tuple(Choice(*word) for word in words)


STANDARD_KINDS: Final = _choices(
    ("product", "产品", "product"),
    ("process", "过程", "process"),
    ("method", "方法", "method"),
    ("basic", "基础", "basic"),
    ("producer_service", "生产性服务", "producer service"),
)
STANDARD_STATUSES: Final = _choices(
    ("in_force", "现行", "in force"),
    ("under_review", "复审中", "under review"),
    ("amended", "已修订", "amended"),
    ("abolished", "废止", "abolished"),
)
CERTIFICATE_KINDS: Final = _choices(
    ("zhejiang_made", "浙江制造", "Zhejiang Made"),
    ("ccc", "强制性产品认证", "CCC"),
    ("green", "绿色产品", "green product"),
    ("international", "国际认证", "international"),
    ("same_line", "三同", "same line, same standard, same quality"),
    ("carbon", "碳足迹", "carbon footprint"),
    ("organic", "有机产品", "organic"),
    ("management_system", "管理体系", "management system"),
    ("regional_brand", "其他区域品牌", "other regional brand"),
)
TIERS: Final = _choices(
    ("china_premium", "中国精品", "China Premium"),
    ("zhejiang_premium", "浙江精品", "Zhejiang Premium"),
    ("brand", "品字标", "Pin brand"),
)
PATHS: Final = _choices(
    ("certification", "标准+认证", "standard and certification"),
    ("self_declaration", "标准+自我声明公开+信用保证", "standard, public self-declaration and credit guarantee"),
    ("transfer", "转认", "transfer"),
)
OLD_STOCK: Final = _choices(
    ("valid", "继续有效", "still valid"),
    ("warned", "提示", "warned"),
    ("revoked", "撤销", "revoked"),
)
DIRECTIONS: Final = _choices(
    ("ge", "≥", "at least"),
    ("le", "≤", "at most"),
    ("range", "范围", "range"),
    ("text", "文字", "text"),
)
COMMITMENT_KINDS: Final = _choices(
    ("first_responsibility", "首负责任", "first responsibility"),
    ("three_guarantees", "三包", "three guarantees"),
    ("service", "服务", "service"),
    ("insurance", "质量保险", "quality insurance"),
    ("hotline", "热线", "hotline"),
)
CLAIM_KINDS: Final = _choices(
    ("same_line", "三同", "same line, same standard, same quality"),
    ("green", "绿色", "green"),
    ("carbon_footprint", "碳足迹", "carbon footprint"),
    ("carbon_label", "碳标签", "carbon label"),
)

_GTIN = Field(
    "gtin", "商品条码", "GTIN", CellKind.GTIN, required=True, zh_note="8、12、13 或 14 位", en_note="8 to 14 digits"
)
_HOLDER = Field("uscc", "统一社会信用代码", "USCC", CellKind.USCC, required=True, zh_note="18 位", en_note="GB 32100")

ENTERPRISES: Final = Sheet(
    "enterprises",
    "企业",
    "Enterprises",
    records.Enterprise,
    "uscc",
    (
        _HOLDER,
        Field("name", "名称", "Name", required=True, bilingual=True),
        Field("region", "行政区划代码", "Region", CellKind.REGION, True, zh_note="GB/T 2260", en_note="GB/T 2260"),
        Field("industry", "行业代码", "Industry", CellKind.INDUSTRY, True, zh_note="GB/T 4754", en_note="GB/T 4754"),
        Field("address", "地址", "Address", bilingual=True),
        Field("contact", "联系人", "Contact", limit=80, zh_note="不公开", en_note="not published"),
        Field("phone", "电话", "Phone", CellKind.PHONE, limit=40),
        Field("email", "电子邮箱", "E-mail", CellKind.EMAIL, zh_note="不公开", en_note="not published"),
        Field("website", "网站", "Website", CellKind.URL, limit=500),
        Field("story", "品牌故事", "Brand story", CellKind.PROSE, bilingual=True, limit=2000),
        Field("code_quota", "单品码额度", "Code quota", CellKind.COUNT, zh_note="空为不限", en_note="blank: no limit"),
    ),
)
STANDARDS: Final = Sheet(
    "standards",
    "标准",
    "Standards",
    records.Standard,
    "number",
    (
        Field("number", "标准号", "Number", CellKind.CODE, True, limit=60, zh_note="如 T/ZZB 0664-2018"),
        Field("title", "标题", "Title", required=True, bilingual=True),
        Field(
            "registration", "标准登记号", "Registration", CellKind.REGISTRATION, zh_note="ZZB □XXXX-YYYY，□ 为 D、Q、T"
        ),
        Field("kind", "标准类型", "Kind", CellKind.CHOICE, choices=STANDARD_KINDS),
        Field("status", "标准状态", "Status", CellKind.CHOICE, choices=STANDARD_STATUSES),
        Field("version", "版本", "Version", CellKind.CODE, limit=40),
        Field("text_url", "文本链接", "Text link", CellKind.URL, limit=500),
        Field("in_force_from", "实施日期", "In force from", CellKind.DATE),
        Field("replaced_by", "被代替", "Replaced by", CellKind.CODE, limit=60),
    ),
)
BODIES: Final = Sheet(
    "bodies",
    "认证机构",
    "Certification bodies",
    records.Body,
    "code",
    (
        Field("code", "机构代码", "Code", CellKind.CODE, required=True, limit=40),
        Field("name", "名称", "Name", required=True, bilingual=True),
        Field("approval", "批准号", "Approval", CellKind.CODE, limit=60, zh_note="如 CNCA-R-2002-001"),
        Field("website", "网站", "Website", CellKind.URL, limit=500),
    ),
)
CERTIFICATES: Final = Sheet(
    "certificates",
    "证书",
    "Certificates",
    records.Certificate,
    "number",
    (
        Field("number", "证书编号", "Number", CellKind.CODE, required=True, limit=80),
        _HOLDER,
        Field("body_code", "机构代码", "Body code", CellKind.CODE, required=True, limit=40),
        Field("kind", "证书类型", "Kind", CellKind.CHOICE, required=True, choices=CERTIFICATE_KINDS),
        Field("rule", "实施规则", "Rule", CellKind.CODE, limit=80),
        Field("valid_from", "有效期起", "Valid from", CellKind.DATE, required=True),
        Field("valid_to", "有效期止", "Valid to", CellKind.DATE, required=True),
        Field("accepted", "采信", "Accepted", CellKind.YES_NO, zh_note="采信其他制度的证书作为依据"),
    ),
)
_FILE_ZH: Final = "随附 ZIP 中的文件名（JPEG、PNG 或 WebP），如 保温杯.jpg"
_FILE_EN: Final = "name of a file (JPEG, PNG or WebP) in the ZIP beside the workbook, such as flask.jpg"
PRODUCTS: Final = Sheet(
    "products",
    "产品",
    "Products",
    records.Product,
    "gtin",
    (
        _GTIN,
        _HOLDER,
        Field("name", "名称", "Name", required=True, bilingual=True),
        Field("brand", "品牌", "Brand", limit=80),
        Field("model", "型号", "Model", CellKind.CODE, limit=80),
        Field("category", "类别", "Category", bilingual=True, limit=80),
        Field("tier", "层级", "Tier", CellKind.CHOICE, choices=TIERS),
        Field("image", "图片", "Image", CellKind.FILE, zh_note=_FILE_ZH, en_note=_FILE_EN),
        Field("mark", "商标图", "Brand mark", CellKind.FILE, zh_note=_FILE_ZH, en_note=_FILE_EN),
        Field("standards", "执行标准", "Standards", CellKind.CODES, True, limit=1000, zh_note="标准号，多个用分号隔开"),
        Field("certificates", "证书编号", "Certificates", CellKind.CODES, limit=1000, zh_note="多个用分号隔开"),
    ),
)
RECOGNITIONS: Final = Sheet(
    "recognitions",
    "认定",
    "Recognitions",
    records.Recognition,
    "number",
    (
        Field("number", "认定编号", "Number", CellKind.CODE, required=True, limit=80),
        _GTIN,
        Field("path", "认定路径", "Path", CellKind.CHOICE, required=True, choices=PATHS),
        Field("valid_from", "有效期起", "Valid from", CellKind.DATE, required=True),
        Field("valid_to", "有效期止", "Valid to", CellKind.DATE, required=True),
        Field("old_stock", "存量产品", "Old stock", CellKind.CHOICE, choices=OLD_STOCK),
        Field("certificate", "证书编号", "Certificate", CellKind.CODE, limit=80, zh_note="标准+认证"),
        Field("declaration_number", "自我声明编号", "Declaration number", CellKind.CODE, limit=80, zh_note="自我声明"),
        Field("declaration_url", "自我声明链接", "Declaration link", CellKind.URL, limit=500, zh_note="自我声明"),
        Field("guarantee_number", "信用保证编号", "Guarantee number", CellKind.CODE, limit=80, zh_note="自我声明"),
        Field("guarantor", "保证人", "Guarantor", bilingual=True, zh_note="自我声明"),
        Field("transferred_scheme", "转认来源", "Transferred scheme", bilingual=True, zh_note="转认"),
        Field("transferred_number", "转认证书编号", "Transferred number", CellKind.CODE, limit=80, zh_note="转认"),
    ),
)
INDICATORS: Final = Sheet(
    "indicators",
    "指标",
    "Indicators",
    records.Indicator,
    "gtin",
    (
        _GTIN,
        Field("name", "指标名称", "Indicator", required=True, bilingual=True, limit=120),
        Field("direction", "方向", "Direction", CellKind.CHOICE, required=True, choices=DIRECTIONS),
        Field("unit", "单位", "Unit", limit=40),
        Field("product_value", "产品值", "Product value", CellKind.VALUE, True, bilingual=True),
        Field("standard_value", "标准值", "Standard value", CellKind.VALUE, True, bilingual=True),
        Field("national_value", "国标或行标值", "National value", CellKind.VALUE, bilingual=True),
        Field("benchmark_value", "国际标杆值", "Benchmark value", CellKind.VALUE, bilingual=True),
        Field("method", "试验方法", "Test method"),
        Field("report", "报告编号", "Report", CellKind.CODE, limit=80),
    ),
    listed=True,
)
COMMITMENTS: Final = Sheet(
    "commitments",
    "承诺",
    "Commitments",
    records.Commitment,
    "gtin",
    (
        _GTIN,
        Field("kind", "承诺类型", "Kind", CellKind.CHOICE, required=True, choices=COMMITMENT_KINDS),
        Field("text", "承诺内容", "Text", CellKind.PROSE, required=True, bilingual=True, limit=1000),
        Field("insurer", "保险人", "Insurer", bilingual=True),
        Field("policy", "保单号", "Policy", CellKind.CODE, limit=80),
        Field("phone", "电话", "Phone", CellKind.PHONE, limit=40),
    ),
    listed=True,
)
CLAIMS: Final = Sheet(
    "claims",
    "声明",
    "Claims",
    records.ProductClaim,
    "gtin",
    (
        _GTIN,
        Field("kind", "声明类型", "Kind", CellKind.CHOICE, required=True, choices=CLAIM_KINDS),
        Field("text", "声明内容", "Text", CellKind.PROSE, required=True, bilingual=True, limit=1000),
        Field("value", "数值", "Value", CellKind.VALUE, limit=40),
        Field("unit", "单位", "Unit", limit=80),
        Field("evidence", "证据", "Evidence", required=True, zh_note="证书、报告或声明的编号"),
        Field("evidence_url", "证据链接", "Evidence link", CellKind.URL, limit=500),
        Field("issuer", "出具方", "Issuer", bilingual=True),
        Field("valid_to", "有效期止", "Valid to", CellKind.DATE),
    ),
    listed=True,
)

# The order in which records are written: a record refers only to earlier ones.
SHEETS: Final = (
    ENTERPRISES,
    STANDARDS,
    BODIES,
    CERTIFICATES,
    PRODUCTS,
    RECOGNITIONS,
    INDICATORS,
    COMMITMENTS,
    CLAIMS,
)
