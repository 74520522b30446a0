"""How the embedded family is made, on a small corpus written here: tokenizer, corpus, objectives, augmentation, batches
that depend on seed and step alone, an interrupted and resumed pretraining run, packaging, report, command line.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config

from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from recipes import augmentation, objectives, pretraining
from recipes.__main__ import main, training_pairs
from recipes.augmentation import rename
from recipes.corpus import (
    Conversation,
    dialogsum_train,
    merge_turns,
    read_conversations,
    relabel,
    split_selection,
    split_turns,
    tidy,
)
from recipes.names import FIRST_NAMES, SURNAMES
from recipes.objectives import (
    Windows,
    corrupt,
    gap_sentence,
    random_spans,
    recall_spans,
    report,
    reported_speech,
    retell,
)
from recipes.packaging import BASE_NAME, package
from recipes.pretraining import Examples, new_model, pretrain
from recipes.report import load_trio, scores, summarize_all
from recipes.tokenizer import SENTINELS, in_fixed_order, train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
ROWS = 520  # of DialogSum; the selection takes 500 of them
ALPHABET = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0 1 2 3 4 5 6 7 8 9 . , : ; ! ? ' \" ( ) # - $ %"
TALK = (
    "Did {name} book the {thing} for {day}?",
    "I want to return the {thing} that I bought on {day}.",
    "The {thing} costs {number} dollars, and {name} said that it was cheap.",
    "Can you bring the {thing} to the {place} before {number} o'clock?",
    "Well, we can't meet at the {place} on {day}.",
    "Please tell {name} that the {thing} is still in the {place}.",
)
WORDS = {
    "name": FIRST_NAMES[:60],
    "thing": "ticket lamp guitar printer carpet bicycle sandwich passport umbrella camera".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "place": "library station kitchen museum harbour airport bakery office".split(),
    "number": [str(number) for number in range(2, 40)],
}


def talk(rng: random.Random, speakers: tuple[str, str], turns: int) -> list[list[str]]:
    def sentence() -> str:
        return rng.choice(TALK).format(**{kind: rng.choice(words) for kind, words in WORDS.items()})

    return [[speakers[i % 2], " ".join(sentence() for _ in range(rng.choice((1, 1, 2))))] for i in range(turns)]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The data folder's shape: DialogSum with recognizable summaries, and three other corpora."""
    folder, rng = tmp_path_factory.mktemp("data"), random.Random(7)
    rows = []
    for i in range(ROWS):
        turns = talk(rng, ("#Person1#", "#Person2#"), rng.randrange(4, 16))
        dialogue = "\n".join(f"{speaker}: {text}" for speaker, text in [*turns, ["#Person1#", f"Row {i} it is."]])
        rows.append({"id": f"train_{i}", "dialogue": dialogue, "summary": f"Secret summary {i}.", "topic": "talk"})
    write_rows(folder / "dialogsum" / "train.jsonl.gz", rows)
    write_rows(folder / "dialogsum" / "validation.jsonl.gz", [{**rows[0], "dialogue": "#Person1#: Validation row."}])
    write_rows(
        folder / "pretraining" / "sgd.jsonl.gz",
        [{"id": f"s{i}", "turns": talk(rng, ("User", "System"), 10)} for i in range(20)],
    )
    write_rows(
        folder / "pretraining" / "crd3_aligned.jsonl.gz",
        [
            {"id": f"c{i}", "turns": turns, "summary": f"Matt talks of it . {turns[0][1]}"}
            for i, turns in enumerate(talk(rng, ("MATT", "LAURA"), 6) for _ in range(20))
        ],
    )
    write_rows(
        folder / "pretraining" / "aci_bench.jsonl.gz",
        [{"id": "a", "turns": talk(rng, ("Doctor", "Patient"), 6), "summary": "CHIEF COMPLAINT: a clinical note"}],
    )
    write_rows(
        folder / "pretraining" / "qmsum.jsonl.gz",
        [
            {
                "id": "q",
                "turns": [
                    ["Grad A", "OK ."],
                    ["Grad B", "First ."],
                    ["Grad C", "Second ."],
                    ["Grad A", "{vocalsound}"],
                ],
                "summary": "An hour of talk.",
                "queries": [
                    {"query": "What came first ?", "answer": "Grad B 's turn .", "spans": [["1", "2"]]},
                    {"query": "What else ?", "answer": "Nothing .", "spans": None},
                ],
            }
        ],
    )
    return folder


