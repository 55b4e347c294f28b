"""A proxy in front of an S3 server that injects faults. It parses HTTP/1.1, so it can pass a request on and drop the response.

    proxy = FaultProxy(("127.0.0.1", 8100)); proxy.start(); proxy.rules = [Rule("503", method="PUT", path="partNumber=", nth=(1, 2))]

The Host header is passed through, so signatures stay valid.
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
_CHUNK = 65536


@dataclass
class Rule:
    """A fault and the requests that it affects."""

    action: Action
    """A status code: the proxy responds with this S3 error itself. ``reset``: reset the connection before the request reaches the server;
    ``lost``: pass the request on and drop the response; ``cut``: send half of the response's body; ``hang``: never respond; ``delay``: pass the
    request on after ``seconds``; ``slow``: send the response's body at ``kib`` KiB/s."""
    method: str = ""
    path: str = ""
    """A regular expression, searched in the request's target."""
    nth: tuple[int, ...] = ()
    """Numbers of the affected requests among those that match, from 1; empty for all."""
    every: int = 1
    """Affects every n-th matching request."""
    times: int = 1 << 60
    """Maximum number of affected requests."""
    seconds: float = 1.0
    kib: float = 64.0
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def applies(self, method: str, target: str) -> bool:
        """Count this request and return whether the rule affects it."""
        if (self.method and method != self.method) or not re.search(self.path, target):
            return False
        self.seen += 1
        hit = (not self.nth or self.seen in self.nth) and self.seen % self.every == 0 and self.hits < self.times
        self.hits += hit
        return hit


@dataclass
class Head:
    """Start line and header fields of an HTTP message."""

    raw: bytes
    start_line: str
    fields: dict[str, str]

    @property
    def status(self) -> str:
        return self.start_line.split()[1]

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


async def forward_body(reader: asyncio.StreamReader, head: Head, writer: asyncio.StreamWriter | None) -> None:
    """Copy a message's body to the writer; without a writer, discard it."""

    async def put(data: bytes) -> None:
        if not data:
            raise ConnectionError
        if writer:
            writer.write(data)
            await writer.drain()

    async def exactly(count: int) -> None:
        while count:
            data = await reader.read(min(count, _CHUNK))
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


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultProxy:
    """Listens in a daemon thread until the process ends."""

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

    def _matching_rule(self, method: str, target: str) -> Rule | None:
        matching = [rule for rule in self.rules if rule.applies(method, target)]
        return matching[0] if matching else None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection through one connection to the server."""
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head = await read_head(reader)
                method, target, _ = head.start_line.split(" ", 2)
                rule = self._matching_rule(method, target)
                if rule and not await self._inject_before(rule, head, reader, writer):
                    return
                server = server or await asyncio.open_connection(*self.upstream, limit=_BUFFER)
                response = await _forward_request(head, reader, writer, *server)
                if not await _forward_response(rule, method, response, server[0], writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if server:
                server[1].close()
            writer.close()

    async def _inject_before(self, rule: Rule, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Inject a fault before the request reaches the server; return whether to pass the request on."""
        if rule.action == "reset":
            reset(writer)
            return False
        if rule.action in ("hang", "delay"):
            await asyncio.sleep(3600 if rule.action == "hang" else rule.seconds)
        if rule.action not in _CODES:
            return True
        if head.fields.get("expect") != "100-continue":
            await forward_body(reader, head, None)
        code = _CODES[rule.action]
        body = (
            f"<Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>" if not head.start_line.startswith("HEAD") else ""
        )
        response = f"HTTP/1.1 {rule.action} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        writer.write(response.encode())
        await writer.drain()
        return False


async def _forward_request(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: asyncio.StreamReader, to_server: asyncio.StreamWriter
) -> Head:
    """Pass a request on and return the head of the response."""
    to_server.write(head.raw)
    await to_server.drain()
    if head.fields.get("expect") == "100-continue":
        response = await read_head(from_server)
        if response.status != "100":
            return response
        writer.write(response.raw)
        await writer.drain()
    await forward_body(reader, head, to_server)
    while (response := await read_head(from_server)).status == "100":
        pass
    return response


async def _forward_response(rule: Rule | None, method: str, head: Head, server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Pass a response on; return whether the connection stays open."""
    action = rule.action if rule else ""
    if action == "lost":
        reset(writer)
        return False
    writer.write(head.raw)
    await writer.drain()
    bodiless = method == "HEAD" or head.status in ("204", "304")
    if not bodiless and action in ("cut", "slow"):
        remaining = head.length // 2 if action == "cut" else head.length
        while remaining:
            data = await server.read(min(remaining, _CHUNK if action == "cut" else 4096))
            writer.write(data)
            await writer.drain()
            remaining -= len(data)
            if action == "slow":
                await asyncio.sleep(len(data) / 1024 / rule.kib)
        if action == "cut":
            await asyncio.sleep(0.05)
            reset(writer)
            return False
    elif not bodiless:
        await forward_body(server, head, writer)
    return head.fields.get("connection", "").lower() != "close"
