"""SASL inside a command of a line protocol, over real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from harness.clients import NntpClient, Pop3Client

PROTOCOLS = [("pop3", Pop3Client, "AUTH", b"+ "), ("nntp", NntpClient, "AUTHINFO SASL", b"383 ")]


@pytest.mark.parametrize(("protocol", "client_class", "verb", "prefix"), PROTOCOLS)
async def test_cram_md5(start_server, protocol, client_class, verb, prefix) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"])
    async with await client_class.connect(server.addresses[protocol]) as client:
        client.write(f"{verb} CRAM-MD5\r\n".encode())
        challenge = await client.line()
        assert challenge.startswith(prefix)
        nonce = base64.b64decode(challenge.removeprefix(prefix))
        digest = hmac.new(b"secret", nonce, hashlib.md5).hexdigest()
        client.write(base64.b64encode(f"alice {digest}".encode()) + b"\r\n")
        assert (await client.line()).startswith((b"+OK", b"281"))


@pytest.mark.parametrize(("protocol", "client_class", "verb", "prefix"), PROTOCOLS)
async def test_scram(start_server, protocol, client_class, verb, prefix) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"])
    async with await client_class.connect(server.addresses[protocol]) as client:
        bare = "n=alice,r=abcdef"
        client.write(f"{verb} SCRAM-SHA-256 {base64.b64encode(f'n,,{bare}'.encode()).decode()}\r\n".encode())
        first = base64.b64decode((await client.line()).removeprefix(prefix)).decode()
        parts = dict(part.split("=", 1) for part in first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", b"secret", base64.b64decode(parts["s"]), int(parts["i"]))
        final = f"c=biws,r={parts['r']}"
        message = f"{bare},{first},{final}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        client.write(base64.b64encode(f"{final},p={proof}".encode()) + b"\r\n")
        verifier = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256"))
        answer = await client.line()
        if protocol == "nntp":  # RFC 4643 section 2.4: the server's last word comes with 283
            assert base64.b64decode(answer.removeprefix(b"283 ")) == b"v=" + verifier
        else:
            assert base64.b64decode(answer.removeprefix(prefix)) == b"v=" + verifier
            client.write(b"\r\n")
            assert (await client.line()).startswith(b"+OK")


@pytest.mark.parametrize(("protocol", "client_class", "verb", "prefix"), PROTOCOLS)
async def test_an_over_long_response(start_server, protocol, client_class, verb, prefix) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"])
    async with await client_class.connect(server.addresses[protocol]) as client:
        client.write(f"{verb} PLAIN\r\n".encode())
        assert (await client.line()).startswith(prefix.rstrip())
        client.write(b"A" * 20_000 + b"\r\n")
        assert (await client.line()).startswith((b"-ERR", b"482"))
        client.write(b"QUIT\r\n")
        assert (await client.line()).startswith((b"+OK", b"205"))


@pytest.mark.parametrize(("protocol", "client_class", "verb", "prefix"), PROTOCOLS)
async def test_a_peer_that_goes_in_the_middle(start_server, protocol, client_class, verb, prefix) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"])
    async with await client_class.connect(server.addresses[protocol]) as client:
        client.write(f"{verb} PLAIN\r\n".encode())
        await client.line()
        client.writer.write_eof()
        assert await client.reader.read() == b""
    assert server.scheduler.failures == []
