"""End a process once standard input has ended, as it does when whoever holds the other end is gone.

`python watch.py PID` lets an app end with its sandbox, also with one that was killed.
"""

import os
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    sys.stdin.buffer.read()
    with suppress(OSError):  # it has ended already
        os.kill(int(sys.argv[1]), signal.SIGTERM)
