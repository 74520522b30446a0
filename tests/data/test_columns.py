"""Columns of a file by role: given, guessed and missing ones, and the option --column."""

from __future__ import annotations

import pytest

from dsum_demo.data.columns import describe_guess, find_column, guess_columns, map_columns, parse_columns
from dsum_demo.errors import DataError, InputError


@pytest.mark.parametrize(
    ("columns", "given", "found"),
    [
        ("id dialogue summary", {}, {"id": ["id"], "dialogue": ["dialogue"], "summary": ["summary"]}),
        ("Source TARGET", {}, {"dialogue": ["Source"], "summary": ["TARGET"]}),
        ("fname Dialog summary1 Summary3 topic2", {},
         {"id": ["fname"], "dialogue": ["Dialog"], "summary": ["summary1", "Summary3"], "topic": ["topic2"]}),
        ("chat gist", {"summary": "GIST"}, {"dialogue": ["chat"], "summary": ["gist"]}),
        ("dialogue text summary", {"dialogue": "text"}, {"dialogue": ["text"], "summary": ["summary"]}),
        ("dialogue gist tldr", {"summary": "tldr, gist"}, {"dialogue": ["dialogue"], "summary": ["tldr", "gist"]}),
        ("text target", {"summary": "text", "dialogue": "target"}, {"dialogue": ["target"], "summary": ["text"]}),
    ],
)  # fmt: skip
def test_given_columns_come_first_and_the_others_are_guessed(columns, given, found):
    assert {role: list(names) for role, names in map_columns(columns.split(), "x.csv", given).items() if names} == found


def test_the_name_of_a_given_column_may_contain_commas():
    assert map_columns(["dialogue", "a, b"], "x.csv", {"summary": "a, b"})["summary"] == ("a, b",)


def test_a_given_column_is_not_guessed_for_another_role():
    with pytest.raises(DataError, match="no column summary"):
        map_columns(["output", "b"], "x.csv", {"dialogue": "output"})


def test_a_missing_column_raises_with_the_existing_columns_and_the_option():
    with pytest.raises(DataError, match=r"x\.csv has no column summary; its columns are: dialogue, b\. .*summary1 .*"
                                        r"--column summary=NAME"):  # fmt: skip
        map_columns(iter(["dialogue", "b"]), "x.csv")
    with pytest.raises(DataError, match=r"There is no column 'gist'; the columns are: dialogue, b\."):
        map_columns(["dialogue", "b"], "x.csv", {"summary": "gist"})


def test_taken_columns_are_not_guessed():
    found = guess_columns(["text", "chat", "id"], taken=["text", "id"])
    assert (found["dialogue"], found["id"]) == (("chat",), ())


def test_an_exact_name_is_preferred_to_another_case():
    assert (
        find_column(["A", "a"], "a") == "a" and find_column(["A"], "b", "a") == "A" and find_column(["A"], "b") is None
    )


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["dialogue=chat", "summary=gist"], {"dialogue": "chat", "summary": "gist"}),
        (["dialogue = my chat , summary=a,b"], {"dialogue": "my chat", "summary": "a,b"}),
        (["summary=a,summary=b", "id=no=1"], {"summary": "a,b", "id": "no=1"}),
        ([], {}),
    ],
)
def test_options_may_be_repeated_or_separated_by_commas(texts, found):
    assert parse_columns(texts) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dialogue", "'dialogue' has no '='"),
        ("dialogue=", "has no '='"),
        ("speech=x", "unknown role 'speech'; give one of: dia"),
    ],
)
def test_an_option_without_equals_sign_or_with_an_unknown_role_is_rejected(text, message):
    with pytest.raises(InputError, match=message):
        parse_columns([text])


@pytest.mark.parametrize(
    ("columns", "given", "sentence"),
    [
        ("id Dialogue summary1 summary2", {}, ""),
        ("chat gist", {"summary": "gist"}, "Guessed by name: “chat” is read as the dialogue."),
        ("dialogue text Summary", {},
         "Guessed by name: “dialogue” is read as the dialogue (“text” would fit too)."),
        ("turns Target", {},
         "Guessed by name: “turns” is read as the dialogue, “Target” is read as the summary."),
        ("dialogue text summary target", {"dialogue": "text", "summary": ("summary", "target")}, ""),
        ("dialogue tldr", {}, ""),
    ],
)  # fmt: skip
def test_guessed_columns_are_described_unless_they_are_certain(columns, given, sentence):
    assert describe_guess(columns.split(), given) == sentence


def test_several_columns_may_be_given_in_a_sequence_and_contain_commas():
    columns = ["dialogue", "a, b", "c"]
    assert map_columns(columns, "x.csv", {"summary": ["a, b", "C"]})["summary"] == ("a, b", "c")
