"""Bodies on disk: what went in comes out; damage is found; compression only where it pays."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.durable import bodies


@given(st.binary(max_size=3000) | st.binary(max_size=30).map(lambda part: part * 500))
def test_what_went_in_comes_out(octets):
    assert bodies.plain_body(*bodies.pack_octets(octets)) == octets


def test_text_is_compressed_and_noise_is_not():
    text, noise = b"Subject: hello\r\n" * 1000, os.urandom(100_000)
    form, _, body = bodies.pack_octets(text)
    assert form == bodies.COMPRESSED
    assert len(body) < len(text) / 10
    form, _, body = bodies.pack_octets(noise)
    assert form == bodies.OCTETS
    assert body is noise


def test_properties_have_their_own_form():
    message = SimpleNamespace(modified=True, to_bytes=lambda: b"bag " * 500)
    form, checksum, body = bodies.pack(message)
    assert form == bodies.PROPERTIES | bodies.COMPRESSED
    assert bodies.plain_body(form, checksum, body) == b"bag " * 500


@given(st.binary(min_size=1, max_size=30).map(lambda part: part * 100), st.data())
def test_damage_is_found(octets, data):
    form, checksum, body = bodies.pack_octets(octets)
    position = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:position] + bytes([body[position] ^ 0x41]) + body[position + 1 :]
    with pytest.raises(ValueError, match="checksum"):
        bodies.plain_body(form, checksum, damaged)
    bodies.readable_part(form, damaged)


def test_the_beginning_of_a_damaged_body_is_readable():
    text = b"".join(b"line %d\r\n" % n for n in range(10_000))
    form, _, body = bodies.pack_octets(text)
    part = bodies.readable_part(form, body[: len(body) // 2])
    assert len(part) > len(text) // 4
    assert text.startswith(part)
