"""SASL mechanisms as steps (RFC 4422), the server's side, shared by SMTP, POP3, IMAP4 and NNTP (sans-IO).

How a front-end uses it:

    names = sasl.mechanisms(directory, tls=connection.tls, plaintext_allowed=..., binding=connection.channel_binding)
    exchange = sasl.start(name, directory, random_octets=services.random_octets, hostname=..., binding=...)
    # None: there is no such mechanism
    outcome = await exchange.begin(initial)     # as it stands in the command: base64, `=` for an empty one, or None
    while isinstance(outcome, sasl.Challenge):
        send b"334 " / b"+ " / b"383 " + outcome.line
        outcome = await exchange.proceed(line)   # the line the client sent, without CRLF; `*` cancels
    # now sasl.Success(user, data) or sasl.Failure(text, kind)

`Success.user` is the canonical name. `Success.data` is only ever filled when `start(..., success_data=True)` was asked
for (NNTP's 283, RFC 4643); otherwise such data goes out as one more challenge, to which an empty line is the answer.

`first` and `answer` do the same at once, which may take as long as the hash of a stored password does (40 ms).
Every response is bounded by `RESPONSE_OCTETS_MAX`; `answer` never raises on what a peer sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import stringprep
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from . import ntlm
from .ports import Directory

RESPONSE_OCTETS_MAX = 12288
"""One base64 response line (RFC 4954 section 4: at least 12288 octets must be taken)."""
SCRAM_ITERATIONS = 4096
"""RFC 7677 section 4 asks for at least 4096."""

BEARER = ("XOAUTH2", "OAUTHBEARER")
"""Mechanisms that carry a bearer token."""
OPEN_TEXT = ("PLAIN", "LOGIN", *BEARER)
"""Mechanisms that carry the secret itself."""

ChannelBinding = Callable[[str], bytes | None]
FailureKind = Literal["credentials", "malformed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Something the client has to answer."""

    octets: bytes

    @property
    def line(self) -> bytes:
        """As it stands on the wire, without the protocol's own prefix."""
        return base64.b64encode(self.octets)


@dataclass(frozen=True, slots=True)
class Success:
    """The client is who it says."""

    user: str
    data: bytes = b""
    """Additional data with success, not yet encoded; see `start`."""

    @property
    def line(self) -> bytes:
        """`data` as it stands on the wire."""
        return base64.b64encode(self.data)


@dataclass(frozen=True, slots=True)
class Failure:
    """It is not. `kind`: wrong `credentials` (SMTP 535), `malformed` response (501), `cancelled` by `*` (501)."""

    text: str
    kind: FailureKind = "credentials"


@dataclass(frozen=True, slots=True)
class _Check:
    """A password to be checked; the step is sent the canonical name, or None."""

    user: str
    password: str


Outcome = Challenge | Success | Failure
_Steps = Generator[bytes | _Check, Any, Success | Failure]
"""A mechanism: yields challenges, is sent responses, returns how it ended. `yield b""` asks for a first word."""

_REFUSED = Failure("Authentication credentials invalid")


class Exchange:
    """One authentication in progress."""

    def __init__(self, name: str, steps: _Steps, directory: Directory, *, client_first: bool) -> None:
        self.name = name
        self._directory = directory
        self._steps = steps
        self._client_first = client_first
        self._over = False

    def first(self, initial: bytes | None) -> Outcome:
        """Begin. `initial` is the initial response in base64, `=` for an empty one, None when none was given."""
        return self._challenge(initial) or self.answer(b"" if initial == b"=" else initial or b"")

    def answer(self, line: bytes) -> Outcome:
        """The next step, with a response line in base64."""
        outcome = self._answer(line)
        while isinstance(outcome, _Check):
            outcome = self._step(self._directory.authenticate(outcome.user, outcome.password))
        return outcome

    async def begin(self, initial: bytes | None) -> Outcome:
        """As `first`; others go on while a password is checked."""
        return self._challenge(initial) or await self.proceed(b"" if initial == b"=" else initial or b"")

    async def proceed(self, line: bytes) -> Outcome:
        """As `answer`; others go on while a password is checked."""
        outcome = self._answer(line)
        while isinstance(outcome, _Check):
            outcome = self._step(await self._directory.verify(outcome.user, outcome.password))
        return outcome

    def _challenge(self, initial: bytes | None) -> Outcome | None:
        """What is said first, or None when the client has spoken already."""
        challenge = next(self._steps)
        assert isinstance(challenge, bytes)
        if initial is None:
            return Challenge(challenge)
        if not self._client_first and self.name != "LOGIN":
            # RFC 4954 section 4: a mechanism in which the server speaks first takes no initial response
            return self._end(Failure("this mechanism takes no initial response", "malformed"))
        return None

    def _answer(self, line: bytes) -> Outcome | _Check:
        if self._over:
            return Failure("the exchange is over", "malformed")
        if line == b"*":
            return self._end(Failure("authentication cancelled", "cancelled"))
        if len(line) > RESPONSE_OCTETS_MAX:
            return self._end(Failure("response is too long", "malformed"))
        try:
            response = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            return self._end(Failure("response is not base64", "malformed"))
        return self._step(response)

    def _step(self, sent: bytes | str | None) -> Outcome | _Check:
        try:
            asked = self._steps.send(sent)
        except StopIteration as stop:
            outcome: Success | Failure = stop.value
            return self._end(outcome)
        return asked if isinstance(asked, _Check) else Challenge(asked)

    def _end(self, outcome: Success | Failure) -> Success | Failure:
        self._over = True
        self._steps.close()
        return outcome


