"""A proxy before an S3 server that goes wrong on purpose: it knows HTTP/1.1, so it can lose an answer and keep the request.

    proxy = FaultProxy(("127.0.0.1", 8100)); proxy.start(); proxy.rules = [Rule("503", method="PUT", path="partNumber=", nth=(1, 2))]

The Host header is passed through, so signatures hold.
"""

import asyncio
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["503", "500", "429", "reset", "lost", "cut", "hang", "delay", "slow"]
_CODES = {"503": "SlowDown", "500": "InternalError", "429": "TooManyRequests"}
_BUFFER = 1 << 20
_PIECE = 65536


@dataclass
class Rule:
    """What happens to which requests."""

    do: Action
    """An S3 error that the server never hears of; ``reset`` before it; ``lost``: done, and the answer is lost; ``cut``: half of the answer's
    body; ``hang``: no answer ever; ``delay``: ``seconds`` later; ``slow``: the answer's body at ``kib`` KiB a second."""
    method: str = ""
    path: str = ""
    """A regular expression found in the request's target."""
    nth: tuple[int, ...] = ()
    """Which of the requests that match, counted from 1; empty for all."""
    every: int = 1
    """Only each so-manieth of those that match."""
    times: int = 1 << 60
    """At the most so often."""
    seconds: float = 1.0
    kib: float = 64.0
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def takes(self, method: str, target: str) -> bool:
        """Whether this request is one of them; counts it."""
        if (self.method and method != self.method) or not re.search(self.path, target):
            return False
        self.seen += 1
        hit = (not self.nth or self.seen in self.nth) and self.seen % self.every == 0 and self.hits < self.times
        self.hits += hit
        return hit


@dataclass
class Head:
    """Start of an HTTP message."""

    raw: bytes
    first: str
    fields: dict[str, str]

    @property
    def status(self) -> str:
        return self.first.split()[1]

    @property
    def length(self) -> int:
        return int(self.fields.get("content-length", 0))

    @property
    def chunked(self) -> bool:
        return "chunked" in self.fields.get("transfer-encoding", "")


async def read_head(reader: asyncio.StreamReader) -> Head:
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode("latin1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
    return Head(raw, lines[0], {name.lower(): value.strip() for name, value in pairs})


async def pass_on(reader: asyncio.StreamReader, head: Head, writer: asyncio.StreamWriter | None) -> None:
    """Copy one message's body, or drop it where there is no writer."""

    async def put(data: bytes) -> None:
        if not data:
            raise ConnectionError
        if writer:
            writer.write(data)
            await writer.drain()

    async def exactly(count: int) -> None:
        while count:
            data = await reader.read(min(count, _PIECE))
            await put(data)
            count -= len(data)

    while head.chunked:
        line = await reader.readline()
        await put(line)
        size = int(line.split(b";")[0], 16)
        if size:
            await exactly(size + 2)
            continue
        while line not in (b"\r\n", b""):
            line = await reader.readline()
            await put(line)
        return
    await exactly(head.length)


def break_off(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultProxy:
    """Listens in a thread of its own until the process ends."""

    def __init__(self, upstream: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.upstream, self.host, self.port = upstream, host, 0
        self.rules: list[Rule] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> "FaultProxy":
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True).start()
        assert started.wait(10)
        return self

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._client, self.host, self.port, limit=_BUFFER)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await server.serve_forever()

    def _rule(self, method: str, target: str) -> Rule | None:
        taken = [rule for rule in self.rules if rule.takes(method, target)]
        return taken[0] if taken else None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: request after request, each through the same connection to the server."""
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head = await read_head(reader)
                method, target, _ = head.first.split(" ", 2)
                rule = self._rule(method, target)
                if rule and not await self._before(rule, head, reader, writer):
                    return
                server = server or await asyncio.open_connection(*self.upstream, limit=_BUFFER)
                answer = await _ask(head, reader, writer, *server)
                if not await _answer(rule, method, answer, server[0], writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if server:
                server[1].close()
            writer.close()

    async def _before(self, rule: Rule, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """What goes wrong before the server hears of it; whether it will."""
        if rule.do == "reset":
            break_off(writer)
            return False
        if rule.do in ("hang", "delay"):
            await asyncio.sleep(3600 if rule.do == "hang" else rule.seconds)
        if rule.do not in _CODES:
            return True
        if head.fields.get("expect") != "100-continue":
            await pass_on(reader, head, None)
        code = _CODES[rule.do]
        body = f"<Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>" if not head.first.startswith("HEAD") else ""
        said = f"HTTP/1.1 {rule.do} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        writer.write(said.encode())
        await writer.drain()
        return False


async def _ask(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: asyncio.StreamReader, to_server: asyncio.StreamWriter
) -> Head:
    """Hand a request on; returns the head of its answer."""
    to_server.write(head.raw)
    await to_server.drain()
    if head.fields.get("expect") == "100-continue":
        answer = await read_head(from_server)
        if answer.status != "100":
            return answer
        writer.write(answer.raw)
        await writer.drain()
    await pass_on(reader, head, to_server)
    while (answer := await read_head(from_server)).status == "100":
        pass
    return answer


async def _answer(rule: Rule | None, method: str, head: Head, server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Hand an answer on; whether the connection goes on."""
    do = rule.do if rule else ""
    if do == "lost":
        break_off(writer)
        return False
    writer.write(head.raw)
    await writer.drain()
    bodiless = method == "HEAD" or head.status in ("204", "304")
    if not bodiless and do in ("cut", "slow"):
        left = head.length // 2 if do == "cut" else head.length
        while left:
            data = await server.read(min(left, _PIECE if do == "cut" else 4096))
            writer.write(data)
            await writer.drain()
            left -= len(data)
            if do == "slow":
                await asyncio.sleep(len(data) / 1024 / rule.kib)
        if do == "cut":
            await asyncio.sleep(0.05)
            break_off(writer)
            return False
    elif not bodiless:
        await pass_on(server, head, writer)
    return head.fields.get("connection", "").lower() != "close"
