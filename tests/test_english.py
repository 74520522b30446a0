"""The rule of CONTRIBUTING.md, "English": docstrings, comments, messages, test names and documents use plain terms."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A phrase to avoid, and what to write instead.
PHRASES = {
    r"(cannot|can|could|may) be had": "is (not) available",
    r"says|said|told|tells": "reports, shows, names, contains",
    r"nobody|somebody|whoever|everybody|anybody": "the user, the program, or the passive",
    r"(stands?|stood) (in|on|at|beside|here|there|for|before|after|above|below|under|first|elsewhere)": "is, appears",
    r"(lies|lay|lie) (in|on|at|beside|here|there|before|under|where|outside|below)": "is in, is stored in",
    r"(goes|went|going) on|(?<!as it )go on": "continues, resumes",
    r"anew|mend(s|ed)?": "again; fix",
    r"of (yours|its own|their own|one's own|his own)": "your X, its own X",
    r"(in|into|out of) the line|waits? for (its|their) turn": "queue, queued",
    r"(that|which) there (is|are) not|where there (is|are|was|were)": "unknown X; if there is an X",
    r"(has|have|had) to (be|name|have|come|go)": "must",
    r"catalogue": "catalog",
    r"in a sentence|without a word|in a word": "with an error message",
    r"what (it|they) (is|are|was|were) made of|worth the name|as far as|all that it": "name the thing",
    r"knows? (nothing|no) |nothing of": "does not depend on",
    r"suffices?": "is (not) enough",
    r"an? (row|line|turn|system|step|batch|file|run|text|model|summary|second) "
    r"a (row|line|turn|system|step|batch|file|run|text|model|summary|second)": "one X per Y",
    r"(?<!there )(is|are|was|were) no (\w+ )?(numbers?|dialogues?|text|summary|pickle)": "is not a X",
    r"(cut|broke|broken) (short|off)": "truncated, interrupted",
    r"the (plain|short) ways?": "the unmodified code; fast path",
}
PATTERN = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in PHRASES), re.IGNORECASE)

# Data, and texts written by users.
DATA = ("samples/", "evaluations/", "studies/", "tests/fixtures/", "recipes/objectives.py", "tests/test_english.py")


def files() -> list[str]:
    folders = ("dsum_demo", "tests", "recipes", "benchmarks", "metrics", "docs", "models", "adapters")
    found = [*ROOT.glob("*.md"), *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    names = [str(file.relative_to(ROOT)) for file in found if file.suffix in {".py", ".md", ".toml", ".js", ".css"}]
    return sorted(name for name in names if not name.startswith(DATA))


def texts(name: str, content: str) -> list[tuple[int, str]]:
    """Line numbers and texts: of Python the comments, strings and test names; strings in tests quote data."""
    if not name.endswith(".py"):
        return list(enumerate(content.split("\n## 0.")[0].splitlines(), 1))  # without released changes
    found = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.STRING and token.string.startswith('"""\n'):
            continue  # a list of words
        is_docstring = token.type == tokenize.STRING and token.string.startswith('"""')
        is_message = token.type == tokenize.STRING and not name.startswith("tests/") and " " in token.string
        if token.type == tokenize.COMMENT or is_docstring or is_message:
            found.append((token.start[0], re.sub(r"\{[^{}]*\}", "…", " ".join(token.string.split()))))
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            found.append((token.start[0], token.string.replace("_", " ")))
    return found


@pytest.mark.parametrize("phrase", ["The model cannot be had.", "It goes on.", "as they stand there", "a row a system"])
def test_the_pattern_finds_a_phrase(phrase):
    assert PATTERN.search(phrase)


def test_texts_use_plain_terms():
    found = []
    for name in files():
        content = (ROOT / name).read_text(encoding="utf-8")
        if PATTERN.search(content.replace("_", " ")):  # most files need no tokens
            for line, text in texts(name, content):
                for match in PATTERN.finditer(text):
                    instead = next(new for old, new in PHRASES.items() if re.fullmatch(old, match[0], re.IGNORECASE))
                    found.append(f"{name}:{line}: {match[0]!r}; write: {instead}")
    assert not found, "\n".join(["Write plain terms:", *found])
