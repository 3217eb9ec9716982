"""Text of servers on a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.tables import print_table
from services.runtime.text import harmless_json, json_text, one_line, plain, summary


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\after", "after"),
        ("\x1b]52;c;unfinished", "52;c;unfinished"),
        ("\x1bcreset", "reset"),
        ("back\x08\x08space\x7f", "backspace"),
        ("over\rwritten", "over\nwritten"),
        ("windows\r\nline", "windows\nline"),
        ("turned\u202edrow", "turneddrow"),
        ("\ud800", "\ufffd"),
        ("[red]markup[/red] :bomb:", "[red]markup[/red] :bomb:"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("Grüße 👩‍💻", "Grüße 👩‍💻"),
    ],
)
def test_text_loses_what_a_terminal_would_obey_and_keeps_the_rest(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown


@given(st.text(st.characters()))
def test_no_text_keeps_a_control_character(text: str) -> None:
    assert not {character for character in plain(text) if ord(character) < 32 or 127 <= ord(character) < 160} - {
        "\n",
        "\t",
    }
    assert len(one_line(text).splitlines()) <= 1


def test_a_flood_of_unfinished_escape_sequences_is_read_in_linear_time() -> None:
    assert plain("\x1b]" * 2_000_000) == ""  # quadratic would take hours


@given(st.recursive(st.text(st.characters()), lambda each: st.lists(each) | st.dictionaries(st.text(), each)))
def test_harmless_json_has_the_same_value(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert not any(127 <= ord(character) < 160 or 0xD800 <= ord(character) < 0xE000 for character in text)


def test_json_keeps_its_numbers_as_they_were_written() -> None:
    assert harmless_json('{"a":1.10,"b":1e400,"c":"\x9b\u202e"}') == '{"a":1.10,"b":1e400,"c":"\\u009b\\u202e"}'


def test_a_summary_is_the_first_line_that_says_something() -> None:
    assert summary("\n\n  First  line.\nSecond.") == "First line."
    assert summary("x" * 500, longest=10) == "xxxxxxxxx…"
    assert summary("") == ""


def test_a_table_in_a_pipe_is_not_cut_and_means_nothing_to_rich(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "TEXT"), [("[red]a[/red]", "x" * 300), ("b\nc", "\x1b[31my")])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "TEXT"]
    assert first.split() == ["[red]a[/red]", "x" * 300]
    assert second.split() == ["b", "c", "y"]
