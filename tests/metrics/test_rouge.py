"""ROUGE compared with hand-computed values and rouge_score; sentences, names and numbers, signatures."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from dsum_demo.errors import InputError
from dsum_demo.metrics.grounding import grounded_share, names_and_numbers, ungrounded
from dsum_demo.metrics.rouge import MAX_LCS_CELLS, ROUGE_TYPES, has_tokens, split_sentences
from dsum_demo.metrics.scores import POLICIES, Score, mean_scores, score_summary, signature

ZERO = Score(0.0, 0.0, 0.0)
seeded = settings(deadline=None, derandomize=True, database=None, max_examples=60)
texts = st.text(max_size=80)
# Few words and many sentence ends, so that texts often overlap.
sentences = st.lists(st.sampled_from("Tom tom. talks talking? Maya! 10 $25 café\n".split(" ")), max_size=25).map(
    " ".join
)


def has_a_word(text: str) -> bool:
    return any(c in "abcdefghijklmnopqrstuvwxyz0123456789" for c in text.lower())


def f1(prediction: str, *references: str, policy: str = "mean") -> list[float]:
    scores = score_summary(prediction, references, policy)
    return [scores[rouge].fmeasure for rouge in ROUGE_TYPES]


def test_scores_of_a_prefix_of_the_reference_match_hand_computed_values():
    scores = score_summary("the cat sat", ["the cat sat on the mat"])
    assert list(scores) == list(ROUGE_TYPES)
    # 3 of 3 and 3 of 6 words; 2 of 2 and 2 of 5 bigrams.
    assert scores["rouge1"] == scores["rougeL"] == scores["rougeLsum"] == Score(1.0, 0.5, pytest.approx(2 / 3))
    assert scores["rouge2"] == Score(1.0, 0.4, pytest.approx(4 / 7))


def test_scores_match_the_example_in_rouge_scores_documentation():
    scores = score_summary("The quick brown dog jumps on the log.", ["The quick brown fox jumps over the lazy dog"])
    assert scores["rouge1"] == Score(0.75, pytest.approx(2 / 3), pytest.approx(0.705882, abs=1e-6))
    assert scores["rougeL"] == Score(0.625, pytest.approx(5 / 9), pytest.approx(0.588235, abs=1e-6))


def test_lsum_compares_sentences_and_l_whole_texts():
    scores = score_summary("Tom pays Maya. Maya thanks Tom.", ["Maya thanks Tom. Tom pays Maya."])
    assert scores["rougeL"].fmeasure == 0.5
    assert scores["rougeLsum"].fmeasure == 1.0


def test_forms_of_a_word_match_through_the_stemmer():
    assert f1("Talking", "talks")[0] == 1.0


def test_scores_of_several_references_follow_the_policy():
    references = ["a b c d", "a b"]
    # against the first 1, 1/2, 2/3; against the second 1, 1, 1
    assert score_summary("a b", references)["rouge1"] == Score(1.0, 0.75, pytest.approx(5 / 6))
    assert score_summary("a b", references, "best")["rouge1"] == Score(1.0, 1.0, 1.0)
    assert score_summary("a b", references, "first")["rouge1"] == Score(1.0, 0.5, pytest.approx(2 / 3))


def test_policy_best_chooses_a_reference_per_rouge_type():
    # The first shares three of four words and no bigram, the second two words and one of three bigrams.
    scores = score_summary("a b c d", ["a c b x", "b c y z"], "best")
    assert scores["rouge1"].fmeasure == 0.75
    assert scores["rouge2"].fmeasure == pytest.approx(1 / 3)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_the_same_for_one_reference(policy):
    assert f1("Tom pays", "Tom pays Maya", policy=policy) == f1("Tom pays", "Tom pays Maya")


@seeded
@given(st.one_of(texts, sentences), st.one_of(texts, sentences))
def test_scores_equal_those_of_rouge_score(prediction, reference):
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(reference, prediction)
    ours = score_summary(prediction, [reference])
    if not has_tokens(reference):
        assert ours == {} and {score.fmeasure for score in theirs.values()} == {0}
        return
    for rouge, score in theirs.items():
        assert ours[rouge] == Score(*score)
    lines = ["\n".join(split_sentences(text)) for text in (reference, prediction)]
    assert ours["rougeLsum"] == Score(*RougeScorer(["rougeLsum"], use_stemmer=True).score(*lines)["rougeLsum"])


@seeded
@given(st.one_of(texts, sentences))
def test_a_text_with_words_scores_1_against_itself(text):
    assume(has_a_word(text))
    one, _, longest, by_sentence = f1(text, text)
    assert one == longest == by_sentence == 1.0


@seeded
@given(sentences)
def test_texts_without_common_words_score_0(text):
    assert set(score_summary(text, ["zebras quarrel below", "öäü"]).values()) == {ZERO}


@seeded
@given(sentences, st.lists(sentences, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_mean_does_not_depend_on_the_order_of_references(text, references, random):
    shuffled = random.sample(references, len(references))
    assert score_summary(text, references) == score_summary(text, shuffled)


@pytest.mark.parametrize("empty", ["", " \n\t", "?!", "…", "😀", "東京"])
def test_a_text_without_words_scores_0_as_summary_and_has_no_score_as_reference(empty):
    assert set(score_summary(empty, ["Tom pays"]).values()) == {ZERO}
    assert score_summary("Tom pays", [empty]) == score_summary(empty, [empty]) == {}


def test_rouge_2_of_one_word_is_0():
    assert f1("Tom", "tom") == [1.0, 0.0, 1.0, 1.0]


def test_one_long_text_is_scored_and_two_long_texts_are_rejected_without_delay():
    long, started = "Tom pays Maya ten dollars. " * 2000, time.monotonic()
    scores = score_summary(long, ["Tom pays Maya ten dollars."])
    assert scores["rouge1"].precision == pytest.approx(1 / 2000) and scores["rouge1"].recall == 1.0
    with pytest.raises(InputError, match=r"summary has 10,000 words and the reference 10,000: .*shorten"):
        score_summary(long, [long])
    # rouge_score splits words at punctuation.
    with pytest.raises(InputError, match="shorten"):
        score_summary("a-" * 10_000, ["b-" * (MAX_LCS_CELLS // 10_000 + 1)])
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("references", "policy", "message"),
    [
        ([], "mean", "references is empty"),
        ("Tom pays", "mean", "list of texts"),
        (["Tom pays"], "median", "'median'; choose one of: mean, best, first"),
    ],
)
def test_invalid_references_and_policies_are_rejected(references, policy, message):
    with pytest.raises(InputError, match=message):
        score_summary("Tom pays", references, policy)


def test_mean_scores_average_precision_recall_and_f1():
    rows = [{"rouge1": Score(1.0, 0.5, 0.6)}, {"rouge1": Score(0.0, 0.0, 0.0)}]
    assert mean_scores(rows) == {"rouge1": Score(0.5, 0.25, 0.3)}
    with pytest.raises(InputError, match="no scores"):
        mean_scores([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom pays. Maya smiles! Why? Nobody knows", ["Tom pays.", "Maya smiles!", "Why?", "Nobody knows"]),
        ("one\n\n two \r\nthree\rfour", ["one", "two", "three", "four"]),
        ("He says “no. (Yes!)” She nods.", ["He says “no.", "(Yes!)”", "She nods."]),
        ('He says "Go." She says (no!) Tom waits.”  Done', ['He says "Go."', "She says (no!)", "Tom waits.”", "Done"]),
        ("Mr. and Mrs. Smith see Dr. Lee, Prof. Ray and Ms. J. Fox on St. John.", None),
        ("It rains, i.e. it pours, e.g. now.", None),
        ("At 9 a.m. he left, at 9.30 p.m. he came back.", None),
        ("He left at 9 a.m. She came at 10 p.m.", ["He left at 9 a.m.", "She came at 10 p.m."]),
        ("It costs $3.5 or 1.000 a day.", None),
        ("So do I. Tom agrees.", ["So do I.", "Tom agrees."]),
        ("The firm. Then", ["The firm.", "Then"]),
        ("Really?!  Yes...  no", ["Really?!", "Yes...", "no"]),
        ("", []),
        (" \n\t\n ", []),
    ],
)
def test_split_sentences(text, expected):
    assert split_sentences(text) == ([text] if expected is None else expected)


@seeded
@given(st.text(alphabet="aI.!?\"' \nM", max_size=60))
def test_splitting_removes_only_white_space(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Then Maya's brother calls Peter Wilson.", ["Maya", "Peter", "Wilson"]),
        ("#Person1# asks #Person2#'s son, and #Person1# waits.", ["#Person1#", "#Person2#"]),
        ("She pays $25 or 1,000 yen at 10:30, and 12.5% more on the 3rd.", ["25", "1,000", "10:30", "12.5", "3"]),
        ("Students meet. IKEA opens on Monday. Friday suits them.", ["IKEA", "Monday", "Friday"]),
        ("Tom waits. He calls Maya. Maya says that Tom is late.", ["Tom", "Maya"]),
        ("Yesterday I said that I'm, I’ll and I've had lunch with Mr. O'Brien at 9 PM.", ["O'Brien", "9"]),
        ("Mr. Smith's dog and Zoë’s cat like Łukasz.", ["Smith", "Zoë", "Łukasz"]),
        ("May they march in March?", ["March"]),
        ("Maras calls Tom. Brian's late.", ["Maras", "Tom", "Brian"]),
        ("Finally Tom pays. Seeing that, both leave. Talking helps. Luckily it works.", ["Tom"]),
        ("Will pays. Emily waits. A dog barks. Will it rain?", ["Emily"]),
        ("The New York-based firm", ["New", "York"]),
        ("nothing to see, three of them", []),
        ("", []),
    ],
)
def test_names_and_numbers(summary, expected):
    assert names_and_numbers(summary) == expected


DIALOGUE = (
    "#Person1#: Hi, TOM! Can Maya’s brother lend me 1,000 dollars at nine o'clock?\n"
    "#Person2#: Sure, three weeks from monday, Mr. O'Neill."
)


@pytest.mark.parametrize(
    ("summary", "share"),
    [
        ("#Person1# asks Tom for $1000 on Monday at 9:00.", 1.0),
        ("He owes Maya 3 weeks.", 1.0),
        ("#Person1# asks #Person3#.", 0.5),
        ("He asks Tom, Ann and Bob for 20 dollars.", 0.25),
        ("He asks O’Neill.", 1.0),
        # Whole words only: "Mo" does not match Monday, and 100 does not match 1,000.
        ("He asks Mo for 100.", 0.0),
        ("They talk.", None),
    ],
)
def test_grounded_share_of_one_summary(summary, share):
    assert grounded_share([(summary, DIALOGUE)]) == share


@pytest.mark.parametrize(
    ("summary", "invented"),
    [
        ("Maras asks Tom.", ["Maras"]),
        ("Tom waits. Brian pays. Maras leaves and Brian stays.", ["Brian", "Maras"]),
        # Forms of words that are lower case in the dialogue are not names; forms of names may be invented names.
        ("Brothers lend dollars. Mayas calls.", ["Mayas"]),
        ("However, they agree. Three weeks pass.", []),
    ],
)
def test_an_invented_name_at_the_start_of_a_sentence_is_reported(summary, invented):
    assert ungrounded(summary, DIALOGUE) == invented


def test_grounded_share_pools_all_names_and_checks_each_in_its_dialogue():
    pairs = [("He asks Tom.", "Tom: hi"), ("He asks Ann, Ann and Bob.", "Tom: hi, Bob"), ("They talk.", "")]
    assert grounded_share(pairs) == pytest.approx(2 / 3)
    assert grounded_share([]) is None


def test_a_signature_has_the_same_information_as_text_and_as_fields():
    made = signature(n=500, references=3)
    library = version("rouge_score")
    assert made.text == f"rouge_score {library}, stemmer, F1, mean over 3 references, Lsum split by dsum, n=500"
    assert made.as_dict() == {
        "text": made.text, "library": "rouge_score", "version": library, "stemmer": True, "lsum_split": "dsum",
        "policy": "mean", "references": 3, "n": 500,
    }  # fmt: skip


def test_the_signature_names_the_policy_only_with_several_references():
    assert "best of 3 references" in signature(n=1, references=3, policy="best").text
    assert "first of 2 references" in signature(n=1, references=2, policy="first").text
    assert "F1, 1 reference, Lsum" in signature(n=1, references=1, policy="best").text
    with pytest.raises(InputError, match="worst"):
        signature(n=1, references=1, policy="worst")


def test_importing_metrics_imports_no_heavy_packages():
    code = "import dsum_demo.metrics.rouge, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    heavy = {"torch", "transformers", "peft", "datasets", "gradio", "plotly", "rouge_score", "nltk", "numpy"}
    assert heavy.isdisjoint(loaded.split())