@dataclass(frozen=True, slots=True)
class _Context:
    directory: Directory
    random_octets: Callable[[int], bytes]
    hostname: str
    binding: ChannelBinding
    binding_advertised: bool
    success_data: bool


def no_binding(kind: str) -> bytes | None:
    """The channel binding of a connection without TLS."""
    return None


def _bindable(binding: ChannelBinding) -> bool:
    return any(binding(kind) is not None for kind in _BINDINGS)


_BINDINGS = ("tls-exporter", "tls-server-end-point", "tls-unique")


def mechanisms(
    directory: Directory,
    *,
    tls: bool,
    plaintext_allowed: bool,
    binding: ChannelBinding = no_binding,
    hidden: frozenset[str] = frozenset(),
    ntlm_too: bool = False,
) -> tuple[str, ...]:
    """The names to advertise, in the order of preference.

    `plaintext_allowed`: whether a password or token may cross a connection without TLS. SCRAM needs passwords known in
    plain on the server's side, so it is left out where any password opens any mailbox; XOAUTH2 and OAUTHBEARER are left
    out where nobody has a token, for there are clients that choose them before any other. `hidden` holds `AUTH=NAME`.
    `ntlm_too`: NTLM, before all others, where passwords are known in plain.
    """
    open_text = tls or plaintext_allowed
    names: list[str] = []
    if directory.has_secrets:
        if ntlm_too:
            names.append("NTLM")
        if _bindable(binding):
            names.append("SCRAM-SHA-256-PLUS")
        names.append("SCRAM-SHA-256")
    names.append("CRAM-MD5")
    if open_text:
        names += [name for name in OPEN_TEXT if name not in BEARER or directory.has_tokens]
    return tuple(name for name in names if f"AUTH={name}" not in hidden)


def start(
    name: str,
    directory: Directory,
    *,
    random_octets: Callable[[int], bytes],
    hostname: str = "localhost",
    binding: ChannelBinding = no_binding,
    success_data: bool = False,
) -> Exchange | None:
    """An exchange for the mechanism `name` (any case), or None when there is no such mechanism.

    The caller has checked that the name is among those it advertises. `random_octets(count)` makes nonces.
    """
    key = name.upper()
    entry = _MECHANISMS.get(key)
    if entry is None:
        return None
    steps, client_first = entry
    context = _Context(directory, random_octets, hostname, binding, _bindable(binding), success_data)
    return Exchange(key, steps(context), directory, client_first=client_first)


def _text(octets: bytes) -> str | None:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _authorized(user: str, named: str, authorization: str) -> bool:
    """Whether the authorization identity is the user himself: nobody acts for another here."""
    return not authorization or authorization in (user, named) or authorization.strip().casefold() == user


# --- passwords in the open --------------------------------------------------------------------------------------------


def _plain(context: _Context) -> _Steps:
    """RFC 4616: `[authzid] NUL authcid NUL passwd`."""
    response = yield b""
    parts = response.split(b"\0")
    if len(parts) != 3:
        return Failure("PLAIN response must have two NULs", "malformed")
    authorization, named, password = map(_text, parts)
    if authorization is None or named is None or password is None:
        return Failure("PLAIN response is not UTF-8", "malformed")
    if not named or not password:
        return _REFUSED
    user = yield _Check(named, password)
    if user is None or not _authorized(user, named, authorization):
        return _REFUSED
    return Success(user)


