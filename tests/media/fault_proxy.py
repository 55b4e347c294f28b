"""A proxy in front of an S3 server on loopback that injects faults into responses."""

import socket
import struct
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

BUSY = b"<Error><Code>SlowDown</Code><Message>injected</Message></Error>"


class FaultProxy(ThreadingHTTPServer):
    """Forwards requests; ``fault(n)`` selects the fault of the n-th GET, from 1: None, "reset", "503" or "cut" (half a response)."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.gets, self.served = upstream, 0, 0
        self.fault: Callable[[int], str | None] = lambda number: None
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.respond(None)

    def do_GET(self) -> None:
        self.server.gets += 1
        self.respond(self.server.fault(self.server.gets))

    def respond(self, fault: str | None) -> None:
        if fault == "reset":
            self.reset()
            return
        if fault == "503":
            self.send(503, {"Content-Length": str(len(BUSY))}, BUSY)
            return
        connection = HTTPConnection(*self.server.upstream)
        connection.request(self.command, self.path, headers=dict(self.headers))
        response = connection.getresponse()
        body, kept = response.read(), {name: value for name, value in response.getheaders() if name not in ("Transfer-Encoding", "Connection")}
        self.send(response.status, kept, body[: len(body) // 2] if fault == "cut" else body)
        if fault == "cut":
            self.reset()

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.server.served += len(body)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Log nothing."""