@pytest.fixture(scope="module")
def conversations(data) -> list[Conversation]:
    return list(read_conversations(data))


@pytest.fixture(scope="module")
def tokenizer(conversations):
    texts = ["\n".join(f"#Person1#: {text}" for _, text in conversation.turns) for conversation in conversations]
    return train_tokenizer([ALPHABET, PROMPT_TEMPLATE.replace("{dialogue}", ""), *texts])


@pytest.fixture
def small_batches(monkeypatch) -> None:
    """Two or four rows a batch instead of 32 or 64; everything else as it is."""
    monkeypatch.setattr(pretraining, "BUCKETS", ((128, 4), (192, 3), (256, 2)))


@pytest.fixture
def examples(conversations, tokenizer, small_batches) -> Examples:
    return Examples(conversations, tokenizer)


@pytest.fixture
def windows(conversations) -> Windows:
    return Windows(conversations)


# the tokenizer

DIALOGUE = '#Person1#: Hi, Mr. Smith! I\'m a check-up (late).\n#Person2#: "Well", $5.00 or 12:30?'


def test_pieces_that_are_equal_but_for_how_sums_were_rounded_have_one_order():
    def order(scores: dict[str, float]) -> list[tuple[str, float]]:
        pieces = [("<unk>", 0.0), *scores.items()]
        return in_fixed_order(Tokenizer(models.Unigram(pieces, unk_id=0)), specials=1)

    once = order({"k": -3.995803991374124, "#": -3.995803991414082, "a": -2.5})
    again = order({"#": -3.995803991374124, "a": -2.5, "k": -3.995803991414082})
    assert once == again and [piece for piece, _ in once] == ["<unk>", "a", "#", "k"]


def test_newlines_labels_and_punctuation_stand_alone(tokenizer):
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(DIALOGUE, add_special_tokens=False).input_ids)
    assert pieces[0] == "▁#Person1#" and pieces[1] == ":"
    assert pieces.count("▁\n") == 1 and pieces.count("▁#Person2#") == 1
    for piece in pieces:
        if not piece.startswith("▁#Person") and re.search(r'[,.!?:"()$\n]', piece):
            assert len(piece.removeprefix("▁")) == 1, f"{piece!r} mixes punctuation with more"


def test_apostrophes_and_hyphens_stay_in_their_word(tokenizer):
    splits = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("I'm a check-up, ok?")
    assert [piece for piece, _ in splits] == ["▁I'm", "▁a", "▁check-up", ",", "▁ok", "?"]


@pytest.mark.parametrize(
    "text",
    [
        DIALOGUE,
        PROMPT_TEMPLATE.format(dialogue=DIALOGUE),
        "Anna tells #Person2#'s friend that she'll pay 40%.",
        "first\n\nthird",
        "#Person1#",
    ],
)
def test_text_comes_back_as_it_was(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_pasted_spaces_are_made_one(tokenizer):
    assert tokenizer.decode(tokenizer("a  b \n c", add_special_tokens=False).input_ids) == "a b\nc"


def test_ids_are_where_t5_looks_for_them(tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("Hi").input_ids[-1] == 1 and 1 not in tokenizer("Hi", add_special_tokens=False).input_ids
    sentinels = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(SENTINELS)])
    assert sentinels == list(range(len(tokenizer) - SENTINELS, len(tokenizer)))
    text = "<extra_id_0> #Person3# agrees<extra_id_1>"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == "#Person3# agrees"


def test_a_letter_that_was_never_seen_is_unknown_and_breaks_nothing(tokenizer):
    ids = tokenizer("Hi ж!", add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id in ids and tokenizer.convert_ids_to_tokens(ids)[-1] == "!"


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.all_special_ids == tokenizer.all_special_ids and loaded.model_max_length == 512
    for text in (DIALOGUE, PROMPT_TEMPLATE.format(dialogue=DIALOGUE), "<extra_id_3> #Person9# ж"):
        assert loaded(text).input_ids == tokenizer(text).input_ids
        assert loaded.decode(loaded(text).input_ids) == tokenizer.decode(tokenizer(text).input_ids)


# the corpus


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        ("hi , martha . how are you ?", "hi, martha. how are you?"),
        ("I 've said that we do n't , it 's his", "I've said that we don't, it's his"),
        ("{vocalsound} So [laughs]  that\tis\nit", "So that is it"),
        ("( 50 % )", "( 50%)"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("  ", ""),
    ],
)
def test_tidy_undoes_tokenized_spacing(written, tidied):
    assert tidy(written) == tidied
    assert tidy(tidied) == tidied


