"""The parameters of MAIL and RCPT: what is kept, and nothing but refusals."""

from __future__ import annotations

import contextlib
import string

from hypothesis import given
from hypothesis import strategies as st

from protocols.smtp import parameters
from protocols.smtp.grammar import Refusal

NOW = parameters.Circumstances(1000, True, 1_700_000_000.0)
OFFERED = frozenset(extension for extension, _ in (*parameters.MAIL.values(), *parameters.RCPT.values())) | {
    "BINARYMIME"
}


@given(
    st.dictionaries(
        st.sampled_from([*parameters.MAIL, *parameters.RCPT]), st.none() | st.text(string.printable, max_size=30)
    )
)
def test_parameters_never_raise_anything_else(given_: dict[str, str | None]) -> None:
    with contextlib.suppress(Refusal):
        parameters.read({**parameters.MAIL, **parameters.RCPT}, given_, OFFERED, NOW)


def test_what_parameters_keep() -> None:
    kept = parameters.read(
        parameters.MAIL,
        {
            "SIZE": "10",
            "BODY": "8bitmime",
            "RET": "hdrs",
            "ENVID": "a+2Bb",
            "AUTH": "<>",
            "MT-PRIORITY": "-3",
            "HOLDUNTIL": "2023-11-14T22:13:25Z",
            "REQUIRETLS": None,
        },
        OFFERED,
        NOW,
    )
    assert kept == {
        "body": "8BITMIME",
        "ret": "HDRS",
        "envid": "a+b",
        "auth": "",
        "priority": -3,
        "hold_until": 1_700_000_005.0,
        "requiretls": True,
    }


def test_the_furthest_release_is_what_is_announced() -> None:
    assert parameters.last_release(0) == "1970-01-31T00:00:00Z"
