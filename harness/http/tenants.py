"""Tenants over HTTP: systems of their own beside this one."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from harness.testing.tenants import Tenant
from harness.workbench import Workbench
from protocols.ports import NoSuchMailbox

from .endpoints import Endpoints, Problem, read_json, text_of

endpoints = Endpoints("tenants")
_TEXTS = {"type": "array", "items": {"type": "string"}}


def _shown(tenant: Tenant) -> dict[str, Any]:
    addresses = {name: {"host": host, "port": port} for name, (host, port) in tenant.addresses.items()}
    return {"name": tenant.name, "build": tenant.workbench.server.build.number, "addresses": addresses}


def _texts(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Problem(400, f'"{name}" must be a list of texts')
    return value


def _ports(body: dict[str, Any]) -> dict[str, int]:
    value = body.get("ports") or {}
    right = isinstance(value, dict) and all(type(port) is int and 0 <= port <= 65535 for port in value.values())
    if not right or not set(value) <= {"smtp", "pop3", "imap", "nntp", "smtps", "pop3s", "imaps", "nntps", "lmtp"}:
        raise Problem(400, '"ports" names ports by protocol, as in {"smtp": 2025}; 0 is any free one')
    return dict(value)


@endpoints.add("GET", "/api/tenants")
async def tenants(workbench: Workbench, request: Request) -> Any:
    """All tenants with their addresses."""
    return [_shown(tenant) for tenant in workbench.tenants]


@endpoints.add(
    "POST",
    "/api/tenants",
    body={
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "build": {"type": "string"},
            "users": _TEXTS,
            "groups": _TEXTS,
            "ports": {"type": "object", "additionalProperties": {"type": "integer"}},
            "fork": {"type": "boolean"},
        },
    },
)
async def add_tenant(workbench: Workbench, request: Request) -> Any:
    """Start a tenant: {"name": "shop", "users": ["alice:secret"], "groups": [], "ports": {}, "fork": false}."""
    body = await read_json(request)
    forked = body.get("fork", False)
    if not isinstance(forked, bool):
        raise Problem(400, '"fork" is true (begin with a copy of this server) or false')
    try:
        tenant = await workbench.tenants.create(
            text_of(body, "name"),
            build=text_of(body, "build", ""),
            users=_texts(body, "users"),
            groups=_texts(body, "groups"),
            ports=_ports(body),
            fork_of=workbench.server if forked else None,
        )
    except ValueError as problem:  # SettingsError among them
        raise Problem(400, str(problem)) from None
    return _shown(tenant)


@endpoints.add("POST", "/api/tenants/{name}/reset")
async def reset_tenant(workbench: Workbench, request: Request) -> Any:
    """Exchange a tenant's system for a fresh one on the same ports, jammed as it may be."""
    tenant = _find(workbench, request)
    await tenant.reset()
    return _shown(tenant)


@endpoints.add("DELETE", "/api/tenants/{name}")
async def remove_tenant(workbench: Workbench, request: Request) -> Any:
    """End a tenant."""
    await workbench.tenants.remove(_find(workbench, request).name)
    return {}


def _find(workbench: Workbench, request: Request) -> Tenant:
    try:
        return workbench.tenants.get(request.path_params["name"])
    except NoSuchMailbox as problem:
        raise Problem(404, str(problem)) from None
