"""A real HTTP server that takes webhooks: it keeps what it is sent, and answers as it is told."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """``answers`` are the next statuses, 200 when there are no more; while ``holds``, nobody is answered.

    While ``holds_body``, a status is sent, and of the body that it announces nothing.
    """

    url: str = ""
    answers: list[int] = field(default_factory=list)
    holds: bool = False
    holds_body: bool = False
    location: str = ""
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve one until the block ends; over TLS where ``tls`` has a certificate."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.taken.append((self.path, headers, body))
            while receiver.holds:
                time.sleep(0.01)
            status = receiver.answers.pop(0) if receiver.answers else 200
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            answer = b"said \x1b[31mso\nand more"
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            while receiver.holds_body:
                time.sleep(0.01)
            # Who asked may have left.
            with suppress(ConnectionError):
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        # Shaken in the connection's own thread: a caller that breaks off stops no other.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.holds = receiver.holds_body = False
        server.shutdown()
        server.server_close()
        thread.join()