def _login(context: _Context) -> _Steps:
    """draft-murchison-sasl-login: two prompts. Some clients send the name as an initial response."""
    named = _text((yield b"Username:"))
    password = _text((yield b"Password:"))
    if named is None or password is None:
        return Failure("LOGIN response is not UTF-8", "malformed")
    if not named or not password:
        return _REFUSED
    user = yield _Check(named, password)
    return _REFUSED if user is None else Success(user)


# --- challenge and response -------------------------------------------------------------------------------------------


def _cram_md5(context: _Context) -> _Steps:
    """RFC 2195: HMAC-MD5 over a challenge."""
    challenge = f"<{int.from_bytes(context.random_octets(12), 'big')}@{context.hostname}>".encode("ascii", "replace")
    response = yield challenge
    name, space, digest = response.rpartition(b" ")
    named = _text(name)
    if not space or not named or len(digest) != 32:
        return Failure("CRAM-MD5 response must be a name and 32 hexadecimal digits", "malformed")
    secret = context.directory.secret(named)
    if secret is None:
        # a mailbox that opens to any password opens to any digest
        user = yield _Check(named, digest.decode("latin-1"))
        return _REFUSED if user is None else Success(user)
    wanted = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest().encode()
    right = hmac.compare_digest(wanted, digest.lower())
    user = context.directory.authenticate(named, secret)
    return Success(user) if right and user is not None else _REFUSED


def _scram_sha_256(context: _Context) -> _Steps:
    """RFC 7677, without channel binding."""
    return (yield from _scram(context, plus=False))


def _scram_sha_256_plus(context: _Context) -> _Steps:
    """RFC 7677, bound to the TLS channel (RFC 5929, RFC 9266)."""
    return (yield from _scram(context, plus=True))


@dataclass(frozen=True, slots=True)
class _ClientFirst:
    gs2: bytes
    bare: bytes
    binding: bytes
    authorization: str
    name: str
    nonce: bytes


def _scram(context: _Context, *, plus: bool) -> _Steps:
    """RFC 5802 section 3 with SHA-256.

    The salt is drawn anew for each exchange: the server knows passwords, so it keeps no derived keys, and an unknown
    name is answered as a known one is.
    """
    first = _client_first((yield b""), context, plus=plus)
    if isinstance(first, Failure):
        return first
    secret = context.directory.secret(first.name)
    salt = context.random_octets(16)
    nonce = first.nonce + base64.b64encode(context.random_octets(18))
    server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), SCRAM_ITERATIONS)
    final = yield server_first
    without_proof, mark, proof_text = final.rpartition(b",p=")
    attributes = without_proof.split(b",")
    if not mark or len(attributes) < 2:
        return Failure("SCRAM client-final-message is not well-formed", "malformed")
    channel = first.gs2 + first.binding
    if attributes[0] != b"c=" + base64.b64encode(channel) or attributes[1] != b"r=" + nonce:
        return _REFUSED
    try:
        proof = base64.b64decode(proof_text, validate=True)
    except (binascii.Error, ValueError):
        return Failure("SCRAM proof is not base64", "malformed")
    password = saslprep(secret) if secret is not None else base64.b64encode(context.random_octets(12)).decode()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    auth_message = b",".join((first.bare, server_first, without_proof))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth_message, "sha256")
    wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    right = hmac.compare_digest(wanted, proof)
    user = context.directory.authenticate(first.name, secret) if secret is not None else None
    if not right or user is None or not _authorized(user, first.name, first.authorization):
        return _REFUSED
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    server_final = b"v=" + base64.b64encode(hmac.digest(server_key, auth_message, "sha256"))
    if context.success_data:
        return Success(user, server_final)
    yield server_final
    return Success(user)


def _client_first(message: bytes, context: _Context, *, plus: bool) -> _ClientFirst | Failure:
    """RFC 5802 section 7: `gs2-cbind-flag "," [authzid] "," [reserved-mext ","] username "," nonce`."""
    malformed = Failure("SCRAM client-first-message is not well-formed", "malformed")
    parts = message.split(b",", 2)
    if len(parts) != 3:
        return malformed
    flag, authorization_text, bare = parts
    attributes = bare.split(b",")
    if len(attributes) < 2 or not attributes[0].startswith(b"n=") or not attributes[1].startswith(b"r="):
        return malformed  # a mandatory extension (m=) is refused with the rest
    nonce = attributes[1][2:]
    name = _scram_name(attributes[0][2:])
    authorization: str | None = ""
    if authorization_text:
        authorization = _scram_name(authorization_text[2:]) if authorization_text.startswith(b"a=") else None
    if not name or not nonce or authorization is None:
        return malformed
    data = b""
    if flag.startswith(b"p="):
        kind = flag[2:].decode("latin-1")
        found = context.binding(kind) if plus and kind in _BINDINGS else None
        if found is None:
            return Failure("channel binding is not supported", "credentials")
        data = found
    elif plus or flag not in (b"n", b"y"):
        return malformed
    elif flag == b"y" and context.binding_advertised:
        return Failure("the list of mechanisms was tampered with", "credentials")  # RFC 5802 section 6
    gs2 = message[: len(message) - len(bare)]
    return _ClientFirst(gs2, bare, data, authorization, name, nonce)


