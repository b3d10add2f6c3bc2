"""The command line: the story of each call, beside what the app logs, until Ctrl-C."""

import argparse
import re
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

import sandbox
from sandbox.phone import create_phone


def main() -> int:
    """Print what happens: exit status 0 at Ctrl-C or SIGTERM, 1 where the app has ended."""
    parser = argparse.ArgumentParser("python -m sandbox", description=sandbox.__doc__)
    parser.add_argument("--callers", type=int, default=1, help="how many dial (1); 0 only serves")
    parser.add_argument("--quorum", default="", help="how many callers start the conference")
    parser.add_argument("--stream", action="store_true", help="answer with music, not a conference")
    parser.add_argument("--port", type=int, default=9000, help="where the app listens (9000)")
    parser.add_argument("--phone-port", type=int, help="where the phone is (the port after it)")
    options = parser.parse_args()
    if options.callers < 0:
        parser.error("--callers must be 0 or more")
    phone_port = options.phone_port or options.port + 1
    for name, port in (("--port", options.port), ("--phone-port", phone_port)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            parser.error(f"port {port} is in use or not allowed: choose another with {name}")
    answer = "stream" if options.stream else "conversation"
    settings = {"ANSWER_WITH": answer, "VOICE_CONFERENCE_QUORUM": options.quorum}
    began, ending = time.monotonic(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())

    def say(name: str, line: str) -> None:
        line = re.sub(r"https://[^/]*\.ngrok\.example/", "…/", line)
        with suppress(OSError, UnicodeError):  # the terminal is closed, or knows few letters
            print(f"{time.monotonic() - began:6.1f} s  {name:9}  {line}\n", end="", flush=True)

    def dial() -> None:
        for _ in range(options.callers):
            vonage.dial()

    vonage = sandbox.Sandbox(settings, port=options.port, on_line=say)
    try:
        with vonage, vonage.log.open() as log:
            sandbox.serve(create_phone(vonage), phone_port)
            say("sandbox", f"the app is at {vonage.app_url}, and for Vonage at {vonage.public_url}")
            say("sandbox", f"the phone is at http://localhost:{phone_port}; Ctrl-C ends all")
            threading.Thread(target=dial, daemon=True).start()
            status = None
            while status is None and not ending.wait(0.1):
                status = vonage.app.poll()
                for line in log:
                    say("app", line.rstrip())
            ended = "the sandbox has ended" if status is None else f"app.py has ended: {status}"
            say("sandbox", ended)
            vonage.hang_up_all(f"hangs up: {ended}")
    except RuntimeError as error:
        sys.exit(str(error))
    return 0 if status is None else 1


if __name__ == "__main__":
    sys.exit(main())
