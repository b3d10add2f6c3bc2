"""The sources of the sandbox's rules, and a way to test rules from a table."""

from __future__ import annotations

from typing import Any

import pytest

# Each rule is followed by its source and that source's date, or its version where it has none.
REFERENCE = "NCCO reference, undated"
SDK = "Python SDK, 4.9.1"
NCCO_2021 = "NCCO reference of 2021: steps are documented for stream alone"
TUTORIAL = "Vonage's tutorial, Call whisper; against the Python SDK, 4.9.1: a boolean"
JAVA = "Java SDK, undated; against the NCCO reference, 2021: the next one that is no stream"
OPENAPI = "OpenAPI file of the Voice API, April 2021"
NODE = "Node SDK, 1.21; Vonage's API sandbox, August 2025; against the Python SDK, 4.9.1: a number"
ISSUES = "python-sdk issues 66 and 122, undated"
TOKENS = "support article 360000958407, undated"
DOWNLOAD = "support article on NCCO download, undated"
TROUBLESHOOTING = "Troubleshooting, undated; against the Application API, 2.4.1: asked twice"
NO_SOURCE = "no source: see test_rules.py"


def rules(*table: tuple[str, Any, str]) -> pytest.MarkDecorator:
    """Parametrize with a table of rules: what it is, an example, and the source."""
    named = [pytest.param(example, id=f"{what} [{source}]") for what, example, source in table]
    return pytest.mark.parametrize("example", named)
