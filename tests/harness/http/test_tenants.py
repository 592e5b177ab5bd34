"""See the module `harness.http.tenants`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, '"name" must be given'),
        ({"name": "a b"}, "use letters"),
        ({"name": "a", "users": "x"}, "list of texts"),
        ({"name": "a", "users": ["x"]}, "NAME:PASSWORD"),
        ({"name": "a", "ports": {"smtp": 99999}}, "ports by protocol"),
        ({"name": "a", "ports": {"ftp": 1}}, "ports by protocol"),
        ({"name": "a", "build": "sp9"}, "unknown build"),
        ({"name": "a", "fork": 1}, "true"),
    ],
)
async def test_what_cannot_be_made(http: httpx.AsyncClient, body: dict[str, Any], words: str) -> None:
    answer = await http.post("/api/tenants", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["Error"]
    assert (await http.get("/api/tenants")).json() == []


async def test_life_of_a_tenant(http: httpx.AsyncClient) -> None:
    made = (await http.post("/api/tenants", json={"name": "shop", "build": "sp4", "groups": ["a.b"]})).json()
    assert (await http.get("/api/tenants")).json() == [made]
    assert (await http.post("/api/tenants", json={"name": "shop"})).status_code == 409
    assert [group["name"] for group in (await http.get("/api/groups", params={"tenant": "shop"})).json()] == ["a.b"]
    again = (await http.post("/api/tenants/shop/reset")).json()
    assert again["addresses"] == made["addresses"]
    assert (await http.delete("/api/tenants/shop")).status_code == 200
    assert (await http.delete("/api/tenants/shop")).status_code == 404
