"""The command line: the story of each call, beside what the app logs, until Ctrl-C."""

import argparse
import re
import signal
import sys
import threading
import time
from contextlib import suppress

import sandbox


def main() -> int:
    """Print what happens: exit status 0 at Ctrl-C or SIGTERM, 1 where the app has ended."""
    parser = argparse.ArgumentParser("python -m sandbox", description=sandbox.__doc__)
    parser.add_argument("--callers", type=int, default=1, help="how many dial (1); 0 only serves")
    parser.add_argument("--quorum", type=int, help="how many callers start the conference")
    parser.add_argument("--stream", action="store_true", help="answer with music, not a conference")
    parser.add_argument("--port", type=int, default=9000, help="where the app listens (9000)")
    options = parser.parse_args()
    if options.callers < 0:
        parser.error("--callers must be 0 or more")
    if sandbox.is_taken(options.port):
        parser.error(f"port {options.port} is in use: choose another with --port")
    settings = {"ANSWER_WITH": "stream" if options.stream else "conversation"}
    settings["VOICE_CONFERENCE_QUORUM"] = str(options.quorum or "")
    began, ending = time.monotonic(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())

    def say(name: str, line: str) -> None:
        line = re.sub(r"https://[^/]*\.ngrok\.example/", "…/", line)
        with suppress(OSError):  # the terminal is closed
            print(f"{time.monotonic() - began:6.1f} s  {name:9}  {line}\n", end="", flush=True)

    def dial() -> None:
        for _ in range(options.callers):
            vonage.dial()

    vonage = sandbox.Sandbox(settings, port=options.port, on_line=lambda c, line: say(c.name, line))
    try:
        with vonage, vonage.log.open() as log:
            say("sandbox", f"the app is at {vonage.app_url}, and for Vonage at {vonage.public_url}")
            say("sandbox", f"open {vonage.app_url}/stream to play audio; Ctrl-C hangs up")
            threading.Thread(target=dial, daemon=True).start()
            status = None
            while status is None and not ending.wait(0.1):
                status = vonage.app.poll() if vonage.app else None
                for line in log:
                    say("app", line.rstrip())
            vonage.hang_up_all()
    except RuntimeError as error:
        say("sandbox", str(error))
        return 1
    if status is not None:
        say("sandbox", f"the app has ended with status {status}")
    return 0 if status is None else 1


if __name__ == "__main__":
    sys.exit(main())
