"""The SASL mechanisms, against the RFCs' own examples and against clients written here from the RFCs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import ntlm, sasl


class People:
    """A directory of two accounts and one bearer token."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords

    @property
    def has_secrets(self) -> bool:
        return bool(self.passwords)

    def authenticate(self, user: str, password: str) -> str | None:
        user = user.casefold()
        if user not in self.passwords:
            return user if user == "open" and password else None
        return user if self.passwords[user] == password else None

    async def verify(self, user: str, password: str) -> str | None:
        return self.authenticate(user, password)

    def secret(self, user: str) -> str | None:
        return self.passwords.get(user.casefold())

    @property
    def has_tokens(self) -> bool:
        return self.token_user("vF9dft4qmT") is not None

    def token_user(self, token: str) -> str | None:
        return "alice" if token == "vF9dft4qmT" else None

    async def login(self, user: str) -> Any:
        raise NotImplementedError


PEOPLE = People(alice="wonderland", user="pencil", tim="tanstaaftanstaaf", müller="ｐäss\u00adwort")


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def counting(count: int) -> bytes:
    return bytes(range(count))


def begin(name: str, **options: Any) -> sasl.Exchange:
    exchange = sasl.start(name, PEOPLE, random_octets=counting, **options)
    assert exchange is not None
    return exchange


def failed(outcome: sasl.Outcome, kind: str = "credentials") -> bool:
    return isinstance(outcome, sasl.Failure) and outcome.kind == kind


# --- PLAIN and LOGIN


@pytest.mark.parametrize(
    ("response", "user"),
    [
        (b"\0alice\0wonderland", "alice"),
        (b"alice\0alice\0wonderland", "alice"),
        (b"ALICE\0Alice\0wonderland", "alice"),
        (b"tim\0alice\0wonderland", None),
        (b"\0alice\0wrong", None),
        (b"\0alice\0", None),
        (b"\0\0wonderland", None),
    ],
)
def test_plain(response: bytes, user: str | None) -> None:
    outcome = begin("plain").first(b64(response))
    assert outcome == sasl.Success(user) if user else failed(outcome)


def test_plain_without_an_initial_response_sends_an_empty_challenge() -> None:
    exchange = begin("PLAIN")
    challenge = exchange.first(None)
    assert isinstance(challenge, sasl.Challenge)
    assert challenge.line == b""
    assert exchange.answer(b64(b"\0alice\0wonderland")) == sasl.Success("alice")


@pytest.mark.parametrize("response", [b"", b"alice", b"\0alice", b"a\0b\0c\0d", b"\0alice\0\xff"])
def test_plain_malformed(response: bytes) -> None:
    assert failed(begin("PLAIN").first(b64(response) or b"="), "malformed")


@pytest.mark.parametrize("line", [b"!!!", b"YQ=", b"YQ==YQ==", b"\xff\xfe", b"A" * (sasl.RESPONSE_OCTETS_MAX + 1)])
def test_a_response_that_is_not_base64(line: bytes) -> None:
    exchange = begin("PLAIN")
    exchange.first(None)
    assert failed(exchange.answer(line), "malformed")
    assert failed(exchange.answer(b64(b"\0alice\0wonderland")), "malformed")


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"])
def test_a_star_cancels(name: str) -> None:
    exchange = begin(name)
    assert isinstance(exchange.first(None), sasl.Challenge)
    assert failed(exchange.answer(b"*"), "cancelled")


def test_login() -> None:
    exchange = begin("LOGIN")
    prompt = exchange.first(None)
    assert isinstance(prompt, sasl.Challenge)
    assert base64.b64decode(prompt.line) == b"Username:"
    prompt = exchange.answer(b64(b"alice"))
    assert isinstance(prompt, sasl.Challenge)
    assert prompt.octets == b"Password:"
    assert exchange.answer(b64(b"wonderland")) == sasl.Success("alice")


def test_login_with_the_name_as_initial_response() -> None:
    exchange = begin("LOGIN")
    assert isinstance(exchange.first(b64(b"alice")), sasl.Challenge)
    assert failed(exchange.answer(b64(b"wrong")))


# --- CRAM-MD5


def cram(exchange: sasl.Exchange, name: bytes, password: bytes) -> sasl.Outcome:
    challenge = exchange.first(None)
    assert isinstance(challenge, sasl.Challenge)
    digest = hmac.new(password, base64.b64decode(challenge.line), hashlib.md5).hexdigest()
    return exchange.answer(b64(name + b" " + digest.encode()))


def test_cram_md5() -> None:
    assert cram(begin("CRAM-MD5"), b"tim", b"tanstaaftanstaaf") == sasl.Success("tim")
    assert failed(cram(begin("CRAM-MD5"), b"tim", b"wrong"))
    assert failed(cram(begin("CRAM-MD5"), b"nobody", b"wrong"))


