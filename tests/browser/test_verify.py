"""The browser verifies the seal with the same result as `keys.keyring`, and shows another message for each fault."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from keys import es256
from keys.ceremony import KeyRoom
from keys.document import KeyState
from tests.browser.chromium import window
from tests.browser.stage import Stage
from tests.browser.verifying import KEYRING, PageOutcome, Site, judged, opened, verified
from tests.support import keyroom
from tests.zpcode.wire.test_vectors import INVALID, KEYS, VALID
from zpcode.wire.payload import Code, Identity, Seal

NOW = datetime.now(UTC)
STEPS = ["keyring", "root", "key", "seal"]
RIGHT = PageOutcome("right", STEPS)
OTHER_LOT = Identity(keyroom.GTIN, lot="L-2026.2")


@pytest.fixture(scope="module")
def html(stage: Stage) -> str:
    """The scan service's page for a sealed lot."""
    return stage.get("verified-lot").text


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> KeyRoom:
    """A key room with a root and one key."""
    made = keyroom.key_room(tmp_path_factory.mktemp("room"))
    keyroom.create(made, NOW - timedelta(days=1))
    return made


@pytest.fixture(scope="module")
def code(room: KeyRoom) -> Code:
    """A lot code sealed with that key."""
    (key,) = keyroom.ring(room)
    return keyroom.seal(room, key.id, keyroom.LOT)


@pytest.fixture
def site(html: str, room: KeyRoom) -> Site:
    """The page and the room's keyring."""
    return Site(html, room.root_public.read_bytes(), keyroom.ring(room).document)


def changed(room: KeyRoom, **changes: Any) -> bytes:
    """The keyring with changes to its only key, signed by the root."""
    content = keyroom.ring(room).content
    record = msgspec.structs.replace(content.keys[0], **changes)
    return keyroom.signed_by_root(room, msgspec.structs.replace(content, serial=2, keys=[record]))