def test_split_turns_cuts_at_the_first_colon_and_leaves_out_what_is_no_turn():
    dialogue = "#Person1#: At 12:30 , then .\nnobody said this\n#Person2#:  \n\n Tom : Fine"
    assert split_turns(dialogue) == (("#Person1#", "At 12:30, then."), ("Tom", "Fine"))
    assert split_turns("") == ()


def test_the_selection_is_500_rows_that_are_not_trained_on(data):
    train, selection = dialogsum_train(data)
    assert len(selection) == 500 and len(train) == ROWS - 500
    ids = [row["id"] for row in train], [row["id"] for row in selection]
    assert set(ids[0]).isdisjoint(ids[1])
    for part in ids:
        assert part == sorted(part, key=lambda name: int(name.removeprefix("train_"))), "the order of the file"
    # The cut is a fact that the cards state: the same rows on every machine and in every run.
    assert dialogsum_train(data) == (train, selection)
    chosen = {row["id"] for row in split_selection([{"id": i} for i in range(1000)])[1]}
    assert chosen == set(random.Random(2024).sample(range(1000), 500))


def test_fewer_rows_than_the_selection_takes_are_refused():
    with pytest.raises(ValueError, match="larger than population"):
        split_selection([{"id": 0}] * 499)


def test_pretraining_never_sees_a_summary_or_a_selection_row_of_dialogsum(data, conversations):
    train, _ = dialogsum_train(data)
    own = [conversation for conversation in conversations if conversation.source == "dialogsum"]
    assert [conversation.turns for conversation in own] == [split_turns(row["dialogue"]) for row in train]
    assert all(conversation.summary is None for conversation in own)
    everything = json.dumps([(c.turns, c.summary) for c in conversations])
    assert "Secret summary" not in everything and "Validation row" not in everything


def test_only_short_loose_summaries_of_other_corpora_are_kept(conversations):
    by_source = {c.source: [o for o in conversations if o.source == c.source] for c in conversations}
    assert set(by_source) == {"dialogsum", "sgd", "crd3_aligned", "aci_bench", "qmsum"}
    assert all(c.summary.startswith("Matt talks of it.") for c in by_source["crd3_aligned"])
    assert [c.summary for c in by_source["aci_bench"]] == [None]
    # An hour's summary is left out; a query's answer goes with the turns that it is about.
    whole, query = by_source["qmsum"]
    assert whole.summary is None and whole.turns[-1] == ("Grad A", "")
    assert query.summary == "Grad B's turn." and query.turns == (("Grad B", "First."), ("Grad C", "Second."))


def test_merge_turns_joins_neighbours_and_drops_empty_ones():
    turns = (("A", "One."), ("B", ""), ("A", "Two."), ("B", "Three."), ("A", "Four."))
    assert merge_turns(turns) == [("A", "One. Two."), ("B", "Three."), ("A", "Four.")]
    assert merge_turns(()) == []


def test_relabel_numbers_speakers_in_order_or_gives_them_first_names():
    turns, seen = [("MATT", "Laura, roll."), ("LAURA", "I roll."), ("MATT", "Twelve.")], Counter()
    for seed in range(200):
        relabelled, summary = relabel(turns, "Matt asks Laura to roll; laura does.", random.Random(seed))
        assert (relabelled, summary) == relabel(turns, "Matt asks Laura to roll; laura does.", random.Random(seed))
        first, second = relabelled[0][0], relabelled[1][0]
        assert [speaker for speaker, _ in relabelled] == [first, second, first] and first != second
        assert summary == f"{first} asks {second} to roll; {second} does."
        numbered = (first, second) == ("#Person1#", "#Person2#")
        assert numbered or {first, second} <= set(FIRST_NAMES)
        seen[numbered] += 1
    assert 0.2 < seen[False] / 200 < 0.4, "three in ten have names"


def test_relabel_follows_a_mention_in_a_turn():
    turns = [("#Person1#", "Ask #Person2#."), ("#Person2#", "Me?")]
    named = next(
        relabelled
        for relabelled, _ in (relabel(turns, None, random.Random(seed)) for seed in range(50))
        if relabelled[0][0] != "#Person1#"
    )
    assert named[0] == (named[0][0], f"Ask {named[1][0]}.")


