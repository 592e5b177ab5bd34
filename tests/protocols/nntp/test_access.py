"""TLS, DEFLATE, time limits: what a C:/S: file cannot say."""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib

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


def _upgrade(address: tuple[str, int], said_before: list[bytes], said_after: list[bytes]) -> list[bytes]:
    """A dialogue that goes on under TLS, with blocking sockets: the first line of each answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    answers = []
    with socket.create_connection(address, timeout=10) as plain:
        file = plain.makefile("rb", buffering=0)
        file.readline()
        for line in said_before:
            plain.sendall(line + b"\r\n")
            answers.append(file.readline().rstrip())
        with context.wrap_socket(plain) as secure, secure.makefile("rb") as reader:
            for line in said_after:
                secure.sendall(line + b"\r\n")
                answers.append(reader.readline().rstrip())
    return answers


async def test_starttls_forgets_what_was_before(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], groups=("misc.test",), plaintext_login=False)
    answers = await asyncio.to_thread(
        _upgrade,
        server.addresses["nntp"],
        [b"GROUP misc.test", b"AUTHINFO USER alice", b"STARTTLS"],
        [b"STAT", b"STARTTLS", b"AUTHINFO USER alice", b"AUTHINFO PASS secret", b"AUTHINFO USER alice"],
    )
    assert [answer[:3] for answer in answers] == [b"211", b"483", b"382", b"412", b"502", b"381", b"281", b"502"]


async def test_commands_behind_starttls_in_the_same_packet_are_dropped(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    answers = await asyncio.to_thread(
        _upgrade, server.addresses["nntp"], [b"STARTTLS\r\nGROUP misc.test\r\nQUIT"], [b"STAT", b"DATE"]
    )
    assert [answer[:3] for answer in answers] == [b"382", b"412", b"111"]