def rewritten(document: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The document with changes and without a new signature."""
    members = json.loads(document)
    change(members)
    return json.dumps(members).encode()


# The vectors ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(browser: Browser, html: str) -> Iterator[Page]:
    """The page with the keyring of the vectors; tests change its address."""
    site = Site(html, KEYS["root"].encode(), json.dumps(KEYS["keyring"]).encode())
    path = next(vector["canonical"] for vector in VALID if vector["proof"] == "sealed")
    with opened(browser, site, path) as page:
        assert verified(page) == RIGHT
        yield page


def test_every_sealed_vector_is_right_in_any_case(bench: Page) -> None:
    paths = [vector["path"] for vector in VALID if vector["proof"] == "sealed"]
    assert {path: judged(bench, path) for path in paths} == dict.fromkeys(paths, RIGHT)
    assert len(paths) > 20


def test_no_other_vector_is_right(bench: Page) -> None:
    """Wrong signatures, high s, spare bits, other keys, malformed codes. Vectors with line breaks or blanks at the end are
    left out: an address bar drops these.
    """
    paths = [v["path"] for v in INVALID if v["path"].isprintable() and v["path"][:1] == "/" and v["path"][:2] != "//"]
    outcomes = {path: judged(bench, path).outcome for path in paths}
    assert set(outcomes.values()) == {"seal", "unknown", "revoked"}
    assert len(paths) > 60


def test_a_lot_in_lower_case_is_not_the_lot_that_was_sealed(browser: Browser, site: Site, code: Code) -> None:
    """Only seal and serial may be in lower case; the service refuses other codes before it shows a page."""
    assert code.seal is not None
    path = f"/{code.seal.text}{code.identity.path.lower()}"
    with opened(browser, site, path) as page:
        assert verified(page) == PageOutcome("seal", [])


# What may be wrong ------------------------------------------------------------------------------------


def test_the_genuine_code_goes_through_four_steps(browser: Browser, site: Site, code: Code) -> None:
    with opened(browser, site, code.path) as page:
        assert verified(page) == RIGHT
        said = page.locator("#verify [data-part=said]")
        assert said.get_attribute("role") == "status"
        assert said.get_attribute("data-tone") == "good"
        assert "zp.example" in page.locator("#verify [data-step=keyring]").inner_text()
        assert verified(page) == RIGHT


@pytest.mark.parametrize("at", [4, 60, 106])
def test_one_character_of_the_seal_altered(browser: Browser, site: Site, code: Code, at: int) -> None:
    path = code.path[: at + 1] + ("A" if code.path[at + 1] != "A" else "E") + code.path[at + 2 :]
    with opened(browser, site, path) as page:
        assert verified(page) == PageOutcome("seal", STEPS[:3])


def test_the_seal_of_another_code(browser: Browser, site: Site, code: Code) -> None:
    with opened(browser, site, Code(OTHER_LOT, code.seal).path) as page:
        assert verified(page) == PageOutcome("seal", STEPS[:3])


def test_the_second_signature_that_every_message_has(browser: Browser, site: Site, code: Code) -> None:
    """(r, n - s) is valid too; it is refused, so that a code has only one text."""
    assert code.seal is not None
    r, s = code.seal.signature[:32], int.from_bytes(code.seal.signature[32:], "big")
    twin = Code(code.identity, Seal(code.seal.key_id, r + (es256.N - s).to_bytes(32, "big")))
    with opened(browser, site, twin.path) as page:
        assert verified(page) == PageOutcome("seal", STEPS[:3])


def test_a_page_that_speaks_of_another_code(browser: Browser, site: Site, code: Code) -> None:
    with opened(browser, site, code.path) as page:
        page.evaluate("code => { document.querySelector('[data-code]').textContent = code; }", OTHER_LOT.path)
        assert verified(page) == PageOutcome("other", [])


def test_a_keyring_of_another_root(browser: Browser, site: Site, code: Code, room: KeyRoom, tmp_path: Any) -> None:
    """The keyring claims the id of the right root."""
    stranger = keyroom.key_room(tmp_path)
    keyroom.create(stranger, NOW)
    site.keyring = keyroom.signed_by_root(stranger, keyroom.ring(room).content)
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("root", STEPS[:1])
    mine = json.loads(keyroom.ring(room).document)["signature"]["root"]
    site.keyring = rewritten(site.keyring, lambda ring: ring["signature"].update(root=mine))
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("root", STEPS[:1])


@pytest.mark.parametrize(
    "change",
    [
        lambda ring: ring.update(serial=9),
        lambda ring: ring.update(more="x"),
        lambda ring: ring.pop("signature"),
        lambda ring: ring["signature"].update(value="A" * 86),
        lambda ring: ring["signature"].update(alg="none"),
        lambda ring: ring["keys"][0].update(state="retired"),
        lambda ring: ring["keys"].append(KEYS["keyring"]["keys"][0]),
    ],
    ids=["serial", "member", "unsigned", "empty", "alg", "state", "key"],
)  # fmt: skip
def test_a_keyring_altered_after_it_was_signed(
    browser: Browser, site: Site, code: Code, change: Callable[[dict[str, Any]], None]
) -> None:
    site.keyring = rewritten(site.keyring or b"", change)
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("root", STEPS[:1])


def test_something_that_is_no_keyring(browser: Browser, site: Site, code: Code) -> None:
    site.keyring = b"<html>Please log in to this network</html>"
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("root", STEPS[:1])


def test_a_keyring_that_does_not_have_the_key(browser: Browser, site: Site, code: Code, room: KeyRoom) -> None:
    content = keyroom.ring(room).content
    site.keyring = keyroom.signed_by_root(room, msgspec.structs.replace(content, keys=[]))
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("unknown", STEPS[:2])


def test_a_key_under_an_id_that_is_not_its_own(browser: Browser, site: Site, code: Code, room: KeyRoom) -> None:
    site.keyring = changed(room, public=KEYS["keyring"]["keys"][0]["public"])
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("key", STEPS[:2])


def test_a_revoked_key_with_any_reason(browser: Browser, site: Site, code: Code, room: KeyRoom) -> None:
    """Quotes, control and astral characters: Python and JavaScript write the same canonical form."""
    reason = '私钥\t"泄露"\\ \u0001\u007f\u2028 é 🔑 </script>'
    site.keyring = changed(room, state=KeyState.REVOKED, revoked_at=NOW, reason=reason)
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("revoked", STEPS)


def test_a_key_revoked_by_decision_before_the_keyring_says_so(browser: Browser, site: Site, code: Code) -> None:
    """The page shows the revocation before the keyring has it: the outcome must not contradict the verdict."""
    site.html = site.html.replace(' id="verify"', ' id="verify" data-revoked')
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("revoked", STEPS)


@pytest.mark.parametrize("state", [KeyState.RETIRING, KeyState.RETIRED])
def test_a_key_that_has_been_replaced_still_verifies(
    browser: Browser, site: Site, code: Code, room: KeyRoom, state: KeyState
) -> None:
    site.keyring = changed(room, state=state, not_after=NOW - timedelta(hours=1))
    with opened(browser, site, code.path) as page:
        assert verified(page) == RIGHT


def test_a_key_that_is_not_in_use_yet(browser: Browser, site: Site, code: Code, room: KeyRoom) -> None:
    site.keyring = changed(room, not_before=NOW + timedelta(hours=1))
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("early", STEPS)


def test_a_suite_this_page_does_not_know(browser: Browser, site: Site, code: Code, room: KeyRoom) -> None:
    site.keyring = changed(room, suite="SM2", public={"x": "AA"})
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("unable", STEPS[:2])


# What may be missing ----------------------------------------------------------------------------------


def test_without_a_keyring_nothing_is_concluded_and_it_can_be_tried_again(
    browser: Browser, site: Site, code: Code
) -> None:
    document, site.keyring = site.keyring, None
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("away", [])
        site.keyring, site.status = document, 503
        assert verified(page) == PageOutcome("away", [])
        site.status = 200
        assert verified(page) == RIGHT


def test_without_the_script_it_can_be_tried_again(browser: Browser, site: Site, code: Code) -> None:
    site.missing = {"/static/verify.js"}
    with opened(browser, site, code.path) as page:
        assert verified(page) == PageOutcome("away", [])
        site.missing = set()
        assert verified(page) == RIGHT


def test_over_plain_http_the_browser_has_no_cryptography_and_the_page_says_so(
    browser: Browser, site: Site, code: Code
) -> None:
    site.host = "http://plain.example"
    with opened(browser, site, code.path) as page:
        assert page.evaluate("window.isSecureContext") is False
        assert verified(page) == PageOutcome("unable", [])


# The real service -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "outcome"),
    [("verified-first", "right"), ("verified-product", "right"), ("recalled", "right"), ("key-revoked", "revoked")],
)
def test_what_the_service_serves_verifies(stage: Stage, browser: Browser, scene: str, outcome: str) -> None:
    """With the service's headers, therefore under its Content-Security-Policy, and with an empty console."""
    with window(browser) as context:
        page = context.new_page()
        noises: list[str] = []
        page.on("console", lambda message: noises.append(message.text))
        page.on("pageerror", lambda error: noises.append(str(error)))
        page.goto(stage.url(scene, "en"))
        assert verified(page) == PageOutcome(outcome, STEPS)
        assert noises == []


def test_a_code_without_a_seal_offers_nothing_to_verify(stage: Stage) -> None:
    for scene in ("verified-online", "seal-missing", "typed", "landing", "not-verified"):
        assert 'id="verify"' not in stage.get(scene).text


def test_the_keyring_is_fetched_by_those_who_ask_only(stage: Stage, browser: Browser) -> None:
    with window(browser) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(stage.url("verified-lot"), wait_until="networkidle")
        assert not any(KEYRING in url or "verify" in url for url in asked)
