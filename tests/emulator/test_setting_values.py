from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulator.config import Account, Newsfeed, Settings, SettingsError
from emulator.setting_values import FIELDS, parse_assignment, read_file, set_field, toml_lines, value_of


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("smtp_port=2525", "smtp_port", 2525),
        ("smtps_port=off", "smtps_port", None),
        ("smtp_greeting_seconds=2", "smtp_greeting_seconds", 2.0),
        ("login_required=true", "login_required", True),
        ("hostname=mail.example", "hostname", "mail.example"),
        ('hostname="mail.example"', "hostname", "mail.example"),
        ("nntp_motd=hello there", "nntp_motd", "hello there"),
        ("nntp_motd=42", "nntp_motd", "42"),
        ("groups=a.b,c.d", "groups", ("a.b", "c.d")),
        ('groups=["a.b"]', "groups", ("a.b",)),
        ("data=/srv/mail", "data", Path("/srv/mail")),
        ("data=none", "data", None),
        ("defects=x", "defects", frozenset({"x"})),
        ("accounts=alice:secret", "accounts", (Account("alice", "secret"),)),
        ('accounts=[{name="a",password="b,c"}]', "accounts", (Account("a", "b,c"),)),
        ("newsfeeds=pull:news.example:119/a.*", "newsfeeds", (Newsfeed(True, "news.example", 119, "a.*"),)),
        ('nntp_moderators=[["a.*", "m@x.example"]]', "nntp_moderators", (("a.*", "m@x.example"),)),
        ('nntp_distribution_patterns=[[1, "a", "b"]]', "nntp_distribution_patterns", ((1, "a", "b"),)),
        ("message_bytes_max=1000", "message_bytes_max", 1000),
        ("seed=7", "seed", 7),
    ],
)
def test_a_field_by_its_name(text: str, name: str, value: Any) -> None:
    assert value_of(set_field(Settings(), *parse_assignment(text)), name) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smtp_prot=1", "did you mean smtp_port"),
        ("zzzz=1", "no setting 'zzzz'"),
        ("smtp_port", "write FIELD=VALUE"),
        ("smtp_port=many", "no whole number or none"),
        ("smtp_port=70000", "out of range"),
        ("idle_seconds_max=-1", "out of range"),
        ("login_required=1", "no true or false"),
        ("message_bytes_max=true", "no whole number"),
        ("nntp_moderators=[[1]]", "2 parts are wanted"),
        ("newsfeeds=somewhere", "--newsfeed"),
        ('accounts=[{colour="a"}]', "setting accounts"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        set_field(Settings(), *parse_assignment(text))
    assert "\n" not in str(error.value)


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "mailjam.toml"
    path.write_text('smtp_port = 1\nhostname = "x"\n[limits]\nmessage_bytes_max = 5\n')
    assert read_file(path) == {"smtp_port": 1, "hostname": "x", "message_bytes_max": 5}
    for text in (b"smtp_port = ", b"\xff"):
        path.write_bytes(text)
        with pytest.raises(SettingsError, match="--config"):
            read_file(path)
    with pytest.raises(SettingsError, match="No such file"):
        read_file(tmp_path / "gone")


def test_all_settings_survive_a_file(tmp_path: Path) -> None:
    settings = Settings(
        accounts=(Account('a"\x7f\t', "ü"),),
        newsfeeds=(Newsfeed(True, "h", tls=True),),
        data=Path("/srv/x"),
        defects=frozenset({"b", "a"}),
    )
    path = tmp_path / "all.toml"
    path.write_text("\n".join(toml_lines(settings)), encoding="utf-8")
    found = Settings()
    for name, value in read_file(path).items():
        found = set_field(found, name, value)
    assert found == settings


def test_names_lead_to_fields() -> None:
    assert {"smtp_port", "hostname", "message_bytes_max", "one_in"} <= set(FIELDS)
    assert "front_end" not in FIELDS
