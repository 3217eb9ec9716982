"""Whatever a text says, a template lets it be text."""

from datetime import UTC, datetime

import pytest
from jinja2 import UndefinedError

from services.admin.console.static_files import read_static_files
from services.admin.console.templates import Templates, clock

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[31m'\"&{{7*7}}"


@pytest.fixture
def templates() -> Templates:
    return Templates(read_static_files())


def test_a_text_is_escaped_and_loses_what_turns_or_hides_it(templates: Templates) -> None:
    page = templates.render("log_in.html", problem=HOSTILE)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&#39;&#34;&amp;{{7*7}}" in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_what_a_template_is_not_given_is_an_error(templates: Templates) -> None:
    with pytest.raises(UndefinedError):
        templates.render("log_in.html")


def test_a_moment_is_told_in_utc_with_its_date_where_that_is_another_days() -> None:
    assert clock(None) == "–"
    assert clock(0.0) == '<time datetime="1970-01-01T00:00:00+00:00">1970-01-01 00:00</time>'
    assert len(clock(datetime.now(UTC)).partition(">")[2].partition("<")[0]) == len("12:34:56")


def test_static_files_are_named_by_what_they_hold() -> None:
    files = read_static_files()
    assert files.keys() == {"console.css", "console.js", "icon.svg", "idiomorph.min.js"}
    assert len({file.url for file in files.values()}) == len(files)
    assert all(file.content for file in files.values())
