"""Ports of this machine: one that is free, and an app served on one."""

import socket
import threading
from typing import Any

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class Silent(WSGIRequestHandler):
    """Says nothing of a request, nor of a client that hangs up."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


def serve(app: Flask, port: int) -> BaseWSGIServer:
    """Serve an app on this machine until server.shutdown()."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    return server


def free_port() -> int:
    """A port of this machine that no one listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
