"""The sandbox refuses what Vonage refuses, by the sources named, and sends what Vonage sends.

What no source says, and the sandbox does all the same, so that it is not decided twice:

- In an NCCO a field that is null is as if it were left out, `level` is a number only, and empty
  texts and names pass. An unknown field of an action passes.
- A caller without a number is described by the Voice API as `from: null`, a SIP caller by its URI.
- `bargeIn` asks for `input` as the very next action, in `talk` as in `stream`. An `input` counts
  the keys that were pressed since the `bargeIn` before it began, and `timeOut` from the last key.
- SSML tags are taken out before the 1,500 characters of a `talk` are counted.
- The Voice API refuses in this order: rate, token, path and method, content type, body, call.
  Bodies other than those of 400 have `type`, `title` and `detail`. A call is found by its uuid as
  Vonage spelled it, and by GET for as long as the sandbox runs.
- Before all else, a body in chunks gets 411, one above 64 KiB 413, one whose length is no number
  400, one that stays away for 5 s 408, and its connection ends. The first is where the sandbox is
  stricter than Vonage may be: the SDK always sends a length.
- What the OpenAPI file has and the sandbox has not gets 501, once its token and its path are right.
- A caller who hangs up before the call is answered has cancelled it. A call that is cut off has no
  SIP code.
- Time-outs: connect 1 s, answer 5 s, event 10 s, audio 3 s and 10 s. An event is sent once.
- Audio is fetched by no proxy. A type of text/* or JSON is refused, and what takes longer than 10 s
  or 50 MB; another type, or none, passes. Five redirects are followed. An MP3 begins with a frame
  that another follows, after its tags. How long it lasts is an estimate: all like its first frame.
- A stream that is stopped or replaced while it is still fetched is over, an NCCO's, too, and has no
  RTC events. Music in place of hold music ends it for good. DELETE stops what the app plays, not
  hold music.
- RTC's events come from hold music never; `audio:play` once audio has been fetched, and not where
  it could not be, of which `audio:play:done` has the `error`; `audio:play:stop` also where other
  audio or a key ends it; none at the call's end. All three have a `channel`, which is documented of
  `audio:play:done` alone; `id` counts from 1 in each leg. They come without a token, once.
- The fifty-first leg of a conference is let in. Its id is the same as long as its name is.
- An NCCO in answer to an `input` event is not run; `endOnExit` is checked, and not acted on.
- An NCCO's stream lasts as long as it would, though the Voice API plays something in its place.
"""

from __future__ import annotations

import json
from typing import Any

from werkzeug import Response

from tests.helpers.sources import (
    DOWNLOAD,
    JAVA,
    NCCO_2021,
    NO_SOURCE,
    OPENAPI,
    REFERENCE,
    SDK,
    TROUBLESHOOTING,
    TUTORIAL,
    rules,
)
from tests.helpers.stub import StubbedSandbox

MUSIC = ["https://192.0.2.1/a.mp3"]  # an address that no name server is asked for
STREAM: dict[str, Any] = {"action": "stream", "streamUrl": MUSIC}
TALK: dict[str, Any] = {"action": "talk", "text": "Hi"}
MEETING: dict[str, Any] = {"action": "conversation", "name": "Conference"}
INPUT: dict[str, Any] = {"action": "input", "type": ["dtmf"]}
UNUSED = ("record", "connect", "notify", "wait", "transfer")


# NCCOs


@rules(
    ("an unknown action", [{"action": "sing"}], REFERENCE),
    ("no action", [{}], REFERENCE),
    ("an action that is an array", [{"action": ["talk"]}], REFERENCE),
    ("an object", TALK, REFERENCE),
    ("an array of null", [None], REFERENCE),
    ("stream: level above 1", [{**STREAM, "level": 1.1}], REFERENCE),
    ("stream: level just beside a step", [{**STREAM, "level": 0.40000001}], REFERENCE),
    ("stream: level is text", [{**STREAM, "level": "0.5"}], SDK),
    ("stream: bargeIn at the end", [{**STREAM, "bargeIn": True}], REFERENCE),
    ("stream: bargeIn before talk", [{**STREAM, "bargeIn": True}, TALK, INPUT], REFERENCE),
    ("stream: bargeIn before stream", [{**STREAM, "bargeIn": True}, STREAM, INPUT], JAVA),
    ("talk: 1,501 characters", [{**TALK, "text": "x" * 1501}], REFERENCE),
    ("talk: bargeIn before a conversation", [{**TALK, "bargeIn": True}, MEETING], NO_SOURCE),
    ("conversation: two musicOnHoldUrls", [{**MEETING, "musicOnHoldUrl": MUSIC * 2}], REFERENCE),
    ("conversation: startOnEnter is a word", [{**MEETING, "startOnEnter": "no"}], SDK),
    ("talk: a lone surrogate", [{**TALK, "text": "\ud800"}], NO_SOURCE),
    ("talk: level above 1", [{**TALK, "level": 1.01}], REFERENCE),
    ("conversation: mute with canSpeak", [{**MEETING, "mute": True, "canSpeak": ["x"]}], SDK),
)
def test_an_ncco_is_refused(sandbox: StubbedSandbox, example: Any) -> None:
    sandbox.answers = [example]
    call = sandbox.dial()
    assert call.over.is_set()
    assert call.heard.is_set()
    assert "is cut off: Syntax error in NCCO. Invalid value type or action. " in call.story[-1]
    started, ringing, error, completed = sandbox.events(call)
    assert (started["status"], ringing["status"]) == ("started", "ringing")
    assert set(error) == {"reason", "conversation_uuid", "timestamp"}
    assert error["reason"] == "Syntax error in NCCO. Invalid value type or action."
    assert (completed["status"], completed["disconnected_by"]) == ("completed", "platform")
    assert "sip_code" not in completed