# the objectives


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I need your help", "#Person1# needs #Person2#'s help"),
        ("I've lost my keys, and you know it.", "#Person1# has lost #Person1#'s keys, and #Person2# knows it."),
        ("You always forget me.", "#Person2# always forgets #Person1#."),
        ("I study and you carry us", "#Person1# studies and #Person2# carry them"),
        ("We are late", "they are late"),
        ("am I late", "is #Person1# late"),
        ("US dollars are mine", "US dollars are #Person1#'s"),
        ("The train leaves", "The train leaves"),
        ("", ""),
    ],
)
def test_retell_puts_labels_for_first_and_second_person(said, told):
    assert retell(said, "#Person1#", "#Person2#") == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I want a refund for it.", "#Person1# wants a refund for it."),
        ("Oh, well, yes, I never eat fish.", "#Person1# never eats fish."),
        ("Can you please send me the report?", "#Person1# asks #Person2# to send #Person1# the report."),
        ("Would you like to come with me?", "#Person1# asks if #Person2# would like to come with #Person1#."),
        ("Can I pay by card?", "#Person1# asks if #Person1# can pay by card."),
        ("Are you sure about that?", "#Person1# asks if #Person2# is sure about that."),
        ("Where is the nearest station?", "#Person1# asks where the nearest station is."),
        ("What do you think of it?", "#Person1# asks what #Person2# thinks of it."),
        ("What about going to the park?", "#Person1# suggests going to the park."),
        ("Let's go to the cinema.", "#Person1# suggests they go to the cinema."),
        ("Thanks a lot for your help!", "#Person1# thanks #Person2# for #Person2#'s help."),
    ],
)
def test_report_converts_a_sentence_to_reported_speech(said, told):
    assert report(said, "#Person1#", "#Person2#", random.Random(0)) == told


@pytest.mark.parametrize(
    "said",
    ["Oh, yes.", "Why?", "", "I want it.", "Who are you waiting for?", f"I want {'very ' * 30}much."],
    ids=["interjections", "one word", "empty", "too short", "no rule", "too long"],
)
def test_report_returns_none_if_no_rule_matches(said):
    assert report(said, "#Person1#", "#Person2#", random.Random(0)) is None


def test_report_varies_its_verbs_by_the_seed_alone():
    told = [report("The train leaves at six.", "Ann", "Bob", random.Random(seed)) for seed in range(30)]
    assert set(told) == {f"Ann {verb} the train leaves at six." for verb in ("says", "tells Bob", "thinks", "explains")}
    assert told == [report("The train leaves at six.", "Ann", "Bob", random.Random(seed)) for seed in range(30)]


def test_reported_speech_has_up_to_three_sentences_in_the_order_of_the_dialogue(windows):
    turns = [
        ("#Person1#", "I want to return the lamp. Is it too late for that?"),
        ("#Person2#", "You should bring the lamp on Friday."),
        ("#Person1#", "I work at the harbour until seven."),
        ("#Person2#", "Then we close at nine on Friday."),
        ("#Person1#", "Please keep the lamp for me."),
    ]
    places = ("return", "late", "bring", "harbour", "close", "keep")
    lengths = set()
    for seed in range(60):
        told = reported_speech(turns, windows, random.Random(seed))
        assert told == reported_speech(turns, windows, random.Random(seed))
        found = [told.index(word) for word in places if word in told]
        assert found == sorted(found) and not re.search(r"\b(?:I|you|me)\b", told)
        lengths.add(len(found))
    assert lengths == {1, 2, 3}


def test_nothing_worth_telling_is_none(windows):
    assert reported_speech([("A", "Hi!"), ("B", "Oh, hello.")], windows, random.Random(0)) is None
    assert gap_sentence([("A", "Hi!"), ("B", "Oh, hello.")], windows, "<extra_id_31>", random.Random(0)) is None


def test_the_gap_sentence_put_back_gives_the_window(windows, conversations):
    rng = random.Random(3)
    for conversation in conversations[:40]:
        turns = list(conversation.turns)
        masked, sentence = gap_sentence(turns, windows, "<extra_id_31>", rng)
        assert sum("<extra_id_31>" in text for _, text in masked) == 1 and len(sentence.split()) >= 5
        assert [(speaker, text.replace("<extra_id_31>", sentence)) for speaker, text in masked] == turns


def restore(source: list[int], target: list[int], sentinel: int) -> list[int]:
    """Decode T5's format: each sentinel of the source is replaced by the tokens after it in the target."""
    spans, current = {}, []
    for token in target:
        if token >= sentinel:
            current = spans[token] = []
        else:
            current.append(token)
    return [token for part in source for token in (spans[part] if part >= sentinel else [part])]


