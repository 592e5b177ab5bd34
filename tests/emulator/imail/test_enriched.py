"""emulator/imail/enriched.py, and bodies that are neither plain text nor HTML."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.enriched import html_from_enriched
from emulator.property_tags import PR_BODY, PR_HTML, PR_RTF_COMPRESSED


@pytest.mark.parametrize(
    ("text", "richtext", "expected"),
    [
        ("a <bold>b</bold> << c & d", False, "a <b>b</b> &lt; c &amp; d"),
        ("one\r\ntwo\r\n\r\nthree", False, "one\r\ntwo<br>\r\nthree"),
        ("<color><param>red</param>x</color>", False, "x"),
        ("<nofill>a\r\nb</nofill>", False, "a<br>\r\nb"),
        ("<bold>never closed", False, "<b>never closed</b>"),
        ("a<nl>b<lt>c", True, "a<br>\r\nb&lt;c"),
        ("<script>x</script>", False, "x"),
    ],
)
def test_html(text: str, richtext: bool, expected: str) -> None:
    assert html_from_enriched(text, richtext=richtext) == expected


@pytest.mark.parametrize("unit", ["<", "<<", "<bold>", "\n", "\r", "</param>", "<param>"])
def test_linear(unit: str, linear: Callable[[Callable[[int], object], int], None]) -> None:
    linear(lambda count: html_from_enriched(unit * count), 10_000)


def test_in_messages() -> None:
    message = inbound(b"Content-Type: text/enriched\r\n\r\n<bold>x</bold>\r\n")
    assert message[PR_HTML] == b"<b>x</b>\r\n"
    rtf = rb"{\rtf1\ansi hello\par}"
    message = inbound(b"Content-Type: text/rtf\r\n\r\n" + rtf)
    assert message[PR_BODY] == "hello\r\n"
    message.forget_original()
    again = inbound(outbound(message))
    assert again[PR_BODY] == "hello\r\n"
    assert again[PR_RTF_COMPRESSED] == message[PR_RTF_COMPRESSED]
