"""A small HTTP server, run as a program: PORT says where, and files in its folder what it does.

``late``: it does not listen before the file is gone; ``broken``: it ends at once; ``sick``: it answers 500;
``stillborn``: the same, for ever, if the file is there when it starts; ``silent``: it answers nothing;
``shared``: others may listen on its port as well.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(sys.argv[1])
STILLBORN = (HERE / "stillborn").exists()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        while (HERE / "silent").exists():
            time.sleep(0.01)
        body = str(os.getpid()).encode()
        self.send_response(500 if STILLBORN or (HERE / "sick").exists() else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
        """Nothing: each request would be a line."""


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def server_bind(self) -> None:
        if (HERE / "shared").exists():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def main() -> None:
    if (HERE / "broken").exists():
        raise SystemExit("nothing works")
    while (HERE / "late").exists():
        time.sleep(0.01)
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(0.01)
    server.server_close()  # waits for the requests that are being answered


if __name__ == "__main__":
    main()