def _scram_name(octets: bytes) -> str | None:
    text = _text(octets)
    if text is None:
        return None
    plain = text.replace("=2C", ",").replace("=3D", "\1")
    return None if "=" in plain else plain.replace("\1", "=")


def saslprep(text: str) -> str:
    """RFC 4013: mapped and normalised. Text with prohibited characters is returned as it is."""
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(table(character) for character in prepared for table in prohibited):
        return text
    return prepared


def _ntlm(context: _Context) -> _Steps:
    """[MS-NLMP], as [MS-SMTPNTLM], [MS-POP3] and [MS-OXIMAP4] carry it: negotiate, challenge, authenticate."""
    if not ntlm.is_negotiate((yield b"")):
        return Failure("NTLM negotiate message is not well-formed", "malformed")
    nonce = context.random_octets(ntlm.CHALLENGE_OCTETS)
    answer = ntlm.read_answer((yield ntlm.challenge(nonce, context.hostname)))
    if answer is None:
        return Failure("NTLM authenticate message is not well-formed", "malformed")
    secret = context.directory.secret(answer.user)
    right = ntlm.is_right(answer, nonce, secret if secret is not None else context.random_octets(12).hex())
    user = context.directory.authenticate(answer.user, secret) if right and secret is not None else None
    return Success(user) if user is not None else _REFUSED


# --- bearer tokens ----------------------------------------------------------------------------------------------------


def _xoauth2(context: _Context) -> _Steps:
    """Google's and Microsoft's form: `user=NAME ^A auth=Bearer TOKEN ^A ^A`."""
    fields = _bearer_fields((yield b"").split(b"\1"))
    if fields is None or "user" not in fields:
        return Failure("XOAUTH2 response is not well-formed", "malformed")
    user = _bearer_user(context, fields, fields["user"])
    if user is not None:
        return Success(user)
    yield json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode()
    return _REFUSED


def _oauthbearer(context: _Context) -> _Steps:
    """RFC 7628: a GS2 header, then key=value pairs behind ^A."""
    response = yield b""
    header, _, rest = response.partition(b"\1")
    gs2 = header.split(b",")
    fields = _bearer_fields(rest.split(b"\1"))
    authorization: str | None = ""
    if len(gs2) == 3 and gs2[1]:
        authorization = _scram_name(gs2[1][2:]) if gs2[1].startswith(b"a=") else None
    if fields is None or len(gs2) != 3 or gs2[0] not in (b"n", b"y") or gs2[2] or authorization is None:
        return Failure("OAUTHBEARER response is not well-formed", "malformed")
    user = _bearer_user(context, fields, authorization)
    if user is not None:
        return Success(user)
    yield json.dumps({"status": "invalid_token", "scope": "mail"}).encode()
    return _REFUSED


def _bearer_fields(pairs: list[bytes]) -> dict[str, str] | None:
    """The key=value pairs; they end with two empty pieces (`^A ^A`)."""
    if len(pairs) < 2 or pairs[-1] or pairs[-2]:
        return None
    fields = {}
    for pair in pairs[:-2]:
        text = _text(pair)
        if text is None or "=" not in text:
            return None
        key, _, value = text.partition("=")
        fields[key.lower()] = value
    return fields


def _bearer_user(context: _Context, fields: dict[str, str], named: str) -> str | None:
    scheme, _, token = fields.get("auth", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    user = context.directory.token_user(token.strip())
    return user if user is not None and _authorized(user, user, named) else None


_MECHANISMS: dict[str, tuple[Callable[[_Context], _Steps], bool]] = {
    "PLAIN": (_plain, True),
    "LOGIN": (_login, False),
    "CRAM-MD5": (_cram_md5, False),
    "NTLM": (_ntlm, True),
    "SCRAM-SHA-256": (_scram_sha_256, True),
    "SCRAM-SHA-256-PLUS": (_scram_sha_256_plus, True),
    "XOAUTH2": (_xoauth2, True),
    "OAUTHBEARER": (_oauthbearer, True),
}
