"""On every route, two enterprises never see each other, and a regulator sees only its region."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI

from tests.support.api_routes import ANYBODY, OPERATOR, PUBLIC, all_routes, requests, send
from tests.support.authority import Tenants, as_
from zpcode.wire.gs1 import gtin14


def test_every_route_is_known_to_the_walks(app: FastAPI, world: Tenants) -> None:
    """A new route needs an entry in `requests` that says who may use it."""
    assert set(requests(world)) == all_routes(app)


def test_without_a_key_only_public_routes_answer(http: httpx.Client, world: Tenants) -> None:
    """401 on every other route, even if the rest of the request is valid."""
    for (method, path), sent in requests(world).items():
        answer = send(http, method, sent)
        if sent.whose == PUBLIC:
            assert answer.status_code in {200, 503}, path
        else:
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_operators_routes_are_forbidden_to_all_others(http: httpx.Client, world: Tenants) -> None:
    """403 for enterprises and regulators on each of these routes."""
    own = [(method, sent) for (method, _), sent in requests(world).items() if sent.whose == OPERATOR]
    assert own
    for method, sent in own:
        for token in (world.mine, world.hangzhou):
            assert send(http, method, sent, as_(token)).status_code == 403, sent.path


def test_objects_of_another_enterprise_are_neither_shown_nor_changed(http: httpx.Client, world: Tenants) -> None:
    """Not found or refused on every route that names a record; no list has it."""
    strangers = {world.mine: "an enterprise", world.hangzhou: "a regulator of another city"}
    for token, who in strangers.items():
        for (method, path), sent in requests(world, theirs=True).items():
            if sent.whose != ANYBODY:
                continue
            answer = send(http, method, sent, as_(token))
            if sent.owned:
                assert answer.status_code in {403, 404, 422}, (who, path)
                assert world.their_uscc not in answer.text, (who, path)
                assert "宁波" not in answer.text, (who, path)
            else:
                assert answer.status_code == 200, (who, path)
                items = answer.json()["items"]
                assert world.their_uscc not in answer.text, (who, path)
                assert all(item.get("gtin") != world.their_gtin for item in items), (who, path)
    feed = http.get("/v1/status-changes", headers=as_(world.operator)).json()
    assert feed["items"] == []


def test_own_objects_are_answered(http: httpx.Client, world: Tenants) -> None:
    """The same requests with the owner's key succeed: the test above can fail."""
    own = [(method, sent) for (method, _), sent in requests(world, theirs=True).items() if sent.whose == ANYBODY]
    assert own
    for method, sent in own:
        answer = send(http, method, sent, as_(world.theirs))
        assert answer.status_code in {200, 201, 202, 204, 409}, (sent.path, answer.text)


def _without(answer: httpx.Response, *names: str) -> tuple[int, dict[str, str], Any]:
    """A response's status, headers and body, without what differs between any two requests."""
    text = answer.text
    for name in names:
        text = text.replace(name, "NAME")
    body = httpx.Response(200, text=text).json()
    body.pop("instance")
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return answer.status_code, headers, body


def test_an_object_of_another_enterprise_is_answered_like_a_missing_one(http: httpx.Client, world: Tenants) -> None:
    """Status, headers and text are the same, so that nothing can be guessed from them."""
    unknown = {"batch": world.their_batch + 3, "gtin": gtin14("9501101530003")}
    pairs = [
        ("GET", f"/v1/batches/{world.their_batch}", f"/v1/batches/{unknown['batch']}"),
        ("GET", f"/v1/batches/{world.their_batch}/codes", f"/v1/batches/{unknown['batch']}/codes"),
        ("POST", f"/v1/batches/{world.their_batch}/activation", f"/v1/batches/{unknown['batch']}/activation"),
        ("GET", f"/v1/products/{world.their_gtin}", f"/v1/products/{unknown['gtin']}"),
        (
            "GET",
            f"/v1/status-changes?scope=batch&target={world.their_batch}",
            f"/v1/status-changes?scope=batch&target={unknown['batch']}",
        ),
        (
            "GET",
            f"/v1/status-changes?scope=product&target={world.their_gtin}",
            f"/v1/status-changes?scope=product&target={unknown['gtin']}",
        ),
    ]
    names = (str(unknown["gtin"]), world.their_gtin, str(unknown["batch"]), str(world.their_batch))
    for method, others, nobodys in pairs:
        first, second = (
            _without(http.request(method, path, headers=as_(world.mine)), *names) for path in (others, nobodys)
        )
        assert first == second
        assert first[0] == 404


def test_a_regulator_sees_their_city_and_a_province_sees_both(http: httpx.Client, world: Tenants) -> None:
    """GB/T 2260 prefixes decide."""
    province = http.post(
        "/v1/api-keys", json={"role": "regulator", "subject": "330000", "label": "test"}, headers=as_(world.operator)
    ).json()["token"]
    for token, expected in (
        (world.hangzhou, {world.my_uscc}),
        (world.ningbo, {world.their_uscc}),
        (province, {world.my_uscc, world.their_uscc}),
        (world.operator, {world.my_uscc, world.their_uscc}),
        (world.mine, {world.my_uscc}),
    ):
        for path, member in (
            ("/v1/enterprises", "uscc"),
            ("/v1/products", "enterprise"),
            ("/v1/batches", "enterprise"),
        ):
            items = http.get(path, headers=as_(token)).json()["items"]
            assert {one[member] for one in items} == expected, path
