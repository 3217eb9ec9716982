"""Messages in NATS's client protocol, as bytes; and the parser that reads them a short way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from services.runtime.bus.parser import ShortParser
from services.runtime.bus.wire import Arrival, Buffer, publish_command, read_headers

pytestmark = pytest.mark.anyio

SUBJECTS = st.text("abcXYZ019_-.$>*é", min_size=1, max_size=20)
NAMES = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=4)
BODIES = st.binary(max_size=200)


class _Heard:
    """Stands behind a parser: what it delivers, by either way."""

    def __init__(self, at_once: set[int]) -> None:
        self.at_once = at_once
        self.said: list[Any] = []

    def deliver(self, arrival: Arrival, buffer: Buffer) -> bool:
        if arrival.sid in self.at_once:
            head = bytes(buffer[arrival.headers_at : arrival.body_at])
            self._note(
                arrival.sid, arrival.subject, arrival.reply, head, bytes(buffer[arrival.body_at : arrival.ends_at])
            )
        return arrival.sid in self.at_once

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._note(sid, subject.decode(), reply.decode(), headers or b"", data)

    async def _process_ping(self) -> None:
        self.said.append("PING")

    async def _process_pong(self) -> None:
        self.said.append("PONG")

    def _note(self, sid: int, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        self.said.append((sid, subject, reply, headers, body))


async def sent_by_the_stock_client(subject: str, body: bytes, reply: str, headers: dict[str, str] | None) -> bytes:
    client = Client()
    await client._send_publish(subject, reply, body, len(body), headers)
    return b"".join(client._pending)


@given(SUBJECTS, BODIES, st.one_of(st.just(""), SUBJECTS), HEADERS)
async def test_what_is_published_is_what_the_stock_client_would_send(
    subject: str, body: bytes, reply: str, headers: dict[str, str]
) -> None:
    ours = publish_command(subject, body, reply, headers)
    if ours is None:
        assert any("\r" in value or "\n" in value for value in headers.values())
        return
    trimmed = {name: value.strip() for name, value in headers.items()}
    if trimmed == headers:
        assert ours.data == await sent_by_the_stock_client(subject, body, reply, headers or None)
    assert ours.size == int(ours.data.partition(b"\r\n")[0].split()[-1])


@pytest.mark.parametrize(
    ("subject", "reply", "headers"),
    [
        ("", "", {}),
        ("a b", "", {}),
        ("a\r\nPUB b 0\r\n", "", {}),
        ("a", "b\tc", {}),
        ("a", "", {"name": "one\r\nOther: two"}),
        ("a", "", {"name": "one\ntwo"}),
        ("a", "", {"name\r\nOther": "two"}),
        ("a", "", {"na me": "one"}),
        ("a", "", {"na:me": "one"}),
        ("a", "", {"": "one"}),
    ],
)
def test_what_would_say_something_else_on_the_wire_is_not_made(
    subject: str, reply: str, headers: dict[str, str]
) -> None:
    assert publish_command(subject, b"", reply, headers) is None


@given(HEADERS)
async def test_headers_are_read_as_the_stock_client_reads_them(headers: dict[str, str]) -> None:
    command = publish_command("a", b"", "", headers)
    if command is None or not headers:
        return
    block = command.data.partition(b"\r\n")[2].removesuffix(b"\r\n")
    assert read_headers(block) == await Client()._process_headers(block)


@pytest.mark.parametrize(
    "block",
    [
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 404 No Messages\r\n\r\n",
        b"NATS/1.0\r\nname:one\r\nother:\t two \r\nno header\r\n\r\n",
        b"NATS/1.0\r\nname: one\r\nname: two\r\n\r\n",
        b"NATS/1.0\r\nname: \xff\xe9\r\n\r\n",
    ],
)
async def test_a_status_and_odd_lines_are_read_as_the_stock_client_reads_them(block: bytes) -> None:
    assert read_headers(block) == await Client()._process_headers(block)


_MESSAGES = st.tuples(st.integers(1, 3), SUBJECTS, st.one_of(st.just(""), SUBJECTS), HEADERS, BODIES)


@given(st.lists(st.one_of(_MESSAGES, st.sampled_from(["PING", "PONG", "+OK"])), max_size=8), st.booleans(), st.data())
async def test_however_the_bytes_are_cut_the_same_is_delivered_as_by_the_stock_parser(
    said: list[Any], is_eager: bool, data: st.DataObject
) -> None:
    stream = b"".join(_as_sent(one) for one in said)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5).map(sorted))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    stock, ours = _Heard(set()), _Heard({1, 2})
    stock_parser, our_parser = Parser(stock), ShortParser(ours, ours.deliver)
    for piece in pieces:
        await stock_parser.parse(piece)
        await our_parser.parse(piece[our_parser.take(piece) :] if is_eager else piece)
        assert ours.said == stock.said
    assert not our_parser.buf


@pytest.mark.parametrize("line", [b"MSG a x 1\r\n", b"HMSG a 1 9 2\r\n", b"MSG\r\n"])
async def test_what_is_malformed_is_told_by_the_stock_parser(line: bytes) -> None:
    results = []
    for parser in (Parser(_Heard(set())), ShortParser(_Heard(set()), _Heard({1}).deliver)):
        try:
            await parser.parse(line)
            results.append("")
        except Exception as error:  # noqa: BLE001 - whichever the stock parser raises
            results.append(type(error).__name__)
    assert results[0] == results[1]


def _as_sent(one: str | tuple[int, str, str, dict[str, str], bytes]) -> bytes:
    if isinstance(one, str):
        return f"{one}\r\n".encode()
    sid, subject, reply, headers, body = one
    to = f" {reply}" if reply else ""
    lines = [f"{name}: {' '.join(value.split())}" for name, value in headers.items()]
    block = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode() if headers else b""
    if block:
        return f"HMSG {subject} {sid}{to} {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n"
    return f"MSG {subject} {sid}{to} {len(body)}\r\n".encode() + body + b"\r\n"
