"""What /stream and /stream/stop are asked for: nothing else plays than was meant."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess, browse


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/stream?ulr=https://example.com/a.mp3", "ulr"),
        ("/stream?url=https://cdn.example.com/a.mp3?Expires=1&Signature=abc", "Signature"),
        ("/stream/stop?url=https://example.com/a.mp3", "url"),
    ],
)
def test_an_unknown_parameter_is_named(conference: InProcess, asked: str, name: str) -> None:
    conference.dial()
    response = browse(conference, asked)
    assert response.status_code == 400
    assert f"has no parameter {name}," in response.json()["error"]
    assert "write each & of that address as %26" in response.json()["error"]
    assert conference.asked == []


def test_an_address_with_its_ampersand_written_so_plays_whole(conference: InProcess) -> None:
    conference.dial()
    url = "https://cdn.example.com/a.mp3?Expires=1&Signature=abc"
    browse(conference, "/stream?url=" + url.replace("&", "%26")).raise_for_status()
    assert conference.asked[0].body["stream_url"] == [url]


WRONG = [
    *["url=", "url=closing.mp3", "url=http://10.0.0.1/a?key=hush"],
    *["loop=", "loop=-1", "loop=x", "level=", "level=1.1", "level=0.55"],
]


@pytest.mark.parametrize("given", WRONG)
def test_a_parameter_out_of_range_gets_400(conference: InProcess, given: str) -> None:
    conference.dial()
    response = browse(conference, f"/stream?{given}")
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{given.partition('=')[0]} must be ")
    assert "hush" not in conference.log.read_text()
    assert conference.asked == []


@pytest.mark.parametrize(
    "given",
    [
        {"json": {"uuid": "63f61863"}},
        {"data": b"uuid", "headers": {"Content-Type": "text/plain"}},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"files": {"uuid": b"63f61863"}, "data": {"loop": "0"}},
        {"data": {"uuid": "63f61863"}, "method": "GET"},
    ],
    ids=["JSON", "text", "a form that is none", "a form with a file", "a form by GET"],
)
def test_what_no_one_would_look_at_is_refused(conference: InProcess, given: dict[str, Any]) -> None:
    conference.dial()
    response = conference.request("/stream", **{"method": "POST", **given})
    assert response.status_code == 400
    assert response.json()["error"].startswith("Parameters go into the address")
    assert conference.asked == []


MANY = 65_000
LONG = {
    "loop": "9" * MANY,
    "level": "9" * MANY,
    "url": "@" * MANY,
    "url of one host": f"http://{'9.' * (MANY // 2)}",
    "url of digits": "9" * MANY,
    "uuid": "a" * MANY,
    "9" * MANY: "x",
}


@pytest.mark.parametrize("name", LONG, ids=lambda name: name[:20])
def test_a_message_about_a_long_value_costs_nothing(conference: InProcess, name: str) -> None:
    conference.dial()
    body = f"{name.split()[0]}={LONG[name]}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):  # the first may import something
        began = time.process_time()
        response = conference.request("/stream", "POST", data=body, headers=headers)
        took = time.process_time() - began
    assert took < 0.2
    assert response.status_code in (400, 404)
    assert len(response.text) < 1_000
    assert conference.asked == []
