from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.testing.text import html_to_text, links_in, one_time_codes


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Your code is 493817.", "493817"),
        ("Use 1234 as your PIN. Order 99887766 is on its way.", "1234"),
        ("Call 555-1234-999 about invoice 20201\nVerification code:\n\n  081 726\n", "081726"),
        ("Your one-time password: AB3-9XZ", "AB3-9XZ"),
        ("2026-11-24\nG-code: 5512", "5512"),
        ("G-493817 is your Google verification code", "493817"),
        ("Use AB12CD to sign in.", "AB12CD"),
        ("Order AB1234 of 2026-11-24. Your code: 7K2M9", "7K2M9"),
        ("Your one-time password is\n\n    7 4 1 2 9 9\n", "741299"),
        ("HELLO12 is no code, 5512 is", "5512"),
        ("https://x.test/?code=999999 code 314159", "314159"),
    ],
)
def test_codes(text: str, code: str) -> None:
    assert one_time_codes(text)[0] == code


@pytest.mark.parametrize("text", ["", "hello", "In 2026 we sold 1.000.000 units.", "12:30:45"])
def test_no_code(text: str) -> None:
    assert one_time_codes(text) == []


def test_links() -> None:
    html = '<a href="https://a.test/?x=1&amp;y=2">a</a><a href="#top">t</a><a href="mailto:b@c">m</a>'
    text = "see (https://b.test/path_(x)), https://a.test/?x=1&y=2."
    assert links_in(html, text) == ["https://a.test/?x=1&y=2", "mailto:b@c", "https://b.test/path_(x)"]


def test_html_to_text() -> None:
    html = "<style>p{}</style><p>Hello <b>you</b></p><script>x()</script><div>a<br>b&nbsp;c</div>"
    assert html_to_text(html) == "Hello you\na\nb c"


@given(st.text(alphabet="<>/!-[]&;=\"' abscriptyle\n0123", max_size=300))
def test_any_html_is_read(html: str) -> None:
    html_to_text(html)
    links_in(html, html)
    one_time_codes(html)
