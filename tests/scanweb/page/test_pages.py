"""The page a consumer sees: all four blocks in order, both languages, safe against what the registry holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from scanweb.page import assets
from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.wire import card
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Bilingual, Scope, State

FORBIDDEN = re.compile(r"100\s*%|正品|genuine|authentic", re.IGNORECASE)
STYLE = re.compile("<style>.*?</style>", re.DOTALL)
HOSTILE = "<script>alert(1)</script>\"'&\u202eevil\u2066"


class Outline(HTMLParser):
    """The outline of a page: closed tags, headings in order, and places where a script could be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self._in_heading = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that opens."""
        self.scripts += tag == "script"
        self.handlers += [
            name for name, value in attrs if name.startswith("on") or (value or "").startswith("javascript:")
        ]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in {"meta", "link", "img", "br", "input"}:
            self.open.append(tag)
        if tag in {"h1", "h2"}:
            self._in_heading = True
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        """Check a tag that closes."""
        assert self.open.pop() == tag
        self._in_heading = False

    def handle_data(self, data: str) -> None:
        """Collect a heading's text."""
        if self._in_heading:
            self.headings[-1] += data


ORDER = {
    "zh-CN": ["验证通过", "龙泉青瓷茶具", "关键性能指标对比", "标准和认证", "质量承诺", "生产企业", "扫码记录", "本次验证方式", "投诉举报"],
    "en": ["Verified", "Longquan celadon tea set", "Key indicators compared", "Standards and certification", "Quality commitment",
           "The maker", "Scan history", "How this was verified", "Complaints and reports"],
}  # fmt: skip
CONTENT = {
    "zh-CN": ["龙泉青瓷茶具", "清溪", "QX-8", "日用陶瓷", "浙江精品", GTIN, "龙泉清溪青瓷有限公司", "91331181MA2E4K7R0X", "丽水市龙泉市", "陶瓷制品制造",
              "剑池街道1号", "0578-7000000", "三代人守着一座龙窑", "L2026", "T/ZZB 0664-2018", "ZZB T0664-2018", "PZB-2025-0101",
              "通过第三方认证", "ZM-0001", "浙江测试认证", "GR-0002", "采信", "单件碳足迹", "CF-77", "吸水率", "0.2", "0.3", "0.5", "0.4", "GB/T 3299",
              "BG-2025-17", "越小越好", "越大越好", "首负责任", "先行赔付", "某保险", "P-9", "400-000-0000"],
    "en": ["Longquan celadon tea set", "清溪", "QX-8", "household ceramics", "Zhejiang Premium", GTIN, "Longquan Qingxi Celadon Co.",
           "91331181MA2E4K7R0X", "Longquan, Lishui, Zhejiang", "Three generations", "L2026", "T/ZZB 0664-2018", "ZZB T0664-2018", "PZB-2025-0101",
           "certified by a third party", "ZM-0001", "Zhejiang Test Certification", "GR-0002", "accepted from another scheme", "Footprint per piece",
           "CF-77", "Water absorption", "lower is better", "higher is better", "First responsibility", "We pay first", "An Insurer", "P-9"],
}  # fmt: skip


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_verdict_first_then_the_four_blocks_complete_and_in_order(
    service: ScanService, registry: ScanAuthority, language: str
) -> None:
    page = service.get(registry.item(), language=language).text
    outline = Outline(page)
    assert outline.open == []
    assert outline.headings == ORDER[language]
    assert [content for content in CONTENT[language] if content not in page] == []
    assert f'<html lang="{language}">' in page


@pytest.mark.parametrize("state", [state for state in State if state is not State.GOOD])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_page_shows_the_blocks_with_any_verdict(
    service: ScanService, registry: ScanAuthority, state: State, language: str
) -> None:
    registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(state)})
    page = service.get(registry.item(), language=language).text
    assert Outline(page).headings[-8:] == ORDER[language][1:]
    assert ("市场抽样检验不合格" if language == "zh-CN" else "a sample bought on the market") in page
    assert ("请停止使用" if language == "zh-CN" else "Stop using it") in page
    assert "浙市监公告2026-8" in page
    assert not FORBIDDEN.search(STYLE.sub("", page))


def test_the_comparison_table_is_a_table_that_can_be_read_aloud(service: ScanService, registry: ScanAuthority) -> None:
    page = service.get(registry.item()).text
    table = page[page.index("<table") : page.index("</table>")]
    assert "<caption>" in table
    assert table.count('<th scope="col" role="columnheader">') == 6
    assert table.count('<th scope="row" role="rowheader">') == 2
    assert table.count("<svg") == table.count('aria-hidden="true"') == 2, "the picture says nothing the table does not"