def test_cram_md5_opens_a_mailbox_that_opens_to_any_password() -> None:
    assert cram(begin("CRAM-MD5"), b"open", b"anything") == sasl.Success("open")


@pytest.mark.parametrize("response", [b"", b"tim", b"tim abc", b" " + b"0" * 32])
def test_cram_md5_malformed(response: bytes) -> None:
    exchange = begin("CRAM-MD5")
    exchange.first(None)
    assert failed(exchange.answer(b64(response)), "malformed")


def test_cram_md5_takes_no_initial_response() -> None:
    assert failed(begin("CRAM-MD5").first(b64(b"tim 00")), "malformed")


# --- SCRAM


def scram(
    name: str,
    user: bytes,
    password: str,
    *,
    gs2: bytes = b"n,,",
    data: bytes = b"",
    spoil: bytes = b"",
    **options: Any,
) -> sasl.Outcome:
    """A client after RFC 5802; checks the server's signature."""
    exchange = begin(name, **options)
    bare = b"n=" + user + b",r=rOprNGfwEbeRWgbNEkqO"
    challenge = exchange.first(b64(gs2 + bare))
    if not isinstance(challenge, sasl.Challenge):
        return challenge
    server_first = challenge.octets
    attributes = dict(part.split(b"=", 1) for part in server_first.split(b","))
    assert attributes[b"r"].startswith(b"rOprNGfwEbeRWgbNEkqO")
    assert int(attributes[b"i"]) >= 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(attributes[b"s"]), int(attributes[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = b"c=" + b64(gs2 + data) + b",r=" + attributes[b"r"] + spoil
    message = b",".join((bare, server_first, without_proof))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    outcome = exchange.answer(b64(without_proof + b",p=" + b64(proof)))
    verifier = b"v=" + b64(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256"))
    if isinstance(outcome, sasl.Success):
        assert outcome.data == verifier
        return outcome
    if isinstance(outcome, sasl.Challenge):
        assert outcome.octets == verifier
        return exchange.answer(b"")
    return outcome


def binding(kind: str) -> bytes | None:
    return b"\x01\x02bound" if kind == "tls-exporter" else None


def test_scram() -> None:
    assert scram("SCRAM-SHA-256", b"user", "pencil") == sasl.Success("user")
    assert failed(scram("SCRAM-SHA-256", b"user", "wrong"))
    assert failed(scram("SCRAM-SHA-256", b"nobody", "pencil"))
    assert failed(scram("SCRAM-SHA-256", b"user", "pencil", gs2=b"n,a=tim,"))
    assert failed(scram("SCRAM-SHA-256", b"user", "pencil", spoil=b"x"))


def test_scram_gives_data_with_success_where_the_protocol_can_carry_it() -> None:
    outcome = scram("SCRAM-SHA-256", b"user", "pencil", success_data=True)
    assert isinstance(outcome, sasl.Success)
    assert outcome.data.startswith(b"v=")


def test_scram_prepares_the_password() -> None:
    assert scram("SCRAM-SHA-256", "müller".encode(), "pässwort") == sasl.Success("müller")


def test_scram_plus_is_bound_to_the_channel() -> None:
    data = binding("tls-exporter") or b""
    gs2 = b"p=tls-exporter,,"
    assert scram("SCRAM-SHA-256-PLUS", b"user", "pencil", gs2=gs2, data=data, binding=binding) == sasl.Success("user")
    assert failed(scram("SCRAM-SHA-256-PLUS", b"user", "pencil", gs2=gs2, data=b"other", binding=binding))
    assert failed(scram("SCRAM-SHA-256-PLUS", b"user", "pencil", gs2=b"p=tls-unique,,", data=data, binding=binding))
    assert failed(scram("SCRAM-SHA-256-PLUS", b"user", "pencil", gs2=gs2, data=data))


def test_scram_sees_a_downgrade() -> None:
    """RFC 5802 section 6: `y` says that the server seemed not to offer -PLUS."""
    assert failed(scram("SCRAM-SHA-256", b"user", "pencil", gs2=b"y,,", binding=binding))
    assert scram("SCRAM-SHA-256", b"user", "pencil", gs2=b"y,,") == sasl.Success("user")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=user",
        b"n,,m=x,n=user,r=a",
        b"n,,n=us=er,r=a",
        b"x,,n=user,r=a",
        b"n,b=,n=user,r=a",
        b"n,,n=,r=",
    ],
)
def test_scram_malformed(message: bytes) -> None:
    assert failed(begin("SCRAM-SHA-256").first(b64(message) or b"="), "malformed")


# --- bearer tokens


def test_xoauth2() -> None:
    right = b64(b"user=alice\1auth=Bearer vF9dft4qmT\1\1")
    assert begin("XOAUTH2").first(right) == sasl.Success("alice")
    exchange = begin("XOAUTH2")
    challenge = exchange.first(b64(b"user=alice\1auth=Bearer nothing\1\1"))
    assert isinstance(challenge, sasl.Challenge)
    assert b'"401"' in challenge.octets
    assert failed(exchange.answer(b""))
    assert failed(begin("XOAUTH2").first(b64(b"auth=Bearer vF9dft4qmT\1\1")), "malformed")
    exchange = begin("XOAUTH2")
    exchange.first(b64(b"user=tim\1auth=Bearer vF9dft4qmT\1\1"))
    assert failed(exchange.answer(b""))


def test_oauthbearer() -> None:
    right = b64(b"n,a=alice,\1host=server.example.com\1port=143\1auth=Bearer vF9dft4qmT\1\1")
    assert begin("OAUTHBEARER").first(right) == sasl.Success("alice")
    exchange = begin("OAUTHBEARER")
    challenge = exchange.first(b64(b"n,a=alice,\1auth=Bearer nothing\1\1"))
    assert isinstance(challenge, sasl.Challenge)
    assert b"invalid_token" in challenge.octets
    assert failed(exchange.answer(b64(b"\1")))
    assert failed(begin("OAUTHBEARER").first(b64(b"auth=Bearer vF9dft4qmT")), "malformed")


# --- NTLM


def ntlm_answer(user: str, password: str) -> bytes:
    """What a client says to the nonce 0, 1, … 7."""
    proved = b"\1\1" + bytes(30)
    key = ntlm.response_key(user, "home", password)
    fields = [b"", hmac.digest(key, bytes(range(8)) + proved, "md5") + proved, b"home", user.encode(), b"", b""]
    head, offset = b"", 64
    for field in fields:
        head += struct.pack("<HHI", len(field), len(field), offset)
        offset += len(field)
    return ntlm.SIGNATURE + struct.pack("<I", 3) + head + bytes(4) + b"".join(fields)


def test_ntlm() -> None:
    negotiate = ntlm.SIGNATURE + struct.pack("<II", 1, 0xB207)
    right = ntlm.response_key("alice", "home", "wonderland")
    assert right == ntlm.response_key("ALICE", "home", "wonderland")
    for user, password, ok in (
        ("alice", "wonderland", True),
        ("Alice", "wonderland", True),
        ("alice", "wrong", False),
        ("nobody", "wonderland", False),
    ):
        exchange = begin("NTLM")
        challenge = exchange.first(None)
        assert isinstance(challenge, sasl.Challenge)
        assert challenge.octets == b""
        second = exchange.answer(b64(negotiate))
        assert isinstance(second, sasl.Challenge)
        assert second.octets == ntlm.challenge(bytes(range(8)), "localhost")
        outcome = exchange.answer(b64(ntlm_answer(user.upper(), password)))
        assert (outcome == sasl.Success("alice")) is ok
        if not ok:
            assert failed(outcome)
    assert failed(begin("NTLM").first(b64(b"nothing")), "malformed")
    exchange = begin("NTLM")
    exchange.first(b64(negotiate))
    assert failed(exchange.answer(b64(b"nothing")), "malformed")


# --- what is offered


def test_what_is_offered() -> None:
    def offered(people: People = PEOPLE, **options: Any) -> set[str]:
        return set(sasl.mechanisms(people, **{"tls": False, "plaintext_allowed": True, **options}))

    open_text = {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}
    assert offered() == open_text | {"CRAM-MD5", "SCRAM-SHA-256"}
    assert offered(plaintext_allowed=False) == {"CRAM-MD5", "SCRAM-SHA-256"}
    assert offered(plaintext_allowed=False, tls=True, binding=binding) >= open_text | {"SCRAM-SHA-256-PLUS"}
    assert "SCRAM-SHA-256" not in offered(People())
    assert "PLAIN" not in offered(hidden=frozenset({"AUTH=PLAIN"}))

    class WithoutTokens(People):
        has_tokens = False

    assert offered(WithoutTokens()) == {"CRAM-MD5", "PLAIN", "LOGIN"}
    assert offered(ntlm_too=True) == offered() | {"NTLM"}
    assert "NTLM" not in offered(People(), ntlm_too=True)


def test_unknown_mechanism() -> None:
    assert sasl.start("EXTERNAL", PEOPLE, random_octets=counting) is None


@settings(max_examples=150)
@given(
    st.sampled_from([*sasl._MECHANISMS]),
    st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b64), st.text().map(str.encode).map(b64))),
)
def test_nothing_a_peer_sends_raises_or_succeeds(name: str, lines: list[bytes]) -> None:
    exchange = begin(name)
    outcome = exchange.first(None)
    for line in lines:
        outcome = exchange.answer(line)
        assert not isinstance(outcome, sasl.Success)