@pytest.mark.parametrize("length", [1, 2, 7, 60, 250])
def test_random_spans_restore_the_text(length):
    ids, masked = list(range(10, 10 + length)), 0
    for seed in range(50):
        spans = random_spans(length, random.Random(seed))
        assert 0 < len(spans) <= 24
        assert all(0 <= start < stop <= length for start, stop in spans)
        # Spans that touch would be one span with two sentinels.
        assert all(a[1] < b[0] for a, b in pairwise(spans))
        source, target = corrupt(ids, spans, sentinel=1000, end=1)
        assert target[-1] == 1 and restore(source, target[:-1], 1000) == ids
        masked += sum(stop - start for start, stop in spans)
    if length == 250:
        assert 0.1 < masked / (50 * length) < 0.2, "about 15 % are masked"


def test_recall_spans_occur_elsewhere_in_the_window():
    # Salient tokens (below 20) with room between them, so that no span covers a second one.
    for seed in range(100):
        rng = random.Random(seed)
        ids = [token for i in range(40) for token in (rng.randrange(12), *range(100 + 5 * i, 105 + 5 * i))]
        spans = recall_spans(ids, lambda token: token < 20, rng)
        assert 0 < len(spans) <= 10 and spans == sorted(spans)
        assert all(a[1] < b[0] for a, b in pairwise(spans))
        masked = [token for start, stop in spans for token in ids[start:stop] if token < 20]
        assert len(masked) == len(spans), "each span is there for one salient token"
        left, counts = Counter(ids) - Counter(masked), Counter(ids)
        for token in masked:
            assert counts[token] > 1 and left[token] >= 1
        source, target = corrupt(ids, spans, sentinel=1000, end=99)
        assert restore(source, target[:-1], 1000) == ids


def test_there_is_nothing_to_recall_where_nothing_salient_is_repeated():
    assert recall_spans(list(range(50)), lambda token: True, random.Random(0)) == []
    assert recall_spans([7] * 50, lambda token: False, random.Random(0)) == []
    assert recall_spans([], lambda token: True, random.Random(0)) == []


# augmentation

TALKED = "#Person1#: Hi, Tom Smith! Will you call Tom's sister Mary tomorrow?\n#Person2#: Tomorrow, Mr. Smith."
TOLD = "#Person1# asks Tom to call Mary. #Person2# will."
NAME = r"([A-Z][a-z]+)"


def test_names_are_replaced_alike_in_dialogue_and_summary():
    for seed in range(50):
        dialogue, summary = rename(TALKED, TOLD, random.Random(seed), people=1, speakers=0)
        found = re.fullmatch(
            rf"#Person1#: Hi, {NAME} {NAME}! Will you call {NAME}'s sister {NAME} tomorrow\?\n"
            rf"#Person2#: Tomorrow, Mr\. {NAME}\.",
            dialogue,
        )
        tom, smith, again, mary, smith_again = found.groups()
        assert (tom, smith) == (again, smith_again) and len({tom, smith, mary, "Tom", "Smith", "Mary"}) == 6
        assert {tom, mary} <= set(FIRST_NAMES) and smith in SURNAMES
        assert summary == f"#Person1# asks {tom} to call {mary}. #Person2# will."


def test_labels_become_first_names_on_both_sides():
    dialogue = "#Person1#: Ask #Person10#.\n#Person10#: Me, Anna?"
    renamed, summary = rename(dialogue, "#Person10# is asked by #Person1#.", random.Random(0), people=0, speakers=1)
    first, asked, tenth = re.fullmatch(rf"{NAME}: Ask {NAME}\.\n{NAME}: Me, Anna\?", renamed).groups()
    assert asked == tenth and len({first, tenth, "Anna"}) == 3 and {first, tenth} <= set(FIRST_NAMES)
    assert summary == f"{tenth} is asked by {first}."


def test_no_two_people_come_to_share_a_name(monkeypatch):
    # With this few names to choose from, drawing each on its own would soon draw one twice.
    pool = ("Tom", "Mary", "Anna", "Ben", "Carl", "Dora", "Ed")
    monkeypatch.setattr(augmentation, "_NAMES", dict.fromkeys(pool, pool))
    monkeypatch.setattr(augmentation, "FIRST_NAMES", pool)
    for seed in range(50):
        dialogue, _ = rename("#Person1#: Tom?\n#Person2#: Mary?", "", random.Random(seed), people=1, speakers=1)
        assert len(set(re.findall(NAME, dialogue))) == 4