def test_status_is_shown_by_shape_and_word_besides_colour(service: ScanService, registry: ScanAuthority) -> None:
    shapes = set()
    for verdict in ("good", "caution", "bad"):
        state = {"good": State.GOOD, "caution": State.FLAGGED, "bad": State.REVOKED}[verdict]
        registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(state)})
        page = service.get(registry.item()).text
        assert f'class="verdict {verdict}"' in page
        shapes.add(re.findall(r'class="band"><svg.*?</svg>', page)[0])
    assert len(shapes) == 3


def test_hostile_texts_come_out_as_text(service: ScanService, registry: ScanAuthority) -> None:
    bad = Bilingual(HOSTILE, HOSTILE)
    product = make.product()
    enterprise = msgspec.structs.replace(
        product.enterprise, name=bad, story=bad, website="javascript:alert(1)", phone=HOSTILE
    )
    indicator = card.IndicatorInfo(bad, "ge", bad, bad, bad, bad, HOSTILE, HOSTILE, HOSTILE)
    claim = card.ClaimInfo(HOSTILE, bad, HOSTILE, HOSTILE, HOSTILE, "javascript:alert(1)", bad)
    standard = card.StandardInfo(HOSTILE, bad, HOSTILE, HOSTILE, HOSTILE, HOSTILE, "data:text/html,x")
    hostile = make.product(
        name=bad, brand=HOSTILE, model=HOSTILE, category=bad, enterprise=enterprise,
        indicators=(indicator,), claims=(claim,), standards=(standard,),
        commitments=(card.CommitmentInfo("hotline", bad, bad, HOSTILE, HOSTILE),),
    )  # fmt: skip
    decision = make.standing(State.FLAGGED, reason=HOSTILE, notice=HOSTILE, note=bad, decided_by=bad)
    registry.put({card.product_key(GTIN): hostile, make.s(Scope.PRODUCT, GTIN): decision})
    for language in ("zh-CN", "en"):
        page = service.get(registry.item(), language=language).text
        outline = Outline(page)
        assert (outline.scripts, outline.handlers, outline.open) == (1, [], [])
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
        assert "&lt;script&gt;" in page


def test_a_hostile_question_comes_back_escaped_or_not_at_all(service: ScanService) -> None:
    for path in ('/q?code="><script>alert(1)</script>', '/"><script>alert(1)</script>', "/?lang=<script>"):
        page = service.get(path).text
        assert "<script>" not in page
        assert "alert(1)" not in page


def test_no_page_says_that_a_product_is_genuine(service: ScanService, registry: ScanAuthority) -> None:
    for language in ("zh-CN", "en"):
        for path in (registry.item(), Identity(GTIN).path, "/01/1", "/", make.compact_identity().path):
            assert not FORBIDDEN.search(STYLE.sub("", service.get(path, language=language).text))


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "zh-CN"),
        ("en-GB,en;q=0.9", "en"),
        ("zh-TW", "zh-CN"),
        ("fr, en;q=0.3, zh;q=0.8", "zh-CN"),
        ("de", "en"),
        ("en;q=0, zh", "zh-CN"),
        ("EN", "en"),
    ],
)
def test_the_language_follows_the_reader(
    service: ScanService, registry: ScanAuthority, accept: str, language: str
) -> None:
    response = service.get(registry.item(), language=accept)
    assert response.headers["content-language"] == language
    assert f'<html lang="{language}">' in response.text


def test_the_switch_overrules_the_browser(service: ScanService, registry: ScanAuthority) -> None:
    page = service.get(registry.item() + "?lang=zh-CN", language="en").text
    assert '<html lang="zh-CN">' in page
    assert 'href="?lang=en" hreflang' in page
    assert '<html lang="en">' in service.get(registry.item() + "?lang=xx", language="en").text
    typed = service.get(f"/q?code={GTIN}", language="en").text
    assert f'href="?code={GTIN}&amp;lang=zh-CN"' in typed


def test_json_is_given_if_it_is_asked_for(service: ScanService, registry: ScanAuthority) -> None:
    for how in ({"accept": "application/json"}, {"accept": "text/html;q=0.5, application/json"}):
        assert service.get(registry.item(), **how).headers["content-type"] == "application/json"
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    assert service.get(registry.item(), accept=browser).headers["content-type"].startswith("text/html")
    assert service.get(registry.item() + "?format=json").headers["content-type"] == "application/json"


def test_the_json_says_what_the_page_says(service: ScanService, registry: ScanAuthority) -> None:
    registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.FLAGGED)})
    body = service.json(registry.item())
    page = service.get(registry.item()).text
    for said in (body["title"], body["meaning"], body["advice"], body["scanned"], body["decision"]["text"]):
        assert said in page
    assert body["product"]["name"] == {"zh": "龙泉青瓷茶具", "en": "Longquan celadon tea set"}
    assert body["indicators"][0]["product"]["en"] == "0.2"
    assert [len(body[block]) for block in ("standards", "certificates", "indicators", "commitments", "claims")] == [
        1, 2, 2, 3, 1,
    ]  # fmt: skip
    assert body["code"] == {
        "gtin": GTIN, "lot": None, "serial": make.item_identity().path[-12:], "key_id": registry.key_id,
    }  # fmt: skip


