"""Values of cells: dialogues, summaries, ids, empty values, and errors for other values."""

from __future__ import annotations

import json

import pytest

from dsum_demo.composition import make_sources
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.data.examples import read_samples, to_examples
from dsum_demo.data.values import describe_value, is_empty, read_dialogue_value, read_label_value, read_texts_value
from dsum_demo.errors import DataError, InputError
from dsum_demo.training.config import DataConfig
from dsum_demo.training.dataset import read_training_data

NAN = float("nan")


@pytest.mark.parametrize("text", ["", "  \n", ".", "—…!", "nan", "NaN", " None ", "null", "N/A", "n/a", "<NA>", "#N/A"])
def test_missing_values_and_punctuation_are_empty_everywhere(text, settings, tmp_path):
    assert is_empty(text) and read_dialogue_value(text) == "" and read_texts_value(text) == ()
    with pytest.raises(InputError, match="no dialogue to summarize"):
        read_dialogue(text)
    for role, row in (
        ("dialogue", {"dialogue": text, "summary": "s"}),
        ("summary", {"dialogue": "A: x", "summary": text}),
    ):
        with pytest.raises(DataError, match=f"no {role} in row 1"):
            to_examples([row], "mine")
        file = tmp_path / "rows.jsonl"
        file.write_text(json.dumps(row))
        with pytest.raises(DataError, match=rf"row 1 \(no {role}\)"):
            read_training_data(DataConfig(str(file)), make_sources(settings))


@pytest.mark.parametrize("text", ["None of them came.", "é", "天", "0", "Nan calls."])
def test_a_word_a_letter_or_a_digit_is_not_empty(text):
    assert not is_empty(text) and read_texts_value(text) == (text,)


@pytest.mark.parametrize(
    "value",
    [
        [{"speaker": "Uma", "text": "Open now?"}, {"speaker": "Raj", "text": "At nine."}],
        [{"role": "Uma", "content": "Open\nnow?"}, {"role": "Raj", "content": [{"type": "text", "text": "At nine."}]}],
        [{"from": "Uma", "value": "Open now?"}, {"from": "Raj", "value": "At nine."}],
        [{"name": "Uma", "message": "Open now?"}, {"name": "Al", "text": ""}, {"name": "Raj", "message": "At nine."}],
        [{"role": "system", "content": "Be brief."}, {"role": "Uma", "content": "Open now?"},
         {"role": "Raj", "content": "At nine."}],
        {"speaker": ["Uma", "Raj"], "text": ["Open now?", "At nine."]},
        {"id": 3, "turns": [{"speaker": "Uma", "text": "Open now?"}, {"speaker": "Raj", "text": "At nine."}]},
        ["Uma: Open now?", "", "Raj: At nine."],
        '["Uma: Open now?", "Raj: At nine."]',
        "[{'speaker': 'Uma', 'text': 'Open now?'}, {'speaker': 'Raj', 'text': 'At nine.'}]",
        "Uma: Open now?\r\nRaj: At nine.",
        r"Uma: Open now?\r\nRaj: At nine.",
        r"Uma: Open now?\nRaj: At nine.",
        "\n Uma: Open now?\nRaj: At nine. \n",
    ],
)  # fmt: skip
def test_lists_of_turns_or_lines_and_escaped_line_ends_become_a_dialogue(value):
    assert read_dialogue_value(value) == "Uma: Open now?\nRaj: At nine."


@pytest.mark.parametrize(
    "text",
    [
        "Uma: It is in C:\\new\\notes.",
        "Uma: x\nRaj: type \\n, then \\r\\n",
        "[laughs] Uma: So? [laughs]",
        "[1, 2]",
        "{so}",
    ],
)
def test_texts_that_resemble_lists_or_line_ends_are_not_changed(text):
    assert read_dialogue_value(text) == text


def test_a_speaker_may_be_named_system():
    turns = [{"speaker": "SYSTEM", "text": "Which day?"}, {"speaker": "USER", "text": "Friday."}]
    assert read_dialogue_value(turns) == "SYSTEM: Which day?\nUSER: Friday."


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("He pays. ", ("He pays.",)), (["He pays.", " ", "He will pay."], ("He pays.", "He will pay.")),
        ('["He pays.", "He will pay."]', ("He pays.", "He will pay.")), (None, ()), (NAN, ()), ([], ()), ([None], ()),
        (42, ("42",)), (7.0, ("7",)), (2.5, ("2.5",)),
    ],
)  # fmt: skip
def test_a_list_of_summaries_is_several_references_and_numbers_are_texts(value, texts):
    assert read_texts_value(value) == texts


@pytest.mark.parametrize(
    ("value", "named"),
    [(True, "true or false"), ({"a": 1}, "an object"), ('{"a": 1}', "an object"), ([["a"]], "a list of other values"),
     ([{"x": 1}, "y"], "a list of other values")],
)  # fmt: skip
def test_other_values_are_rejected_with_their_rows(value, named):
    assert read_dialogue_value(value) is None and named in describe_value(value)
    rows = [
        {"dialogue": "A: x", "summary": "s"},
        {"dialogue": value, "summary": "s"},
        {"dialogue": value, "summary": "s"},
    ]
    with pytest.raises(DataError, match=f"mine has {named}.* instead of a dialogue in rows 2, 3") as caught:
        to_examples(rows, "mine")
    assert caught.value.rows == (2, 3)
    with pytest.raises(DataError, match="instead of a summary in row 1"):
        to_examples([{"dialogue": "A: x", "summary": value}], "mine")
    broken: dict[int, str] = {}
    assert len(to_examples(rows, "mine", broken)) == 1 and list(broken) == [2, 3]


def test_ids_are_texts_numbers_or_json():
    assert [read_label_value(v) for v in (7.0, " a ", None, NAN, "nan", {"$oid": "x"})] == [
        "7", "a", "", "", "", '{"$oid": "x"}'
    ]  # fmt: skip


def test_training_uses_the_first_of_several_summaries_and_reports_skipped_rows(tmp_path, settings):
    file = tmp_path / "rows.jsonl"
    rows = [{"dialogue": [f"A: I have {n}.", "B: Good."], "summary": [f"Has {n}.", "x"]} for n in range(4)]
    file.write_text("\n".join(map(json.dumps, [*rows, {"dialogue": {"a": 1}, "summary": "s"}])))
    data = read_training_data(DataConfig(str(file)), make_sources(settings))
    assert data.train[0].dialogue.count("\n") == 1 and len(data.train[0].references) == 1
    assert "rows.jsonl: skipped row 5 (an object instead of a dialogue)." in data.notes
    with pytest.raises(DataError, match="an object instead of a dialogue in row 5"):
        read_samples(file)
