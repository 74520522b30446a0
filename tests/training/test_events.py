"""The event log events.jsonl, and the curves read from it."""

from __future__ import annotations

import json

import pytest

from dsum_demo.training.events import Curve, EventLog, read_curve, read_events


def step(number: int, loss: float = 1.0) -> dict:
    return {"event": "step", "step": number, "steps": 9, "loss": loss, "time": 0.0}


def test_appended_events_are_read_with_their_time(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append({"event": "note", "text": "Grüße\n\u2028"})
    log.append(step(1))
    events, offset = read_events(log.file)
    assert [event["event"] for event in events] == ["note", "step"] and events[0]["text"] == "Grüße\n\u2028"
    assert events[0]["time"] > 1e9 and events[1]["time"] == 0.0
    assert offset == log.file.stat().st_size and read_events(log.file, offset) == ([], offset)


def test_an_incomplete_line_is_read_on_the_next_call(tmp_path):
    file = tmp_path / "events.jsonl"
    line = json.dumps(step(2)).encode() + b"\n"
    file.write_bytes(json.dumps(step(1)).encode() + b"\n" + line[:9])
    events, offset = read_events(file)
    assert [event["step"] for event in events] == [1]
    with file.open("ab") as stream:
        stream.write(line[9:])
    assert [event["step"] for event in read_events(file, offset)[0]] == [2]


@pytest.mark.parametrize("rubbish", [b"\n", b"{\n", b"[1]\n", b'"x"\n', b"null\n", b"\xff\xfe\n", b'{"step": 3}\n'])
def test_invalid_lines_are_skipped(tmp_path, rubbish):
    file = tmp_path / "events.jsonl"
    file.write_bytes(rubbish + json.dumps(step(1)).encode() + b"\n" + rubbish)
    assert [event["step"] for event in read_events(file)[0]] == [1]


def test_an_event_after_an_incomplete_line_is_read(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(json.dumps(step(1)).encode() + b'\n{"event": "st')
    EventLog(file).append(step(2))
    assert [event["step"] for event in read_events(file)[0]] == [1, 2]


def test_a_missing_file_has_no_events(tmp_path):
    assert read_events(tmp_path / "events.jsonl") == ([], 0)
    curve = read_curve(tmp_path / "events.jsonl")
    assert curve.steps == curve.evaluations == []
    assert curve.start is curve.end is curve.latest is curve.best is None


def test_appending_nan_or_infinity_raises(tmp_path):
    with pytest.raises(ValueError):
        EventLog(tmp_path / "events.jsonl").append(step(1, float("nan")))
    assert read_events(tmp_path / "events.jsonl") == ([], 0)


def test_steps_repeated_after_a_resume_are_kept_once():
    def evaluation(number: int, best: bool) -> dict:
        return {"event": "evaluation", "step": number, "best": best}

    first = [{"event": "start", "step": 0}, step(1, 3.0), step(2, 2.0), evaluation(2, True), step(3, 1.5), step(4, 1.4)]
    curve = Curve().add([*first, evaluation(4, True), {"event": "end", "state": "stopped"}])
    assert curve.latest["step"] == 4 and curve.best["step"] == 4 and curve.end
    curve.add([{"event": "start", "step": 2}, step(3, 1.6)])
    assert [(point["step"], point["loss"]) for point in curve.steps] == [(1, 3.0), (2, 2.0), (3, 1.6)]
    assert [point["step"] for point in curve.evaluations] == [2] and curve.best["step"] == 2
    assert curve.end is None and curve.start["step"] == 2
