"""The security headers of every response: pages and files, verdicts and refusals."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import httpx
import pytest

from tests.browser.stage import SCENES, Scene, Stage

FILES = ("/healthz", "/readyz", "/robots.txt", "/favicon.ico", "/static/icon.svg", "/static/page.js", "/static/verify.js",
         "/.well-known/zpcode-keyring.json", "/.well-known/security.txt", "/q", "/static/../app.py", "/01/123?format=json")  # fmt: skip


def _is_shut(headers: httpx.Headers) -> bool:
    """Checks that nothing is sniffed, framed, sent as a referrer, or requested without TLS."""
    policy = headers.get("content-security-policy", "")
    return (
        headers.get("x-content-type-options") == "nosniff"
        and headers.get("x-frame-options") == "DENY"
        and headers.get("referrer-policy") == "no-referrer"
        and int(headers.get("strict-transport-security", "max-age=0").split("max-age=")[1].split(";")[0]) >= 31536000
        and "frame-ancestors 'none'" in policy
        and "default-src 'none'" in policy
        and not set(policy.split()) & {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "data:"}
    )


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_page_is_shut(stage: Stage, scene: Scene) -> None:
    answer = stage.get(scene.name)
    assert answer.status_code == scene.status
    assert _is_shut(answer.headers), dict(answer.headers)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", FILES)
def test_every_file_is_shut(stage: Stage, path: str) -> None:
    answer = httpx.get(stage.bases["open"] + path)
    assert answer.status_code != 500
    assert _is_shut(answer.headers), dict(answer.headers)


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/01/123", "/", "/static/page.js"])
def test_so_is_the_answer_to_a_method_that_is_not_for_us(stage: Stage, method: str, path: str) -> None:
    answer = httpx.request(method, stage.bases["open"] + path)
    assert answer.status_code in {204, 405}
    assert _is_shut(answer.headers), dict(answer.headers)


def test_a_verdict_is_never_kept(stage: Stage) -> None:
    for scene in SCENES:
        assert stage.get(scene.name).headers["cache-control"] == "no-store", scene.name


def test_codes_stay_out_of_search_engines(stage: Stage) -> None:
    """By the page's robots meta element and by robots.txt."""
    for scene in SCENES:
        front = scene.name == "landing"
        assert ('name="robots" content="noindex' in stage.get(scene.name).text) is not front, scene.name
    rules = httpx.get(stage.bases["open"] + "/robots.txt").text
    assert "Disallow: /\n" in rules


def test_security_txt_names_a_contact_for_reports(stage: Stage) -> None:
    """RFC 9116: a contact, and a date until which it holds."""
    response = httpx.get(stage.bases["open"] + "/.well-known/security.txt")
    assert response.headers["content-type"].startswith("text/plain")
    assert "Contact: mailto:security@authority.example" in response.text
    assert "Expires: 20" in response.text