def test_the_same_seed_renames_the_same_and_most_pairs_stay_as_they_are():
    drawn = [rename(TALKED, TOLD, random.Random(seed)) for seed in range(300)]
    assert drawn == [rename(TALKED, TOLD, random.Random(seed)) for seed in range(300)]
    assert 0.4 < drawn.count((TALKED, TOLD)) / 300 < 0.65
    assert rename("nobody here", "", random.Random(0), people=1, speakers=1) == ("nobody here", "")


# pretraining


def test_a_batch_is_a_bucket_of_ended_rows_with_minus_100_behind_the_labels(examples, tokenizer):
    widths = set()
    for step in range(20):
        input_ids, mask, labels = examples.batch(step)
        assert tuple(reversed(input_ids.shape)) in pretraining.BUCKETS and mask.shape == input_ids.shape
        assert labels.shape == (len(input_ids), pretraining.TARGET_LENGTH)
        widths.add(input_ids.shape[1])
        for row, seen, wanted in zip(input_ids, mask, labels, strict=True):
            length = int(seen.sum())
            assert seen[:length].all() and (row[length:] == 0).all() and (row[:length] > 0).all()
            assert row[length - 1] == tokenizer.eos_token_id
            asked = wanted[wanted != -100]
            assert len(asked) and (wanted[len(asked) :] == -100).all() and (asked > 0).all()
            # A target is ended, unless it was cut to fit.
            assert asked[-1] == tokenizer.eos_token_id or len(asked) == pretraining.TARGET_LENGTH
    assert len(widths) > 1


def test_every_objective_is_drawn_and_asked_for_in_its_own_form(examples, tokenizer, monkeypatch):
    spans, prompted = "<extra_id_0>", PROMPT_TEMPLATE.split("{", 1)[0]
    forms = {"reported": prompted, "gap": prompted, "weak": prompted, "spans": spans, "recall": spans}
    assert set(forms) == set(objectives.OBJECTIVES) and sum(objectives.OBJECTIVES.values()) == pytest.approx(1)
    for name, form in forms.items():
        monkeypatch.setattr(pretraining, "OBJECTIVES", {name: 1.0})
        drawn = [examples.one(256, random.Random(seed)) for seed in range(20)]
        texts = [tokenizer.decode(source) for source, _ in drawn]
        # What does not fit with the prompt around it becomes span corruption.
        assert sum(form in text for text in texts) >= (5 if name == "weak" else 15), name
        assert not any(prompted in text for text in texts) or form == prompted, name
        assert any("<extra_id_31>" in text for text in texts) == (name == "gap"), name
        assert all(len(source) <= 256 and len(target) <= 64 for source, target in drawn)


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_depends_on_the_seed_and_the_step_alone(examples, conversations, tokenizer):
    drawn = {step: examples.batch(step) for step in (0, 1, 5)}
    random.seed(99)
    torch.manual_seed(99)
    afresh = Examples(conversations, tokenizer)
    for step in (5, 0, 1):
        assert same(afresh.batch(step), drawn[step])
    other = Examples(conversations, tokenizer, seed=1)
    assert other.batch(0)[0].shape != drawn[0][0].shape or not same(other.batch(0), drawn[0])
    assert drawn[0][0].shape != drawn[1][0].shape or not same(drawn[0], drawn[1])


def test_the_learning_rate_warms_up_holds_and_falls_to_nothing():
    rates = [pretraining.learning_rate(step, 1000) for step in range(1001)]
    assert 0 < rates[0] < rates[75] < rates[149] == rates[500] == rates[700] == pretraining.PEAK_LEARNING_RATE
    assert rates[699] > rates[850] > rates[999] > rates[1000] == 0
    assert rates[850] == pytest.approx(pretraining.PEAK_LEARNING_RATE / 2)


