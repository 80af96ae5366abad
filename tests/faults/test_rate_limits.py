"""An address over its rate limit is refused in the reader's language; every other address is answered as always."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.scan_processes import ScanProcess, environment, scan_process
from tests.support import scan_factories as make
from tests.support.scan_factories import ScanAuthority
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire.payload import Identity

SCANS, GUESSES = 20, 6
HASTY, OTHER, OTHER_6 = "60.191.0.1", "60.191.0.2", "2408:8000:1:2::9"


@pytest.fixture
def scan(addresses: ServerAddresses, registry: ScanAuthority, tmp_path: Path) -> Iterator[ScanProcess]:
    """A scan process with low limits. Its log has no complete address."""
    limits = {"ZPCODE_SCANS_PER_MINUTE": str(SCANS), "ZPCODE_GUESSES_PER_MINUTE": str(GUESSES)}
    with scan_process(environment(addresses, registry.room, **limits), tmp_path / "scan.log") as process:
        yield process
    log = process.log.read_text("utf-8")
    assert "60.191" not in log
    assert "2408:8000" not in log


def spend(scan: ScanProcess, path: str, times: int, address: str = HASTY) -> list[int]:
    """The statuses of this many requests."""
    with httpx.Client(base_url=scan.base, headers={"x-forwarded-for": address, "user-agent": make.IPHONE}) as phone:
        return [phone.get(path).status_code for _ in range(times)]


def test_an_address_over_its_limit_is_refused_and_no_other(scan: ScanProcess, registry: ScanAuthority) -> None:
    """Four connections of it go on sending; a request without X-Forwarded-For, from the trusted proxy itself, is answered too."""
    statuses = spend(scan, registry.item(), SCANS + 10)
    assert statuses[:SCANS] == [200] * SCANS
    assert 429 in statuses[SCANS:]
    with hammering(scan, registry.item()):
        for address in (OTHER, OTHER_6):
            assert spend(scan, registry.item(1), SCANS, address) == [200] * SCANS
        assert spend(scan, registry.item(1), SCANS * 2, "10.0.0.9") == [200] * SCANS * 2
    assert {429} & set(spend(scan, "/", 5))
    assert spend(scan, "/healthz", SCANS * 2) == [200] * SCANS * 2, "a balancer asks as often as it likes"


@contextlib.contextmanager
def hammering(scan: ScanProcess, path: str) -> Iterator[None]:
    """One address that sends requests on four connections without a pause."""
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            assert 429 in spend(scan, path, 20)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("language", "title", "text"),
    [
        ("zh-CN", "请求过于频繁", "没有对此码作出任何结论"),
        ("en", "Too many requests", "Nothing is said about this code"),
    ],
)
def test_a_client_that_has_to_wait_reads_so_in_its_language_and_form(
    scan: ScanProcess, registry: ScanAuthority, language: str, title: str, text: str
) -> None:
    """The refusal has the headers of every response, and Retry-After in whole seconds."""
    good = scan.get(registry.item(), visitor=OTHER, accept_language=language)
    spend(scan, registry.item(), SCANS * 2)
    page = refused(scan, registry.item(), language, "text/html")
    assert title in page.text
    assert text in page.text
    problem = refused(scan, registry.item(), language, "application/json")
    assert problem.json().keys() == {"error", "title", "text"}
    assert (problem.json()["error"], problem.json()["title"]) == ("too_many_requests", title)
    for answer in (page, problem):
        assert answer.headers["content-language"] == language
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        fixed = set(good.headers) - {"date", "content-type", "content-length", "content-encoding", "retry-after"}
        assert {name: answer.headers[name] for name in fixed} == {name: good.headers[name] for name in fixed}
    head = httpx.head(scan.base + registry.item(), headers={"x-forwarded-for": HASTY})
    assert head.content == b""


def refused(scan: ScanProcess, path: str, language: str, accept: str) -> httpx.Response:
    """The refusal of a request; it tries again if one request was allowed because its limit had just refilled."""
    for _ in range(3):
        answer = scan.get(path, visitor=HASTY, accept_language=language, accept=accept)
        if answer.status_code == 429:
            return answer
    raise AssertionError("nobody was refused")


def guesses(registry: ScanAuthority) -> dict[str, str]:
    """A path for each kind of guess."""
    sealed = registry.item()
    serial = make.item_identity(5).serial
    assert serial is not None
    return {
        "forged": sealed.replace(sealed[1:9], "AAAAAAAA"),
        "malformed": "/favicon.png",
        "unsealed": sealed[sealed.index("/01/") :],
        "unsealed product": Identity(make.GTIN).path,
        "compact with a wrong check": make.compact_identity(wrong=True).path,
        "typed serial": f"/q?code={serial.text}",
        "typed, and unknown": "/q?code=ZZZZZZZZZZZZ",
        "typed bar code": f"/q?code={make.GTIN}",
    }


def test_guesses_are_few_and_sealed_codes_are_answered_all_the_same(scan: ScanProcess, registry: ScanAuthority) -> None:
    """Each kind of guess is charged; sealed codes from the same address are answered."""
    for number, (kind, path) in enumerate(guesses(registry).items()):
        address = f"60.192.{number}.1"
        statuses = spend(scan, path, GUESSES + 2, address)
        assert 429 not in statuses[:GUESSES], kind
        assert statuses[GUESSES:].count(429) >= 1, kind
        assert spend(scan, registry.item(1), 5, address) == [200] * 5, kind
    assert spend(scan, make.compact_identity().path, GUESSES + 2, OTHER) == [200] * (GUESSES + 2), (
        "a right check is no guess"
    )


def test_a_client_out_of_guesses_does_not_learn_which_codes_exist(scan: ScanProcess, registry: ScanAuthority) -> None:
    """Valid and invalid, compact, unsealed or typed codes have the same refusal, byte for byte."""
    spend(scan, "/nonsense", GUESSES + 1)
    paths = [path for kind, path in guesses(registry).items() if kind not in {"malformed", "forged"}]
    bodies = {refused(scan, path, "en", "application/json").content for path in [*paths, make.compact_identity().path]}
    assert len(bodies) == 1


def test_a_customer_with_a_network_of_addresses_has_ten_of_them(scan: ScanProcess) -> None:
    """An IPv6 /48 guesses ten times as often as one /64 in it, not 65 536 times."""
    with httpx.Client(
        base_url=scan.base, headers={"user-agent": make.IPHONE}
    ) as phone:  # one connection: a guess is quick
        addresses = (f"2408:8000:9:{n:x}::1" for n in range(GUESSES * 100))
        statuses = (phone.get("/nonsense", headers={"x-forwarded-for": one}).status_code for one in addresses)
        assert [next(statuses) for _ in range(GUESSES * 10)] == [400] * GUESSES * 10
        assert 429 in statuses  # the limit refills slower than a process guesses, on a busy machine too


def test_what_the_site_refuses_is_said_in_both_languages(scan: ScanProcess) -> None:
    """A missing file and a wrong method: as a page and as JSON, with the headers of every response."""
    for language, nowhere, no_method in (
        ("zh-CN", "页面不存在", "此网址不支持该操作"),
        ("en", "No such page", "This cannot be done here"),
    ):
        headers = {"accept-language": language}
        page = httpx.get(scan.base + "/static/nothing.css", headers=headers)
        assert (page.status_code, nowhere in page.text) == (404, True)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        for path in ("/q", "/", "/static/page.css"):
            refusal = httpx.post(scan.base + path, headers=headers | {"accept": "application/json"})
            assert (refusal.status_code, refusal.json()["title"]) == (405, no_method)
            assert refusal.headers["content-language"] == language
