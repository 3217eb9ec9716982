"""Which heads are plain, and that they say the same to a parser of the whole of HTTP."""

from collections.abc import Callable
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.plain_heads import PlainHead, read_head, read_response_head

POST = b"POST /v1/query HTTP/1.1\r\n"
HOST = b"host: x\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"content-length: 2\r\n"


def test_a_plain_head_is_read() -> None:
    block = POST + b"Host:  a.example \r\nContent-Length: 12\r\nX-Empty:\r\nConnection: Keep-Alive\r\n\r\n"
    assert read_head(block) == PlainHead(
        "POST",
        "/v1/query",
        b"",
        [
            (b"host", b"a.example"),
            (b"content-length", b"12"),
            (b"x-empty", b""),
            (b"connection", b"Keep-Alive"),
        ],
        12,
    )


def test_a_query_string_is_read_apart() -> None:
    head = read_head(b"GET /v1/tools?limit=2&q=a%20b?/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head is not None
    assert (head.method, head.path, head.query, head.body_bytes) == ("GET", "/v1/tools", b"limit=2&q=a%20b?/", 0)


@pytest.mark.parametrize(
    "block",
    [
        b"PUT /v1/query HTTP/1.1\r\n" + HOST + b"\r\n",
        b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /v1/query HTTP/1.0\r\n" + HOST + b"\r\n",
        b"POST /v1/query  HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST http://x/v1/query HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /a%2fb HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        POST + b"\r\n",
        POST + b"host : x\r\n\r\n",
        POST + b"host: x\r\n folded\r\n\r\n",
        POST + b"host: x\n\r\n",
        POST + b"host: x\x00y\r\n\r\n",
        POST + b"host: x\ry\r\n\r\n",
        POST + b"ho st: x\r\n\r\n",
        POST + b": x\r\n\r\n",
        POST + HOST + b"transfer-encoding: chunked\r\n\r\n",
        POST + HOST + b"Transfer-Encoding: identity\r\ncontent-length: 2\r\n\r\n",
        POST + HOST + b"expect: 100-continue\r\n\r\n",
        POST + HOST + b"upgrade: websocket\r\n\r\n",
        POST + HOST + b"connection: close\r\n\r\n",
        POST + HOST + b"connection: keep-alive, x\r\n\r\n",
        POST + HOST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n",
        POST + HOST + b"content-length: +2\r\n\r\n",
        POST + HOST + b"content-length: 2, 2\r\n\r\n",
        POST + HOST + b"content-length:\r\n\r\n",
        POST + HOST + b"content-length: 0x2\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"content-length: 2\r\n\r\n",
        b"\r\n" + POST + HOST + b"\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_others(block: bytes) -> None:
    assert read_head(block) is None


def test_a_plain_response_is_read() -> None:
    head = read_response_head(b"HTTP/1.1 404 Not  Found\r\nContent-Length: 12\r\nx-y: a\r\nX-Y:b\r\n\r\n")
    assert head is not None
    assert (head.status, head.body_bytes) == (404, 12)
    assert head.headers == {"content-length": "12", "x-y": "a, b"}


@pytest.mark.parametrize(
    "block",
    [
        OK + b"x: y\r\n\r\n",
        OK + TWO + TWO + b"\r\n",
        OK + TWO + b"transfer-encoding: chunked\r\n\r\n",
        OK + TWO + b"connection: close\r\n\r\n",
        OK + TWO + b"upgrade: websocket\r\n\r\n",
        OK + TWO + b" folded\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n" + TWO + b"\r\n",
        b"HTTP/1.1 204 No Content\r\n" + TWO + b"\r\n",
        b"HTTP/1.1 304 Not Modified\r\n" + TWO + b"\r\n",
        b"HTTP/1.1 2000 OK\r\n" + TWO + b"\r\n",
        b"HTTP/1.1 200\r\n" + TWO + b"\r\n",
        b"\r\n" + OK + TWO + b"\r\n",
    ],
)
def test_what_is_no_plain_response_is_left_to_others(block: bytes) -> None:
    assert read_response_head(block) is None


class _Heard:
    """What llhttp, the parser of Node and uvicorn, makes of a message."""

    def __init__(self, data: bytes, parser_of: Callable[[Any], Any]) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.is_whole = self.stays = False
        self.parser = parser_of(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))  # it leaves what RFC 9112 takes off

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True
        self.stays = self.parser.should_keep_alive()  # after that it has forgotten


_NAMES = st.sampled_from(
    [
        *(b"Host", b"content-length", b"Connection", b"Proxy-Connection", b"x-y", b"Transfer-Encoding"),
        *(b"a b", b"", b"x:y"),
    ]
)
_VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"3", b" 3 ", b"03", b"keep-alive", b"chunked", b"a\tb", b"\xe9", b"x\r\n y"]),
    st.binary(max_size=6),
)
_GOOD_LINES = st.tuples(
    st.sampled_from([b"Host", b"x-y", b"Connection"]),
    st.sampled_from([b":", b": ", b":\t "]),
    st.sampled_from([b"keep-alive", b"a\tb", b"", b"\xe9"]),
    st.sampled_from([b"\r\n", b" \r\n"]),
)
_LINES = st.one_of(
    _GOOD_LINES,
    st.tuples(
        _NAMES, st.sampled_from([b":", b": ", b" :", b":\t "]), _VALUES, st.sampled_from([b"\r\n", b"\n", b" \r\n"])
    ),
)
"""Half of them good, so that a head often is."""
_STARTS = st.sampled_from(
    [
        *(POST, POST, b"GET /a?b=c HTTP/1.1\r\n"),
        *(b"POST /\x7f HTTP/1.1\r\n", b"POST /a?b%z HTTP/1.1\r\n", b"POST / HTTP/1.1\n"),
    ]
)