def test_the_start_is_seeded_and_looks_at_the_token_before(tokenizer):
    model = new_model(tokenizer).eval()
    again, plain = new_model(tokenizer), new_model(tokenizer, circuit=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert torch.equal(model.shared.weight, plain.shared.weight)
    model.set_attn_implementation("eager")
    ids = torch.tensor([tokenizer(DIALOGUE).input_ids])
    with torch.inference_mode():
        attention = model.encoder(input_ids=ids, output_attentions=True).attentions[0][0, 0]
    # Row i of the band under the diagonal is how much token i + 1 attends to token i.
    assert attention.diagonal(-1).mean() > 0.9


@pytest.fixture
def narrow(monkeypatch) -> None:
    """The model with all its layers, a quarter as wide, and one core: others' use of the cores would slow each step."""
    monkeypatch.setattr(
        pretraining, "T5Config", lambda **kwargs: T5Config(**{**kwargs, "d_model": 64, "d_kv": 16, "d_ff": 256})
    )
    monkeypatch.setattr(pretraining.os, "cpu_count", lambda: 1)


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(examples, tokenizer, tmp_path, narrow):
    def run(folder: str, **options):
        return pretrain(examples, tokenizer, tmp_path / folder, steps=3, compiled=False, **options)

    def log(folder: str) -> list[dict]:
        return [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]

    whole = run("whole")
    start = new_model(tokenizer)
    assert not torch.equal(start.shared.weight, whole.shared.weight)
    partial = run("cut", stop_at=1)
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 1
    torch.manual_seed(99)
    resumed = run("cut")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert not torch.equal(partial.shared.weight, resumed.shared.weight)
    assert [line["step"] for line in log("whole")] == [3] and [line["step"] for line in log("cut")] == [1, 3]
    # A finished run is handed back, not trained on.
    finished = run("cut")
    assert torch.equal(finished.shared.weight, whole.shared.weight) and len(log("cut")) == 2
    assert not list(tmp_path.glob("*/*.new"))


# packaging


@pytest.fixture(scope="module")
def work(tmp_path_factory, tiny_model, tiny_tokenizer, save_adapter) -> Path:
    """What the stages leave behind, with tiny models in the family's place."""
    folder = tmp_path_factory.mktemp("work")
    for place, seed in (("base", 1), ("full/best", 2)):
        tiny_model(seed).save_pretrained(folder / place)
        tiny_tokenizer.save_pretrained(folder / place)
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, target_modules=["v", "q"])
    save_adapter(tiny_model(1), lora, folder / "lora" / "best", base_name="/somewhere/else/base")
    for name in ("full", "lora"):
        (folder / name / "best" / "train_fingerprints.txt").write_text("0123456789abcdef\n")
    (folder / "pretraining").mkdir()
    lines = [{"step": 20, "loss": 7.5, "seconds": 60}, {"step": 2300, "loss": 3.456, "seconds": 5400}]
    (folder / "pretraining" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, trained in (("full", 1000), ("lora", 29)):
        record = {"config": {"method": name, "epochs": 3}, "steps": 1122, "seconds": 1830, "hardware": "x86, 2 threads",
                  "parameters": 1000, "trained_parameters": trained}  # fmt: skip
        (folder / name / "result.json").write_text(json.dumps(record))
    found = {"signature": {"text": "rouge_score 0.1.2, stemmer"}}
    for system, rouge1 in (("original", 20.0), ("full", 30.0), ("lora", 28.0)):
        for key in ("validation/greedy", "validation/shipped", "selection/shipped"):
            found[f"{system}/{key}"] = {"rouge1": rouge1, "rouge2": 10.0, "rougeL": 18.0, "rougeLsum": 18.5,
                                        "words": 17.25, "grounded": None if system == "original" else 0.9}  # fmt: skip
    (folder / "report.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="module")
def out(work, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    (folder / "models" / "dsum-t5-full").mkdir(parents=True)
    (folder / "models" / "dsum-t5-full" / "pytorch_model.bin").write_text("of an earlier version")
    package(work, folder)
    return folder


@pytest.mark.parametrize(("name", "seed"), [("dsum-t5-base", 1), ("dsum-t5-full", 2)])
def test_a_packaged_model_holds_fp16_and_loads_as_fp32(out, tiny_model, tiny_tokenizer, name, seed):
    folder = out / "models" / name
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    loaded = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for parameter, before in zip(loaded.parameters(), tiny_model(seed).parameters(), strict=True):
        assert torch.equal(parameter, before.half().float())
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tiny_tokenizer.get_vocab()
    assert loaded.generation_config.decoder_start_token_id == 0
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", *(["train_fingerprints.txt"] if "full" in name else []),
    }  # fmt: skip


def test_the_packaged_adapter_names_its_base_and_loads_as_fp32(out, work):
    folder = out / "adapters" / "dsum-t5-lora"
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE_NAME and config["inference_mode"] is True
    assert config["target_modules"] == ["q", "v"]
    saved = load_file(folder / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}
    base = AutoModelForSeq2SeqLM.from_pretrained(out / "models" / "dsum-t5-base")
    model = PeftModel.from_pretrained(base, folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    before = load_file(work / "lora" / "best" / "adapter_model.safetensors")
    loaded = {name.replace(".default", ""): tensor for name, tensor in model.state_dict().items() if "lora_" in name}
    assert loaded.keys() == before.keys()
    assert all(torch.equal(tensor, before[name].half().float()) for name, tensor in loaded.items())


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        ("models/dsum-t5-base", ["2,300 steps", "90 minutes", "loss 3.46", "20.00 | 10.00 | 18.00 | 18.50 | 17.2 | –"]),
        ("models/dsum-t5-full", ["1,000 of them", "1,122 steps in 30 minutes", "method full, epochs 3", "90.0 %"]),
        ("adapters/dsum-t5-lora", ["29 trained parameters", "2.9 % of 1,000", "recovers 80 %", "x86, 2 threads"]),
    ],
)  # fmt: skip
def test_cards_are_filled_from_what_was_measured(out, place, facts):
    card = (out / place / "README.md").read_text(encoding="utf-8")
    assert "$" not in card and card.startswith("---\nlicense: ")
    assert "rouge_score 0.1.2, stemmer" in card
    for fact in facts:
        assert fact in card


def test_nothing_is_written_before_all_figures_are_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        package(tmp_path / "unmade", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# the report


def test_the_report_scores_the_trio_and_keeps_the_order_of_the_dialogues(work, tiny_tokenizer):
    trio = load_trio(work)
    assert list(trio) == ["original", "full", "lora"] and not any(model.training for model in trio.values())
    decode = DecodingConfig(max_new_tokens=6)
    dialogues = [
        "Tom: Hi.\nMaya: Hello, Tom! Are you free on Friday?",
        "Tom: Hi.",
        "Maya: Can you lend me ten dollars?",
    ]
    texts = {name: summarize_all(model, tiny_tokenizer, dialogues, decode) for name, model in trio.items()}
    assert len({tuple(written) for written in texts.values()}) == 3, "three models, three outputs"
    # Batches are sorted by length; the texts keep the order of the dialogues.
    alone = [summarize_all(trio["full"], tiny_tokenizer, [dialogue], decode)[0] for dialogue in dialogues]
    assert texts["full"] == alone
    rows = [{"dialogue": "Tom: Hi, Maya.", "summary": "Tom greets Maya."}, {"dialogue": "Ann: No.", "summary": "Ann."}]
    found = scores(rows, ["Tom greets Maya.", "Then Bob declines it."])
    assert (found["rouge1"], found["words"]) == (50.0, 3.5)
    assert found["grounded"] == pytest.approx(2 / 3), "Tom and Maya, but not Bob"


# the command line


def test_each_epoch_has_other_names_determined_by_the_seed(data):
    rows, _ = dialogsum_train(data)
    pairs = training_pairs(rows, epochs=3, seed=1)
    assert len(pairs) == 3 * len(rows) and pairs == training_pairs(rows, epochs=3, seed=1)
    passes = [pairs[i * len(rows) : (i + 1) * len(rows)] for i in range(3)]
    assert passes[0] != passes[1] != passes[2] and pairs != training_pairs(rows, epochs=3, seed=2)


def recipes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recipes", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=240
    )


def test_a_folder_without_data_is_refused(tmp_path):
    result = recipes("--data", str(tmp_path), "--work", str(tmp_path / "work"))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"{tmp_path} holds no dialogsum/train.jsonl.gz" in result.stderr
    assert not (tmp_path / "work").exists()


def test_an_unknown_stage_is_refused_and_the_stages_are_named(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["--data", str(data), "--work", str(tmp_path / "work"), "--stages", "tokenizer,distil"])
    assert refused.value.code == 2
    error = capsys.readouterr().err
    assert "'distil'" in error and "tokenizer, pretrain, full, lora, report, package" in error
    assert not (tmp_path / "work").exists()


def test_a_stage_is_made_once(data, tmp_path, capsys):
    arguments = ["--data", str(data), "--work", str(tmp_path), "--stages", "tokenizer"]
    assert main(arguments) == 0
    file = tmp_path / "tokenizer" / "tokenizer.json"
    made = file.read_bytes()
    file.write_bytes(made + b" ")
    assert main(arguments) == 0
    assert file.read_bytes() == made + b" " and "tokenizer: already made" in capsys.readouterr().out
    file.write_bytes(made)
    assert AutoTokenizer.from_pretrained(tmp_path / "tokenizer")("#Person1#").input_ids[-1] == 1
