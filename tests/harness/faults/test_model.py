from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.faults.model import STAGES, Fault, FaultError, read_script, write_script

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    verb = draw(st.sampled_from(sorted(STAGES)))
    stage = draw(st.sampled_from(STAGES[verb]))
    return Fault(
        verb,
        protocol="imap" if verb == "drop-untagged" else draw(st.sampled_from(["*", "smtp", "pop3", "imap", "nntp"])),
        command=draw(TEXT),
        user=draw(TEXT),
        arguments=draw(TEXT),
        message=draw(TEXT) if stage == "store" else "*",
        stage=stage,
        nth=draw(st.integers(1, 99)),
        times=draw(st.integers(0, 99)),
        per=draw(st.sampled_from(["server", "session"])),
        one_in=draw(st.sampled_from([1, 2, 9, 1.25, 100 / 30])),
        seed=draw(st.integers(0, 2**40)),
        seconds=draw(st.floats(0.125, 1000)) if verb in ("delay", "hang", "trickle") else 0.0,
        text=draw(TEXT) if verb in ("error", "drop-untagged") else "",
        octets=draw(st.integers(0, 10_000)) if verb in ("truncate", "corrupt") else 1,
        bytes_per_second=draw(st.integers(1, 10**9)) if verb == "throttle" else 0,
    )


@given(faults())
def test_all_forms_mean_the_same(fault: Fault) -> None:
    assert Fault.from_text(str(fault)) == fault
    assert Fault.from_dict(fault.as_dict()) == fault
    assert read_script(write_script([fault, fault])) == [fault, fault]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (Fault.from_text, read_script):
        try:
            read(text)
        except FaultError:
            continue


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("explode", "unknown verb 'explode'"),
        ("delay", "delay needs seconds"),
        ("throttle", "throttle needs bytes_per_second"),
        ("error protocol=http", "no protocol 'http'"),
        ("error nth=0", "a whole number from 1 on"),
        ("error nth=x", "a number is needed"),
        ("error colour=red", "unknown setting 'colour'"),
        ("error RCPT", "write KEY=VALUE instead of 'RCPT'"),
        ("corrupt stage=store", "cannot strike at stage 'store'"),
        ("error message=*x*", "message= is known at stage=store only"),
        ("drop-untagged protocol=pop3", "only IMAP has untagged responses"),
        ("hang per=moon", "per server or per session"),
        ("eror command=RCPT", "unknown verb 'eror': did you mean error"),
        ("error comand=RCPT", "unknown setting 'comand' of a fault: did you mean command"),
        ("error protocol=smpt", "did you mean smtp"),
        ("error seconds=3", "error has no seconds: it belongs to delay, hang, trickle"),
        ("jam text=x", "jam has no text"),
        ("error one_in=0.5", "a number from 1 on"),
        ("", "a fault needs a verb"),
    ],
)
def test_mistakes_are_told(line: str, words: str) -> None:
    with pytest.raises(FaultError, match=words.replace("*", r"\*").replace("(", r"\(")):
        Fault.from_text(line)


def test_the_mistake_of_a_script_is_found_by_its_number() -> None:
    with pytest.raises(FaultError, match="fault 2 of the script: delay needs seconds"):
        read_script('[[fault]]\nverb = "error"\n[[fault]]\nverb = "delay"\n')
