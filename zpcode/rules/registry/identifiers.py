"""The identifiers of the registry: USCC, GTIN, registration number and others.

Each function takes cleaned text (see `cell_values`) and returns the canonical form, or raises `Refused` with one
finding. The caller adds the location.
"""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import urlsplit

from stdnum.cn import uscc as stdnum_uscc

from zpcode.errors import refusal
from zpcode.rules.regions import FORMER, REGIONS, is_region
from zpcode.rules.registry.industries import industry as full_industry
from zpcode.wire.gs1 import gtin14

FIRST_REGISTRATION_YEAR = 2014  # the year the brand began
_REGISTRATION = re.compile(r"ZZB\s?([DQT])\s?([0-9]{4})-([0-9]{4})", re.ASCII)
_PHONE = re.compile(r"\+?[0-9][0-9 ()-]{3,24}[0-9]", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-"))


def uscc(text: str) -> str:
    """A 统一社会信用代码: 18 characters without I, O, S, V, Z, check character mod 31 (GB 32100)."""
    code = re.sub(r"[\s-]", "", text).upper()
    if stdnum_uscc.is_valid(code):
        return code
    if len(code) != 18:
        raise refusal(
            "uscc",
            f"统一社会信用代码应为 18 位，这里是 {len(code)} 位",
            f"a unified social credit code has 18 characters, this has {len(code)}",
        )
    raise refusal(
        "uscc",
        "统一社会信用代码不正确：字符（不含 I、O、S、V、Z）或末位校验码有误，请与营业执照核对",
        "not a unified social credit code: a character (I, O, S, V, Z do not occur) or the last, "
        "the check character, is wrong; compare it with the business licence",
    )


def gtin(text: str) -> str:
    """A GTIN-8, -12, -13 or -14 as 14 digits. Leading zeros that a spreadsheet removed are added again.

    Seven to fourteen digits are accepted: leading zeros do not change the check digit (GS1 General Specifications, 7.9),
    so a number with a correct check digit is the intended one.
    """
    digits = re.sub(r"[\s-]", "", text)
    if not (digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 14):
        raise refusal(
            "gtin",
            "商品条码（GTIN）应为 8、12、13 或 14 位数字",
            "a GTIN has 8, 12, 13 or 14 digits",
        )
    full = gtin14(digits.rjust(14, "0"))
    if full is None or not int(full):
        raise refusal(
            "gtin",
            "商品条码（GTIN）校验位不正确，请与条码核对",
            "the GTIN's check digit is wrong; compare it with the bar code",
        )
    return full


def registration(text: str, today: date) -> str:
    """A standard's registration number `ZZB □XXXX-YYYY`, □ one of D, Q, T (seed 004, annex 1, 2.6)."""
    match = _REGISTRATION.fullmatch(text.translate(_DASHES).upper())
    if match is None:
        raise refusal(
            "registration",
            "标准登记号应为 ZZB □XXXX-YYYY，□ 为 D（地方）、Q（企业）或 T（团体），如 ZZB T0664-2018",
            "a registration number is ZZB □XXXX-YYYY, where □ is D (local), Q (enterprise) or T (group), "
            "for example ZZB T0664-2018",
        )
    letter, serial, year = match.groups()
    if not FIRST_REGISTRATION_YEAR <= int(year) <= today.year:
        raise refusal(
            "registration_year",
            f"标准登记号的年份应在 {FIRST_REGISTRATION_YEAR} 至 {today.year} 之间",
            f"the year of a registration number is between {FIRST_REGISTRATION_YEAR} and {today.year}",
        )
    return f"ZZB {letter}{serial}-{year}"


def registration_letter(number: str) -> str:
    """The registration letter for a standard's number: T/… → T, DB… → D, Q/… → Q, empty for others."""
    match = re.match(r"(T/|Q/|DB)", number.upper())
    return match[1][0] if match else ""


def region(text: str) -> str:
    """A GB/T 2260 code of a city or county of Zhejiang."""
    if is_region(text):
        return text
    if text in FORMER:
        successor = FORMER[text]
        name = REGIONS[successor]
        raise refusal(
            "region",
            f"该行政区划代码已撤销，现为 {successor} {name.zh}",
            f"this region code is no longer used; it is now {successor} {name.en}",
        )
    raise refusal(
        "region",
        "不是浙江省内市、县（市、区）的行政区划代码（GB/T 2260，6 位，如 330702）",
        "not the code of a city or county of Zhejiang (GB/T 2260, 6 digits, for example 330702)",
    )


def industry(text: str) -> str:
    """A GB/T 4754-2017 code, section letter and two to four digits."""
    code = full_industry(text.upper())
    if code is None:
        raise refusal(
            "industry",
            "不是国民经济行业代码（GB/T 4754-2017，门类字母加 2 至 4 位数字，如 C3525）",
            "not an industry code (GB/T 4754-2017, section letter and 2 to 4 digits, for example C3525)",
        )
    return code


def url(text: str) -> str:
    """An absolute http or https address without user name, at most 500 characters."""
    if _is_web_address(text):
        return text
    raise refusal(
        "url",
        "网址应以 http:// 或 https:// 开头，且不含空格",
        "a web address begins with http:// or https:// and has no blanks",
    )


def _is_web_address(text: str) -> bool:
    if len(text) > 500 or any(character.isspace() or character in '"<>\\^`{|}' for character in text):
        return False
    try:
        parts = urlsplit(text)
        host, port = parts.netloc, parts.port
    except ValueError:
        return False
    host = host.rsplit(":", 1)[0] if port is not None else host
    return parts.scheme in {"http", "https"} and _HOST.fullmatch(host) is not None


def file_name(text: str) -> str:
    """The name of a file in the ZIP of an import, with or without its folders, separated by `/`."""
    steps = text.replace("\\", "/").split("/")
    if "://" in text or text.startswith(("/", "\\")) or not all(step.strip(". ") for step in steps):
        raise refusal(
            "file_name",
            "这里填随附 ZIP 中的文件名，如 保温杯.jpg；不能填网址或本机路径，请把图片放进 ZIP",
            "expected: the name of a file in the ZIP of this import, such as flask.jpg; not a web address "
            "and not a path on your computer; put the picture into the ZIP",
        )
    return "/".join(steps)


def phone(text: str) -> str:
    """A telephone number: digits, blanks, hyphens and brackets, with or without +country; also 12315."""
    if _PHONE.fullmatch(text):
        return text
    raise refusal(
        "phone",
        "电话只能含数字、空格、连字符、括号和开头的 +，如 0571-8888 0000",
        "a telephone number has only digits, blanks, hyphens, brackets and a leading +, such as 0571-8888 0000",
    )


def email(text: str) -> str:
    """An e-mail address in lower case; quoted local parts are not accepted."""
    if _EMAIL.fullmatch(text):
        return text.lower()
    raise refusal("email", "电子邮箱格式不正确", "not an e-mail address")
