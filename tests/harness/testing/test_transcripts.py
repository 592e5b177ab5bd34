from __future__ import annotations

from harness.testing.transcripts import PIECE_OCTETS_MAX, SESSION_OCTETS_MAX, Transcript, Transcripts
from protocols.actor import Actor


def test_lines_secrets_and_bounds() -> None:
    transcripts = Transcripts(sessions_max=2)
    one = transcripts.begin("pop3", Actor("pop3"), "peer")
    one.sent(b"+OK\r\n")
    one.received(b"USER alice\r\n")
    one.received(b"PASS secret\r\n")
    assert one.lines() == ["S: +OK", "C: USER alice", "C: PASS ***"]
    assert "C: PASS secret" in one.lines(secrets=True)
    assert one.dialogue() == [("S", b"+OK\r\n"), ("C", b"USER alice\r\nPASS secret\r\n")]
    for _ in range(200):
        one.sent(b"x" * (PIECE_OCTETS_MAX + 10))
        one.received(b"y")
    assert "S: … 10 octets more" in one.lines()
    assert sum(len(piece[2]) for piece in one.pieces) <= SESSION_OCTETS_MAX
    assert one.octets_out == 5 + 200 * (PIECE_OCTETS_MAX + 10)
    for _ in range(2):
        transcripts.begin("pop3", Actor("pop3"), "peer")
    assert transcripts.get(1) is None
    assert [each.number for each in transcripts.since(2)] == [3]
    transcripts.since(0)[0].closed()
    assert len(transcripts.open()) == 1


def test_long_answers_are_cut_in_reports() -> None:
    transcript = Transcript(1, "smtp", Actor("smtp"), "x")
    transcript.received(b"EHLO x\r\n")
    transcript.sent(b"250-a\r\n250-b\r\n250-c\r\n250-d\r\n250 e\r\n")
    assert transcript.brief() == ["C: EHLO x", "S: 250-a", "S: 250-b", "S: … 2 lines more", "S: 250 e"]
    assert len(transcript.lines()) == 6
