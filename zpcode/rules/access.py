"""Callers: the role and subject behind an API key or a command line, the enterprises within reach, and API keys."""

from __future__ import annotations

import enum
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from zpcode.errors import Finding, Findings, Forbidden, Refused, Text
from zpcode.language.visible import MAX_MARKS, is_blank, piles_marks
from zpcode.rules.regions import PROVINCE, is_region
from zpcode.rules.registry import identifiers
from zpcode.wire.base32 import seal_text, serial_text

KEY_ID_BYTES: Final = 8  # 60 of these bits are the 12 characters of a key id
SECRET_BYTES: Final = 32
MAX_LABEL: Final = 100
USE_NOTED_EVERY: Final = timedelta(minutes=1)
OPERATOR_SUBJECT: Final = "*"
_TOKEN = re.compile(r"zpk_([0-9A-HJKMNP-TV-Z]{12})_([A-Z2-7]{52})", re.ASCII)


class Role(enum.StrEnum):
    """The three kinds of caller."""

    ENTERPRISE = "enterprise"
    REGULATOR = "regulator"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Reach:
    """Which records a caller sees: those that meet all conditions here; all records if there is no condition.

    `uscc`: only records of this enterprise are within reach. `region_prefix`: only records in regions whose codes begin
    with it (2, 4 or 6 digits, GB/T 2260). `ownerless`: records without enterprise and region (standards, keys, decisions
    about them) are open to every caller. `Reach.covers` and `zpcode.store.reach` both apply these conditions.
    """

    ownerless: ClassVar[bool] = True
    uscc: str | None = None
    region_prefix: str | None = None

    def covers(self, uscc: str | None, region: str | None) -> bool:
        """Whether a record of this enterprise (None: of no enterprise) in this region (None: in no region) is within reach."""
        if uscc is None and region is None:
            return self.ownerless
        region = region or ""
        return (self.uscc is None or uscc == self.uscc) and region.startswith(self.region_prefix or "")


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller. `subject` is a USCC, a GB/T 2260 region code (6 digits), or `*` for the operator.

    `credential` names the API key (or `cli:USER` for a command line) in the audit log.
    """

    role: Role
    subject: str
    credential: str

    @property
    def name(self) -> str:
        """How the audit log names this caller."""
        return f"{self.role}:{self.subject}:{self.credential}"

    @property
    def reach(self) -> Reach:
        """An enterprise sees its own records, a regulator those of its region, the operator all. This is the only place of the rule.

        The region code of a whole province or city ends in pairs of zeros (GB/T 2260). Without them it is a prefix of
        the codes of all its regions.
        """
        match self.role:
            case Role.ENTERPRISE:
                return Reach(uscc=self.subject)
            case Role.REGULATOR:
                return Reach(region_prefix=region_prefix(self.subject))
            case Role.OPERATOR:
                return Reach()

    def reaches(self, uscc: str | None, region: str | None) -> bool:
        """Whether a record of this enterprise and this region (None: it has none) is within the caller's reach."""
        return self.reach.covers(uscc, region)


def region_prefix(region: str) -> str:
    """The part of a region code that its sub-regions share: 330000 → 33, 330100 → 3301, 330106 → 330106."""
    while len(region) > 2 and region.endswith("00"):
        region = region[:-2]
    return region


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key. Only the hash of its secret is stored, beside it."""

    id: str
    role: Role
    subject: str
    label: str
    created_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def caller(self) -> Caller:
        """The caller who sends this key."""
        return Caller(self.role, self.subject, self.id)

    def should_note_use(self, now: datetime) -> bool:
        """Whether to store a use at `now`: the time of the last use is stored at most once a minute."""
        return self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY


def key_id(randomness: bytes) -> str:
    """A key id, 12 Crockford characters, from 8 random bytes."""
    return serial_text(int.from_bytes(randomness, "big") >> 4, 12)


def secret_text(randomness: bytes) -> str:
    """The secret half of a key, 52 RFC 4648 Base32 characters, from 32 random bytes."""
    return seal_text(randomness)


def token(id_: str, secret: str) -> str:
    """The token that a caller sends: `zpk_ID_SECRET`."""
    return f"zpk_{id_}_{secret}"


def parse_token(text: str) -> tuple[str, str] | None:
    """The id and the secret of a token; None if the text is not a token."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else (match[1], match[2])


def secret_hash(secret: str) -> bytes:
    """The SHA-256 of a secret; only this is stored. The secret is 256 random bits, so it needs no slow hash."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def may_administer(caller: Caller) -> None:
    """Raise Forbidden unless the caller is the operator: only the operator imports registries and manages API keys."""
    if caller.role is not Role.OPERATOR:
        text = Text("只有平台运营方可以执行此操作", "only the operator of the service may do this")
        raise Forbidden(text, (Finding("role", text),))


def may_take_codes(caller: Caller) -> None:
    """Raise Forbidden for a regulator: only the enterprise and the operator get files of codes."""
    if caller.role is Role.REGULATOR:
        text = Text("监管账号不能下载码文件", "a regulator does not download files of codes")
        raise Forbidden(text, (Finding("role", text),))


def may_describe(caller: Caller) -> None:
    """Raise Forbidden for a regulator: only the enterprise and the operator change the pictures of a product."""
    if caller.role is Role.REGULATOR:
        text = Text("监管账号不能更换产品图片", "a regulator does not change the pictures of products")
        raise Forbidden(text, (Finding("role", text),))


def key_subject(role: Role, subject: str, label: str) -> str:
    """The subject of a new key in its canonical form. Raises Refused with every finding.

    Enterprise: a USCC (GB 32100). Regulator: Zhejiang, or one of its cities or counties (GB/T 2260). Operator: `*`.
    Whether an enterprise is registered is not checked here.
    """
    findings = Findings()
    if role is Role.ENTERPRISE:
        try:
            subject = identifiers.uscc(subject)
        except Refused as refused:
            findings.add("subject", refused.text.zh, refused.text.en, where="/subject", value=subject)
    elif role is Role.REGULATOR and subject != PROVINCE and not is_region(subject):
        findings.add(
            "subject",
            "不是浙江省或其市、县（市、区）的行政区划代码（GB/T 2260，6 位）",
            "not the code of Zhejiang, or of a city or county of it (GB/T 2260, 6 digits)",
            where="/subject",
            value=subject,
        )
    elif role is Role.OPERATOR and subject != OPERATOR_SUBJECT:
        findings.add(
            "subject", "运营方的主体须为 *", "the subject of an operator is *", where="/subject", value=subject
        )
    if (
        is_blank(label)
        or piles_marks(label)
        or len(label) > MAX_LABEL
        or any(unicodedata.category(character)[0] == "C" for character in label)
    ):
        findings.add(
            "label",
            f"须写明由谁或什么系统使用：1 至 {MAX_LABEL} 个字符，须有可见的字符，不含控制字符，一个字符最多带 {MAX_MARKS} 个组合符号",
            f"a label says who or what uses the key: 1 to {MAX_LABEL} characters that show something, no control characters, at most {MAX_MARKS} combining marks in a row",
            where="/label",
            value=ascii(label),
        )
    findings.refuse("不能创建这个访问密钥", "this API key is refused")
    return subject
