"""emulator/imail/opaque.py: what is signed or encrypted keeps every octet."""

from __future__ import annotations

import pytest

from emulator.imail import inbound, outbound
from emulator.property_tags import PR_BODY, PR_MESSAGE_CLASS, PR_SUBJECT
from protocols.mime import parse, transfer

SIGNED_BODY = (
    b"preamble\r\n--s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n  odd   white space \r\n\r\n--s\r\n"
    b"Content-Type: %s; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--s--\r\nepilogue\r\n"
)


@pytest.mark.parametrize("protocol", ["application/pkcs7-signature", "application/pgp-signature"])
def test_clear_signed(protocol: str) -> None:
    body = SIGNED_BODY % protocol.encode()
    octets = (
        f'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol="{protocol}";\r\n'
        "\tmicalg=sha-256; boundary=s\r\n\r\n"
    ).encode() + body
    message = inbound(octets)
    assert message[PR_MESSAGE_CLASS] == "IPM.Note.SMIME.MultipartSigned"
    assert message[PR_BODY] == "  odd   white space \r\n"
    (attachment,) = message.attachments
    assert attachment.data.endswith(b"\r\n\r\n" + body)
    message[PR_SUBJECT] = "changed"
    again = parse(outbound(message))
    assert again.body == body
    assert again.content_type == "multipart/signed"
    assert again.params["protocol"] == protocol
    assert again.headers.get("subject") == b"changed"


@pytest.mark.parametrize("kind", ["pkcs7-mime", "x-pkcs7-mime"])
def test_enveloped(kind: str) -> None:
    data = bytes(range(256)) * 5
    octets = (
        f"Content-Type: application/{kind}; smime-type=enveloped-data; name=smime.p7m\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + transfer.encode_base64(data)
    message = inbound(octets)
    assert message[PR_MESSAGE_CLASS] == "IPM.Note.SMIME"
    assert [(row.name, row.data) for row in message.attachments] == [("smime.p7m", data)]
    message.forget_original()
    part = parse(outbound(message))
    assert part.content_type == f"application/{kind}"
    assert part.params["smime-type"] == "enveloped-data"
    assert transfer.decode(part.body, part.encoding) == data


def test_pgp_encrypted() -> None:
    body = (
        b"--e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--e\r\n\r\n"
        b"-----BEGIN PGP MESSAGE-----\r\n--e--\r\n"
    )
    octets = b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=e\r\n\r\n' + body
    message = inbound(octets)
    message[PR_SUBJECT] = "x"
    assert parse(outbound(message)).body == body
