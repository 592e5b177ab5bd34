"""TLS, DEFLATE, time limits: what a C:/S: file cannot say."""

from __future__ import annotations

import asyncio
import ssl
import zlib

import pytest

from harness.clients import NntpClient


async def test_silence_ends_the_session_with_400(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(nntp_idle_seconds_max=0.05)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        assert (await client.line()).startswith(b"400 idle")
        assert await client.reader.read() == b""


async def test_a_reader_without_a_login_is_not_cut_off_by_the_login_budget(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(unauthenticated_seconds_max=0.0)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("DATE", 111)


async def test_who_has_to_log_in_has_so_long(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(unauthenticated_seconds_max=0.05, login_required=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        assert (await client.line()).startswith(b"400")


async def test_compress_deflate(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("COMPRESS DEFLATE", 206)
        deflate, inflate = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)

        async def ask(commands: bytes, end: bytes) -> bytes:
            client.write(deflate.compress(commands) + deflate.flush(zlib.Z_SYNC_FLUSH))
            answer = b""
            async with asyncio.timeout(10):
                while not answer.endswith(end):
                    answer += inflate.decompress(await client.reader.read(4096))
            return answer

        capabilities = await ask(b"CAPABILITIES\r\n", b".\r\n")
        for absent in (b"COMPRESS", b"STARTTLS", b"AUTHINFO"):
            assert absent not in capabilities
        answers = await ask(
            b"COMPRESS DEFLATE\r\nSTARTTLS\r\nAUTHINFO USER alice\r\nQUIT\r\n", b"closing connection\r\n"
        )
        assert [line[:3] for line in answers.splitlines()] == [b"502", b"502", b"502", b"205"]


async def test_starttls_forgets_what_was_before(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], groups=("misc.test",), plaintext_login=False)
    if server.tls_context is None:
        pytest.fail("no certificate was made")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("GROUP misc.test", 211)
        client.write(b"STARTTLS\r\n")
        assert (await client.line()).startswith(b"382")
        await client.writer.start_tls(context)
        await client.command("STAT", 412)
        await client.command("STARTTLS", 502)
        await client.login("alice", "secret")
        await client.command("CAPABILITIES", 101)
        capabilities = await client.block()
        assert b"STARTTLS" not in capabilities
        assert b"AUTHINFO" not in capabilities
