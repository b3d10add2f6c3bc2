"""Load the fixtures of five files, and empty the environment before the app is imported.

Variables such as proxies, settings and time zones, which differ by machine, reach no test.
"""

from __future__ import annotations

import os
import re
import time

KEPT = re.compile(
    r"PATH|HOME|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH"  # for programs to run at all
    r"|CI|EXAMPLES|SCREENSHOT|PYTEST_.*|COV_.*|COVERAGE_.*"  # for the tests
)
for variable in list(os.environ):
    if not KEPT.fullmatch(variable):
        del os.environ[variable]
os.environ["LANG"] = "C.UTF-8"
os.environ["NETRC"] = os.devnull  # requests would look into the home folder
os.environ["FLASK_SKIP_DOTENV"] = "1"
if hasattr(time, "tzset"):
    time.tzset()  # TZ is gone

# They import the app, so they come after the above.
pytest_plugins = [
    "tests.helpers.settings",
    "tests.helpers.sandboxes",
    "tests.helpers.servers",
    "tests.helpers.browser",
    "tests.helpers.phone",
]
