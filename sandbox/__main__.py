"""The command line: runs the app, dials, and prints what happens, until Ctrl-C."""

import argparse
import signal
import socket
import sys
import threading
import time

from sandbox import Sandbox
from sandbox.phone import serve_phone
from sandbox.story import Story

ABOUT = """Hear what the server does, without a Vonage account. This runs the server (app.py) and
stands in for Vonage on this machine: it dials once, and prints what the caller hears and what
the server is asked. Then press Play on the server's page, or dial yourself, on the phone in
your browser; both addresses are printed. Ctrl-C ends it all."""
NEXT = "press Play on the page, or dial on the phone; Ctrl-C ends it"


def main() -> int:
    """Print what happens; returns 0 after Ctrl-C or SIGTERM, 1 if the app has ended."""
    options = read_options()
    settings = {"ANSWER_WITH": options.mode, "VOICE_CONFERENCE_QUORUM": options.quorum}
    signals: list[int] = []  # a lock could be held already where a signal arrives

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):  # Windows lacks one, all others another
            signal.signal(getattr(signal, name), lambda number, _: signals.append(number))
    vonage = Sandbox(settings, port=options.port)
    vonage.log.touch()
    story = Story(vonage.log, vonage.calls, sys.stdout)
    vonage.on_line = story.say
    try:
        with vonage:
            serve_phone(vonage, options.phone_port)
            story.say("sandbox", f"the page:   {vonage.app_url}")
            story.say("sandbox", f"the phone:  http://localhost:{options.phone_port}")
            story.say("sandbox", f"Vonage sees {vonage.public_url} (made up)")
            status = run(vonage, story, options.callers, signals)
            story.close()
    except RuntimeError as error:
        sys.exit(str(error))
    return status


def run(vonage: Sandbox, story: Story, callers: int, signals: list[int]) -> int:
    """Let callers dial, until a signal comes or the app ends; returns the exit status."""

    def is_over() -> bool:
        return bool(signals) or vonage.app.poll() is not None

    def dial() -> None:
        for _ in range(callers):
            if is_over():
                return
            call = vonage.create_call()
            call.dial()
            call.heard.wait()
        story.say("sandbox", NEXT)

    dialling = threading.Thread(target=dial, daemon=True)
    dialling.start()
    while not is_over():
        story.read_log()
        time.sleep(0.1)  # between two looks at the app and its log
    if vonage.app.returncode is None:
        status = 0
        story.say("sandbox", "the end: all hang up")
    else:
        status = 1
        story.say("sandbox", f"app.py has ended by itself, with status {vonage.app.returncode}")
    vonage.hang_up_all()
    dialling.join(2)  # it may just dial
    vonage.hang_up_all()
    return status


def read_options() -> argparse.Namespace:
    """Return the options; exits with status 2 if one is wrong."""
    parser = argparse.ArgumentParser("python -m sandbox", description=ABOUT)
    add = parser.add_argument
    add("--callers", type=int, default=1, metavar="N", help="how many dial, in turn (default: 1)")
    add("--quorum", default="", metavar="N", help="callers wait, with music, for N (2 to 50)")
    music = "callers hear music, and the call ends with it"
    add("--stream", dest="mode", action="store_const", const="stream", default="", help=music)
    add("--port", type=int, default=9000, metavar="N", help="the port of the page (default: 9000)")
    add("--phone-port", type=int, metavar="N", help="the phone's port (default: the next one)")
    options = parser.parse_args()
    if options.phone_port is None:
        options.phone_port = options.port + 1
    for name, port in (("--port", options.port), ("--phone-port", options.phone_port)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            why = f"port {port} is in use, perhaps by an earlier run's app.py, or not allowed"
            parser.error(f"{why}: choose another with {name}")
    return options


if __name__ == "__main__":
    sys.exit(main())
