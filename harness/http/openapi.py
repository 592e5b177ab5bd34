"""The OpenAPI 3.1 document, made from the endpoints themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .endpoints import TENANT, Endpoint


def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The document as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailjam",
            "version": version,
            "description": "A mail and news server that can be jammed on purpose. `/api/v1` reads as Mailpit's.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {"type": "object", "properties": {"Error": {"type": "string"}}, "required": ["Error"]}
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    for parameter in (*endpoint.query, *(() if endpoint.tag == "tenants" else (TENANT,))):
        schema: dict[str, Any] = {"type": parameter.type}
        if parameter.default is not None:
            schema["default"] = parameter.default
        parameters.append(
            {
                "name": parameter.name,
                "in": "query",
                "required": False,
                "schema": schema,
                "description": parameter.summary,
            }
        )
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{endpoint.handler.__name__}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": parameters,
        "responses": {
            "200": {"description": "done", "content": {endpoint.returns: {"schema": {}}}},
            "default": {
                "description": "not done; the text names the fix",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if endpoint.body is not None:
        kind = "application/json" if endpoint.body.get("type") == "object" else "text/plain"
        operation["requestBody"] = {"content": {kind: {"schema": dict(endpoint.body)}}}
    return operation
