"""A folder served over HTTP on this machine, in place of the internet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address of a server that offers the folder's files."""
    with serving(partial(Quiet, directory=str(folder))) as address:
        yield address


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """Yield the address of a server whose requests a handler answers."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{host.server_port}"
    finally:
        host.shutdown()
        host.server_close()


@contextmanager
def cut_off() -> Iterator[str]:
    """Yield the address of a server that stops every answer in the middle of a chunk."""

    class CutsOff(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"1000\r\nhalf a chunk")
            self.close_connection = True

    with serving(CutsOff) as address:
        yield address
