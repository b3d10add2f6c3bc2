"""Run the sandbox's Voice API in another process, so that its CPU time is not counted."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
from werkzeug import Response
from werkzeug.serving import make_ssl_devcert

from sandbox import Account, Asked
from sandbox.voice_api import Connection, VoiceApi, to_json


class Obliging(Connection):
    """Starts audio in any leg, if the token is right."""

    def respond(self, asked: Asked) -> Response:
        """Answer as for a leg that is on the line. [Voice API]"""
        uuid = asked.path.split("/")[3]
        return to_json(200, {"message": "Stream started", "uuid": uuid})


@contextmanager
def serve_voice_api(folder: str) -> Iterator[dict[str, str]]:
    """Serve it while the block lasts, and yield the settings that an app needs for it."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=serve, args=[folder, theirs])
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("the end")
        process.join()


def serve(folder: str, pipe: Any) -> None:
    """Serve until something comes through the pipe."""
    account = Account()
    certificate = make_ssl_devcert(f"{folder}/voice-api", host="localhost")
    server = VoiceApi(account, {}, certificate, Obliging)
    pipe.send(
        {
            "REQUESTS_CA_BUNDLE": write_bundle(folder, certificate[0]),
            "VONAGE_APPLICATION_ID": account.application_id,
            "VONAGE_PRIVATE_KEY": account.private_key,
            "VONAGE_API_HOST": f"localhost:{server.server_port}",
        }
    )
    pipe.recv()
    server.stop()


def write_bundle(folder: str, certificate: str) -> str:
    """Write a file with the certificates of a real machine and this one, and return its path.

    Reading them is most of what a new connection costs.
    """
    bundle = Path(folder, "bundle.pem")
    real = Path(certifi.where()).read_text(encoding="utf-8")
    own = Path(certificate).read_text(encoding="utf-8")
    bundle.write_text(f"{real}\n{own}", encoding="utf-8")
    return str(bundle)
