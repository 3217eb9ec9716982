"""Answers as people read them."""

import pytest

from services.cli.answers import readable


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}, "one\ntwo"),
        ({"content": [], "structuredContent": {"a": 1}}, '{\n  "a": 1\n}'),
        ({"content": [{"type": "text", "text": '{"a":1}'}], "structuredContent": {"a": 1}}, '{\n  "a": 1\n}'),
        ({"content": [{"type": "text", "text": "hello"}], "structuredContent": {}}, "hello\n{}"),
        ({"content": [{"type": "image", "mimeType": "image/png", "data": "QUJD"}]}, "[image image/png, 3 bytes]"),
        ({"content": [{"type": "resource_link", "uri": "a://b"}]}, "[resource_link a://b]"),
        ({"content": [{"type": "resource", "resource": {"uri": "a://b", "text": "inside"}}]}, "inside"),
        ({"contents": [{"uri": "a://b", "text": "read"}]}, "read"),
        ({"contents": [{"uri": "a://b", "blob": "QUJD"}]}, "[data a://b, 3 bytes]"),
        ({"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}]}, "user:\nhi"),
        ({"content": [{"type": "text", "text": "\x1b[31mred\x1b[0m [bold]x[/bold]"}]}, "red [bold]x[/bold]"),
        ({"content": [{"type": "\x1b[2J\n", "uri": "\x9b"}]}, "[]"),
        ({"content": [{"type": "text", "text": "x"}], "structuredContent": {"a": "\x9b"}}, 'x\n{\n  "a": "\\u009b"\n}'),
        ({"resultType": "input_required"}, '{\n  "resultType": "input_required"\n}'),
        ({"content": ["odd", 5, None]}, '"odd"\n5\nnull'),
        ({"content": "odd", "messages": [5]}, ""),
        ({}, ""),
    ],
)
def test_each_part_of_a_result_is_shown_once_and_harmless(result: dict[str, object], shown: str) -> None:
    assert readable(result) == shown
