"""A gateway to HTTP: messages that leave are posted as JSON, and what is posted to it comes in."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from emulator import imail
from emulator.mts import MessageTransferStub, Refused, Transfer
from emulator.properties import PropertyMessage
from emulator.property_tags import PR_BODY, PR_INTERNET_MESSAGE_ID, PR_SENDER_EMAIL_ADDRESS, PR_SUBJECT
from protocols.ports import Unavailable

from .addressing import envelope_of, takes_domain

REQUEST_OCTETS_MAX: Final = 64 << 20
HEADER_OCTETS_MAX: Final = 65_536
_REASONS: Final = {202: "Accepted", 400: "Bad Request", 405: "Method Not Allowed", 413: "Content Too Large"}
_PASSING: Final = frozenset({401, 403, 404, 408, 421, 423, 425, 429})
"""4xx of a server that is not ready yet, or not set up yet: another attempt may end otherwise."""
_REASONS_503: Final = "Service Unavailable"


class WebhookError(Exception):
    """The other side did not take a message."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Every 3xx is an answer that is no success."""

    def redirect_request(self, *_: object) -> None:
        """No request follows."""


class WebhookConnector:
    """Posts mail for `domains` to `url`; `listen` opens the way in."""

    takes_at_once = True

    def __init__(self, name: str, domains: Sequence[str], url: str, timeout_seconds_max: float = 30.0) -> None:
        """Raises ValueError where `url` is no HTTP address."""
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError(f"{url} is no http:// or https:// address")
        self.name = name
        self._domains = tuple(domains)
        self._url = url
        self._timeout = timeout_seconds_max

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector."""
        return takes_domain(self._domains, address)

    def deliver(self, transfer: Transfer, properties: PropertyMessage) -> None:
        """Post envelope, properties and MIME. Raises Refused after a 4xx that will not change, else WebhookError.

        Every answer but 2xx is an error.
        """
        document = {
            "reverse_path": transfer.reverse_path,
            "recipients": list(transfer.recipients),
            "subject": properties.get(PR_SUBJECT, ""),
            "sender": properties.get(PR_SENDER_EMAIL_ADDRESS, ""),
            "message_id": properties.get(PR_INTERNET_MESSAGE_ID, ""),
            "text": properties.get(PR_BODY, ""),
            "attachments": [
                {"name": row.name, "type": row.content_type, "octets": len(row.data)} for row in properties.attachments
            ],
            "mime": base64.b64encode(imail.outbound(properties)).decode("ascii"),
        }
        self._post(json.dumps(document).encode("ascii"))

    def _post(self, body: bytes) -> None:
        # Redirects are refused: whoever answers at the URL must not choose where else mail is sent.
        opener = urllib.request.build_opener(_NoRedirects)
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked when the connector was made
            self._url, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with opener.open(request, timeout=self._timeout):
                return
        except urllib.error.HTTPError as error:
            reason = f"{self._url} answered {error.code}"
            error.close()
            if 400 <= error.code < 500 and error.code not in _PASSING:
                raise Refused(reason) from None
        except (OSError, http.client.HTTPException) as error:
            reason = f"{self._url}: {error}"
        raise WebhookError(reason)

    async def listen(self, mts: MessageTransferStub, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
        """Take messages (MIME octets as the body of a POST). Recipients: the field X-Recipients, else To and Cc.

        202: it is in MTS-IN, and on the disk where the server keeps its mail there. 503: MTS-IN cannot take it, come
        back later.
        """

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(self._timeout):
                    status = await self._take(mts, reader)
            except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
                status = 400
            reason = _REASONS.get(status, _REASONS_503)
            writer.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass

        return await asyncio.start_server(serve, host, port, limit=HEADER_OCTETS_MAX)

    async def _take(self, mts: MessageTransferStub, reader: asyncio.StreamReader) -> int:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        if not line.startswith(b"POST "):
            return 405
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (field.partition(b":") for field in rest.split(b"\r\n"))
        }
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or len(length) > 12:
            return 400
        if int(length) > REQUEST_OCTETS_MAX:
            return 413
        octets = await reader.readexactly(int(length))
        sender, recipients = envelope_of(imail.inbound(octets))
        named = fields.get(b"x-recipients")
        if named is not None:
            recipients = [text for item in named.decode("utf-8", "replace").split(",") if (text := item.strip())]
        if not recipients:
            return 400
        try:
            await mts.bring(self.name, sender, recipients, octets)
        except (Unavailable, KeyError):
            return 503
        return 202