@given(start=_STARTS, lines=st.lists(_LINES, max_size=4))
def test_what_is_plain_is_the_same_for_llhttp(start: bytes, lines: list[tuple[bytes, ...]]) -> None:
    block = start + b"".join(b"".join(line) for line in lines) + b"\r\n"
    head = read_head(block)
    if head is None:
        return
    body = b"{}}"[: head.body_bytes] + b"x" * max(0, head.body_bytes - 3)
    heard = _Heard(block + body, httptools.HttpRequestParser)
    assert heard.is_whole
    assert heard.stays
    assert heard.parser.get_method().decode() == head.method
    assert heard.url == head.path.encode() + (b"?" + head.query if head.query else b"")
    assert (heard.headers, heard.body) == (head.headers, body)


def _lenient(heard: _Heard) -> httptools.HttpResponseParser:
    """As it reads what servers say; see `HttpConnection`."""
    parser = httptools.HttpResponseParser(heard)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser


@given(
    start=st.sampled_from(
        [OK, OK, OK, b"HTTP/1.1 599 \r\n", b"HTTP/1.1 200 \x7f\r\n", b"HTTP/1.1  200 OK\r\n", b"HTTP/1.1 200 OK\n"]
    ),
    length=st.sampled_from([b"Content-Length: 3\r\n", b"content-length:0\r\n", b""]),
    lines=st.lists(_LINES, max_size=3),
)
def test_a_plain_response_is_the_same_for_llhttp(start: bytes, length: bytes, lines: list[tuple[bytes, ...]]) -> None:
    block = start + length + b"".join(b"".join(line) for line in lines) + b"\r\n"
    head = read_response_head(block)
    if head is None:
        return
    body = b"x" * head.body_bytes
    heard = _Heard(block + body, _lenient)
    assert heard.is_whole
    assert heard.stays
    assert heard.parser.get_status_code() == head.status
    joined: dict[str, str] = {}
    for name, value in heard.headers:
        key, text = name.decode(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    assert (joined, heard.body) == (head.headers, body)