def test_headers_keep_the_answer_fresh_and_the_page_shut(service: ScanService, registry: ScanAuthority) -> None:
    for path in (registry.item(), "/01/1", "/", f"/q?code={GTIN}"):
        headers = service.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["vary"] == "Accept, Accept-Language, Accept-Encoding"


def test_head_is_answered_like_get_without_its_body(service: ScanService, registry: ScanAuthority) -> None:
    """For an item without Content-Length (RFC 9110, 8.6), because the next GET would be another scan."""
    for path, status in ((f"/01/{GTIN}", 200), ("/01/1", 400), ("/", 200), ("/static/page.js", 200)):
        got, head = service.get(path), service.get(path, method="HEAD")
        assert (head.status_code, head.content) == (status, b"")
        assert set(head.headers) == set(got.headers)
        assert head.headers["content-length"] == got.headers["content-length"]
    head = service.get(registry.item(), method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert set(service.get(registry.item()).headers) - set(head.headers) == {"content-length"}


def test_options_is_answered_as_a_resolver_should(service: ScanService, registry: ScanAuthority) -> None:
    response = service.get(
        registry.item(), method="OPTIONS", origin="https://a.example", access_control_request_method="GET"
    )
    assert response.status_code == 204
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert response.headers["access-control-allow-origin"] == "*"
    assert "link" in response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(service: ScanService, registry: ScanAuthority, method: str) -> None:
    assert service.get(registry.item(), method=method).status_code == 405


def test_the_keyring_is_served_as_it_was_signed(service: ScanService, registry: ScanAuthority) -> None:
    response = service.get("/.well-known/zpcode-keyring.json")
    assert response.content == registry.room.keyring.read_bytes()
    assert response.headers["content-type"] == "application/json"


def test_health_tells_the_truth(service: ScanService) -> None:
    assert service.get("/healthz").text == "ok\n"
    assert service.get("/readyz").json() == {"ready": True}


def test_the_form_and_the_style_sheet_are_there(service: ScanService) -> None:
    page = service.get("/", language="zh-CN").text
    assert Outline(page).open == []
    assert 'action="/q"' in page
    assert service.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    assert service.get("/q").status_code == 303


def test_only_this_version_of_a_script_is_good_for_ever(service: ScanService) -> None:
    """During an upgrade an old server may be asked for a new version: its file must not be cached under that name."""
    for address in assets.VERSIONED:
        assert "immutable" in service.get(address).headers["cache-control"]
        assert service.get(address[:-1]).headers["cache-control"] == "public, max-age=3600"


def test_large_text_stays_large_on_every_page_there_is(service: ScanService, registry: ScanAuthority) -> None:
    for path in ("/", "/static/none", "/01/1", f"/q?code={GTIN}", registry.item()):
        page = service.get(f"{path}{'&' if '?' in path else '?'}size=large&lang=en").text
        assert '<html lang="en" class="large">' in page
        assert 'href="/?lang=en&amp;size=large"' in page


def test_a_telephone_number_is_one_a_phone_can_dial(service: ScanService, registry: ScanAuthority) -> None:
    page = service.get(registry.item()).text
    assert (links := re.findall(r'href="(tel:[^"]*)"', page))
    assert all(re.fullmatch(r"tel:\+?[0-9-]+", number) for number in links)


def test_the_raw_path_is_parsed_not_the_decoded_one(service: ScanService, registry: ScanAuthority) -> None:
    good = registry.item()
    assert service.get(good.replace("/21/", "/%32%31/")).status_code == 400
    assert service.get(good.replace("/01/", "%2F01/")).status_code == 400


def test_the_query_does_not_change_the_answer(service: ScanService, registry: ScanAuthority) -> None:
    assert service.verdict(registry.item() + "?linkType=all&x=%00%ff") == "verified"


def test_a_decision_on_one_item_stands_on_its_page_and_on_no_other(
    service: ScanService, registry: ScanAuthority
) -> None:
    """Pages of items with decisions are cached too, each with its own decision."""
    registry.put(
        {
            card.item_key(7, 0): make.standing(State.FLAGGED, notice="NOTICE-0"),
            card.item_key(7, 1): make.standing(State.FLAGGED, notice="NOTICE-1"),
            card.batch_key(7): make.batch(exceptions=True),
        }
    )
    for _ in range(2):
        for index, numbers in ((0, {"NOTICE-0"}), (1, {"NOTICE-1"}), (2, set[str]())):
            page = service.get(registry.item(index)).text
            assert set(re.findall("NOTICE-[0-9]", page)) == numbers
            assert make.item_identity(index).path in page
    registry.put({card.item_key(7, 0): make.standing(State.REVOKED, notice="NOTICE-2")})
    assert set(re.findall("NOTICE-[0-9]", service.get(registry.item()).text)) == {"NOTICE-2"}