@rules(
    ("no action at all", [], REFERENCE),
    ("stream: every step", [{**STREAM, "level": tenth / 10} for tenth in range(-10, 11)], SDK),
    ("stream: a scheme in capitals", [{**STREAM, "streamUrl": ["HTTPS://192.0.2.1/a"]}], OPENAPI),
    ("stream: bargeIn before input", [{**STREAM, "bargeIn": True}, INPUT], REFERENCE),
    ("talk: 1,500 characters and tags", [{**TALK, "text": f"<speak>{'x' * 1500}</speak>"}], SDK),
    ("conversation with all fields", [{**MEETING, "endOnExit": True, "canHear": []}], REFERENCE),
    ("conversation: startOnEnter is text", [{**MEETING, "startOnEnter": "false"}], TUTORIAL),
    ("talk: a level between steps", [{**TALK, "level": 0.55}], NCCO_2021),
    ("input with all fields", [{**INPUT, "dtmf": {"timeOut": 0}, "speech": {"uuid": ["x"]}}], SDK),
    ("a lone surrogate in a name", [{**MEETING, "name": "\ud800"}], NO_SOURCE),
    ("null", [{**STREAM, "level": None, "loop": None, "bargeIn": None}], NO_SOURCE),
    ("null in dtmf", [{**INPUT, "dtmf": {"maxDigits": None, "timeOut": 0}}], NO_SOURCE),
    ("actions that the app does not use", [{"action": name} for name in UNUSED], SDK),
)
def test_an_ncco_is_run(sandbox: StubbedSandbox, example: Any) -> None:
    sandbox.answers = [example]
    call = sandbox.dial()
    assert [one["action"] for one in call.ncco] == [one["action"] for one in example]
    assert call.heard.wait(20)
    assert not any("is cut off" in line for line in call.story)


@rules(
    ("no JSON", Response("talk", mimetype="application/json"), REFERENCE),
    ("NaN", Response('[{"action": "record", "x": NaN}]', mimetype="application/json"), SDK),
    ("nested deeply", Response("[" * 100_000, mimetype="application/json"), REFERENCE),
    ("HTML", Response("[]", mimetype="text/html"), DOWNLOAD),
    *(
        (f"status {code}", Response("[]", code, mimetype="application/json"), DOWNLOAD)
        for code in (201, 302, 500)
    ),
)
def test_an_answer_is_refused_and_not_asked_for_again(
    sandbox: StubbedSandbox, example: Response
) -> None:
    sandbox.answers = [example, [MEETING]]
    assert "is cut off: " in sandbox.dial().story[-1]


def test_an_ncco_is_taken_however_its_type_is_written(sandbox: StubbedSandbox) -> None:
    written = {"Content-Type": "Application/JSON ;charset=utf-8"}
    sandbox.answers = [Response(json.dumps([MEETING]), headers=written)]
    sandbox.dial().hears("is in the conference")


@rules(*((f"status {code}", code, TROUBLESHOOTING) for code in (429, 503, 504)))
def test_an_answer_is_asked_for_three_times(sandbox: StubbedSandbox, example: int) -> None:
    sandbox.answers = [Response(status=example), Response(status=example), [MEETING]]
    sandbox.dial().hears("is in the conference")
    sandbox.answers = [Response(status=example)] * 3 + [[MEETING]]
    assert f"is cut off: The answer webhook answered {example}" in sandbox.dial().story[-1]
