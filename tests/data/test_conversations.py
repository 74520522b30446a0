"""Pasted and exported conversations: rendered in every format and read back, and other texts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsum_demo.data.conversations.reader import read_conversation
from dsum_demo.data.dialogues import count_turns, speakers

Message = tuple[str, list[str]]  # who, and the lines of the message

NAMES = [
    "Ivo", "Petra Vogel", "Jean-Luc", "Siobhan O'Hara", "Dr. Amara Okafor", "Łukasz", "Speaker 2", "Zoë van Dyk",
    "María José", "مريم", "דנה", "小林", "Anil", "Beatriz da Costa",
]  # fmt: skip
# Messages that contain text like stamps, notices and names.
SAYINGS = [
    "Shall we meet at 4:30 or on 12/03/2024 at 10:15?", "Here is the plan: we take the 7:05 train.",
    "It costs 1:2 more than [12:03] said.", "See https://example.com/a:b?c=1 for it.", "ok", "No, Monday.",
    "He asked: are you coming? I said: no!", "😀 great", "- bread, milk", "Note: bring 3 chairs.", "¿Vienes mañana?",
    "10:30 works for me.", "We said good-bye at 9:00 PM", "the file <b> is missing", "3 people, maybe 4.",
]  # fmt: skip


@st.composite
def messages(draw: st.DrawFn, most_lines: int = 3) -> list[Message]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    said = st.lists(st.sampled_from(SAYINGS), min_size=1, max_size=most_lines)
    tail = draw(st.lists(st.tuples(st.sampled_from(names), said), min_size=0, max_size=8))
    return [(names[0], draw(said)), (names[1], draw(said)), *tail]


def turns(chat: Sequence[Message]) -> list[str]:
    return [f"{who}: {' '.join(lines)}" for who, lines in chat]


def in_lines(stamp: Callable[[int], str]) -> Callable[[Sequence[Message]], str]:
    """A format in which messages start with a stamp and `Name: `."""
    return lambda chat: "\n".join(f"{stamp(i)}{who}: " + "\n".join(lines) for i, (who, lines) in enumerate(chat))


def in_blocks(head: Callable[[int, str], str], gap: str = "\n\n") -> Callable[[Sequence[Message]], str]:
    """A format in which messages are below a line with name and stamp."""
    return lambda chat: gap.join("\n".join([head(i, who), *lines]) for i, (who, lines) in enumerate(chat))


def cues(begin: str, comma: str, head: Callable[[str, str], str], ids: Callable[[int], str]):
    def render(chat: Sequence[Message]) -> str:
        blocks = []
        for i, (who, lines) in enumerate(chat):
            time = f"00:{i:02}:05{comma}100 --> 00:{i:02}:09{comma}900"
            blocks.append(f"{ids(i)}{time}\n{head(who, chr(10).join(lines))}")
        return begin + "\n\n".join(blocks) + "\n"

    return render


def minutes(i: int) -> str:
    return f"{(7 * i) % 60:02}"


def bytes_as_text(text: str) -> str:
    """UTF-8 read as Latin-1, as Facebook writes it."""
    return text.encode().decode("latin-1")


def half(i: int) -> str:
    return "AP"[i % 2]


FORMATS: dict[str, Callable[[Sequence[Message]], str]] = {
    "WhatsApp, Android, 24 h": in_lines(lambda i: f"{1 + i:02}/11/2023, 18:{minutes(i)} - "),
    "WhatsApp, Android, 12 h": in_lines(lambda i: f"{1 + i}/9/23, {1 + i}:{minutes(i)}\u202f{half(i)}M - "),
    "WhatsApp, iOS": in_lines(lambda i: f"\u200e[{1 + i:02}.11.23, 18:{minutes(i)}:33] "),
    "WhatsApp, iOS, 12 h": in_lines(lambda i: f"[11/{1 + i}/23, {1 + i}:{minutes(i)}:09\u202f{half(i)}M] "),
    "WhatsApp, Spanish": in_lines(lambda i: f"{1 + i}/9/23 {1 + i}:{minutes(i)} {half(i).lower()}.\u00a0m. - "),
    "WhatsApp, German": in_lines(lambda i: f"{1 + i:02}.09.23 um 18:{minutes(i)} - "),
    "WhatsApp, Portuguese": in_lines(lambda i: f"{1 + i:02}/09/2023 às 18:{minutes(i)} - "),
    "WhatsApp, French": in_lines(lambda i: f"{1 + i:02}/09/2023 à 18:{minutes(i)} - "),
    "WhatsApp, Chinese": in_lines(lambda i: f"2023/9/{1 + i} {'上下'[i % 2]}午{1 + i}:{minutes(i)} - "),
    "WhatsApp, Chinese date": in_lines(lambda i: f"[2023年9月{1 + i}日 18:{minutes(i)}:07] "),
    "WhatsApp Web": in_lines(lambda i: f"[{1 + i}:{minutes(i)} {half(i)}M, 9/{1 + i}/2023] "),
    "WhatsApp, Korean": in_lines(lambda i: f"2023년 9월 {1 + i}일 오{'전후'[i % 2]} {1 + i}:{minutes(i)}, "),
    "WhatsApp, Japanese": in_lines(lambda i: f"[2023年9月{1 + i}日(土) 18:{minutes(i)}:07] "),
    "Signal": in_lines(lambda i: f"[2023-09-{1 + i:02} 18:{minutes(i)}] "),
    "ISO log": in_lines(lambda i: f"2023-09-{1 + i:02}T18:{minutes(i)}:10Z "),
    "bracketed times": in_lines(lambda i: f"[18:{minutes(i)}] "),
    "Telegram, new": in_blocks(lambda i, who: f"{who}, [{1 + i:02}.09.2023 18:{minutes(i)}]"),
    "Telegram, old": in_blocks(lambda i, who: f"{who} [{1 + i:02}.09.23 18:{minutes(i)}]"),
    "Slack, one line": in_blocks(lambda i, who: f"{who}  {1 + i}:{minutes(i)} {half(i)}M", "\n"),
    "Slack, two lines": in_blocks(lambda i, who: f"{who}\n  {1 + i}:{minutes(i)} {half(i)}M"),
    "Discord": in_blocks(lambda i, who: f"{who} — Yesterday at {1 + i}:{minutes(i)} {half(i)}M", "\n"),
    "Discord, dated": in_blocks(lambda i, who: f"{who} — {1 + i:02}/09/2023 18:{minutes(i)}", "\n"),
    "Discord, three lines": in_blocks(lambda i, who: f"{who}\n — \n{1 + i:02}/09/2023 18:{minutes(i)}", "\n"),
    "Discord, exported": in_blocks(lambda i, who: f"[{1 + i:02}-Sep-23 0{1 + i % 9}:{minutes(i)} PM] {who}"),
    "Slack, with a status below": in_blocks(lambda i, who: f"{who}\n:palm_tree:  {1 + i % 9}:{minutes(i)} {half(i)}M"),
    "Teams copy, with a comma": in_blocks(lambda i, who: f"{who}, Yesterday {1 + i % 9}:{minutes(i)} {half(i)}M", "\n"),
    "Zoom transcript": in_blocks(lambda i, who: f"[{who}] 18:{minutes(i)}:44"),
    "iMessage": in_blocks(lambda i, who: f"Sep {1 + i:02}, 2023  {1 + i % 9}:{minutes(i)}:01 {half(i)}M\n{who}"),
    "Messenger copy": in_blocks(lambda i, who: f"{who} sent", "\n"),
    "printed mails": in_blocks(
        lambda i, who: (
            f"{who} <a{i}@example.org>\tFri, Sep {1 + i}, 2023 at {1 + i % 9}:{minutes(i)} AM\nTo: b@example.org"
        )
    ),
    "Teams copy": in_blocks(lambda i, who: f"[9/{1 + i} {1 + i}:{minutes(i)} {half(i)}M] {who}", "\n"),
    "Teams in Word": in_blocks(lambda i, who: f"{who}   {i}:{minutes(i)}"),
    "Otter": in_blocks(lambda i, who: f"{who}  {i}:{minutes(i)} "),
    "Rev": in_blocks(lambda i, who: f"{who} (00:{i:02}:{minutes(i)}):", "\n"),
    "Slack, with a status": in_blocks(lambda i, who: f"{who} :palm_tree:  {1 + i}:{minutes(i)} {half(i)}M", "\n"),
    "Rev, with a colon first": in_blocks(lambda i, who: f"{who}: (00:{i:02}:{minutes(i)})"),
    "QQ, name first": in_blocks(lambda i, who: f"{who}({10_000 + len(who)}) 18:{minutes(i)}:20", "\n"),
    "QQ": in_blocks(lambda i, who: f"2023-09-{1 + i:02} 18:{minutes(i)}:20 {who}({10_000 + len(who)})"),
    "WeChat": in_blocks(lambda i, who: f"{who}:"),
    "WebVTT, Teams": cues(
        "WEBVTT\n\n", ".", lambda who, text: f"<v {who}>{text}</v>", lambda i: f"5d3{i:05x}-11ab/{i}-0\n"
    ),
    "WebVTT, Zoom": cues("WEBVTT\n\n", ".", lambda who, text: f"{who}: {text}", lambda i: f"{i + 1}\n"),
    "SRT": cues("", ",", lambda who, text: f"{who}: {text}", lambda i: f"{i + 1}\n"),
    "Signal, time below": lambda chat: "\n".join(
        "\n".join([who, *lines, f"{1 + i % 9}:{minutes(i)} {half(i)}M"]) for i, (who, lines) in enumerate(chat)
    ),
    "Signal, minutes below": lambda chat: "\n".join(
        "\n".join([who, *lines, f"{len(chat) - i} min"]) for i, (who, lines) in enumerate(chat)
    ),
    "Signal, German": lambda chat: "\n".join(
        "\n".join([who, *lines, f"vor {len(chat) - i} Std."]) for i, (who, lines) in enumerate(chat)
    ),
    "minutes above the name": in_blocks(lambda i, who: f"{40 - i} min\n{who}", "\n"),
    "hours below the name": in_blocks(lambda i, who: f"{who}\n{23 - i} hours ago", "\n"),
    "Google Chat": in_blocks(lambda i, who: f"{who}, {['Yesterday', 'Tuesday'][i % 2]} {1 + i}:{minutes(i)} PM", "\n"),
    "Discord, with replies": lambda chat: "\n".join(
        "\n".join([*_reply(chat, i), f"{who} — {1 + i:02}/09/2023 18:{minutes(i)}", *lines, "Image", "(edited)"])
        for i, (who, lines) in enumerate(chat)
    ),
    "Zoom chat": lambda chat: "\n".join(
        f"18:{minutes(i)}:44\t From  {who}  to  Everyone:\n" + "\n".join(f"\t{line}" for line in lines)
        for i, (who, lines) in enumerate(chat)
    ),
    "KakaoTalk": lambda chat: "\n".join(
        f"[{who}] [오{'전후'[i % 2]} {1 + i % 9}:{minutes(i)}] " + "\n".join(lines)
        for i, (who, lines) in enumerate(chat)
    ),
    "tabs, WeeChat": lambda chat: "\n".join(
        f"2023-09-01 18:{minutes(i)}:10\t{'@' * (i % 2)}{who}\t{' '.join(lines)}" for i, (who, lines) in enumerate(chat)
    ),
    "tabs, LINE": lambda chat: (
        "[LINE] Chat history\n\n2023/09/01(Fri)\n"
        + "\n".join(f"18:{minutes(i)}\t{who}\t" + "\n".join(lines) for i, (who, lines) in enumerate(chat))
    ),
    "pairs": lambda chat: json.dumps([[who, "\n".join(lines)] for who, lines in chat]),
    "objects by speaker": lambda chat: json.dumps([{who: "\n".join(lines)} for who, lines in chat]),
    "other keys": lambda chat: json.dumps(
        {"result": {"Sentences": [{"Speaker Name": who, "transcript": "\n".join(lines)} for who, lines in chat]}}
    ),
    "nodes, ChatGPT": lambda chat: json.dumps(
        [
            {
                "title": "x",
                "mapping": {
                    str(i): {"id": i, "message": {"author": {"role": who}, "content": {"parts": ["\n".join(lines)]}}}
                    for i, (who, lines) in enumerate(chat)
                },
            }
        ]
    ),
    "newest first, Messenger": lambda chat: json.dumps(
        {
            "participants": [],
            "messages": [
                {"sender_name": bytes_as_text(who), "timestamp_ms": i, "content": bytes_as_text("\n".join(lines))}
                for i, (who, lines) in reversed(list(enumerate(chat)))
            ],
        }
    ),
    "turn list": lambda chat: json.dumps([{"speaker": who, "text": "\n".join(lines)} for who, lines in chat]),
    "turn lines": lambda chat: "\n".join(json.dumps({"from": who, "value": "\n".join(lines)}) for who, lines in chat),
    "chat messages": lambda chat: json.dumps(
        {"messages": [{"role": who, "content": [{"type": "text", "text": "\n".join(lines)}]} for who, lines in chat]}
    ),
    "Telegram export": lambda chat: json.dumps(
        {
            "name": "x",
            "type": "private_group",
            "messages": [
                {
                    "type": "message",
                    "from": who,
                    "text": ["\n".join(lines[:-1]) + "\n", {"type": "bold", "text": lines[-1]}],
                }
                for who, lines in chat
            ],
        }
    ),
    "table": lambda chat: _table(chat),
    "Markdown": lambda chat: "\n".join(f"**{who}:** " + "\n".join(lines) for who, lines in chat),
}


def _reply(chat: Sequence[Message], i: int) -> list[str]:
    """The lines above an answer that quote the previous message."""
    if not i:
        return []
    quoted = chat[i - 1][0], chat[i - 1][1][0]
    return [[f"{chat[i][0]} replied to {quoted[0]}", quoted[1]], [f"@{quoted[0]}", quoted[1]], list(quoted)][i % 3]


def _table(chat: Sequence[Message]) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerows([("Author", "Content"), *((w, "\n".join(lines)) for w, lines in chat)])
    return file.getvalue()


def merged(chat: Sequence[Message]) -> list[Message]:
    """Cues of one speaker that end without punctuation are joined with the next cue."""
    joined: list[Message] = []
    for who, lines in chat:
        if joined and joined[-1][0] == who and joined[-1][1][-1][-1] not in ".?!":
            joined[-1] = who, [*joined[-1][1], *lines]
        else:
            joined.append((who, lines))
    return joined


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(chat=messages())
def test_turns_rendered_in_a_format_are_read_back(name, chat):
    if "times" in name or "Teams in Word" in name or "Otter" in name:
        assume(all(not line[0].isdigit() for _, lines in chat for line in lines))
    if name in ("WebVTT, Teams", "WebVTT, Zoom", "SRT"):
        chat = merged(chat)
        chat = [(who, [line.replace("<b>", "b") for line in lines]) for who, lines in chat]
    reading = read_conversation(FORMATS[name](chat))
    assert reading.dialogue.split("\n") == turns(chat)
    assert reading.format
    assert reading.turns == len(chat)
    assert list(reading.speakers) == list(dict.fromkeys(who for who, _ in chat))
    assert read_conversation(reading.dialogue).dialogue == reading.dialogue


def lines_of(text: str) -> list[str]:
    return read_conversation(text).dialogue.split("\n")


@settings(max_examples=100, deadline=None)
@given(chat=messages(most_lines=1), labels=st.sampled_from(["names", "persons"]))
def test_dialogues_in_the_output_format_are_not_changed(chat, labels):
    people = list(dict.fromkeys(who for who, _ in chat))
    if labels == "persons":
        chat = [(f"#Person{1 + people.index(who)}#", lines) for who, lines in chat]
    text = "\n".join(turns(chat))
    reading = read_conversation(text)
    assert (reading.dialogue, reading.format, reading.dropped) == (text, "", {})
    assert reading.turns == len(chat)


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(st.sampled_from([
    *SAYINGS, "The rain did not stop before 6:00 PM", "She wrote on 5 March 2024, 10:00 - a Tuesday.",
    "12/03/2024, 14:05 - the shop closed: nobody came back.", "Conclusion: there is none.",
]), min_size=1, max_size=8, unique=True))  # fmt: skip
def test_prose_is_not_changed(lines):
    reading = read_conversation("\n".join(lines))
    assert reading.dialogue == "\n".join(lines) and reading.format == "" and reading.speakers == ()


@pytest.mark.parametrize(
    ("text", "left", "dropped"),
    [
        (
            "3/9/23, 18:00 - Nachrichten sind Ende-zu-Ende-verschlüsselt.\n"
            "3/9/23, 18:00 - Petra hat die Gruppe „Umzug: Mai“ erstellt\n"
            "3/9/23, 18:01 - ~ Ivo Marek: Wer kommt?\n3/9/23, 18:02 - Petra: <Medien ausgeschlossen>\n"
            "3/9/23, 18:03 - Petra: Diese Nachricht wurde gelöscht\n3/9/23, 18:04 - Ivo Marek: Na?\n"
            "3/9/23, 18:05 - Petra: Ich <Diese Nachricht wurde bearbeitet>",
            ["Ivo Marek: Wer kommt?", "Ivo Marek: Na?", "Petra: Ich"],
            {"notices": 4},
        ),
        (
            "[03.09.23, 18:00:01] Umzug: \u200eAnurufe sind sicher.\n[03.09.23, 18:01:01] Ivo: Wer kommt?\n"
            "\u200e[03.09.23, 18:02:01] Petra: \u200eBild weggelassen\n[03.09.23, 18:03:01] Petra: Ich",
            ["Ivo: Wer kommt?", "Petra: Ich"],
            {"notices": 2},
        ),
        (
            "Ivo  6:01 PM\nWho comes?\n:eyes:\n3\n1 reply\nPetra\n  6:02 PM\nI do (edited)\n🎉 2\n6:05\nand Zoë",
            ["Ivo: Who comes?", "Petra: I do", "Petra: and Zoë"],
            {"reactions": 3},
        ),
        (
            "18:00 -!- ivo [~i@h] has joined #move\n18:01 <@ivo> who comes?\n18:02 < petra> me, at 18:30\n"
            "18:03  * petra packs\n18:03 * zoe has joined #move\n18:04 -!- ivo [~i@h] has quit [bye]",
            ["ivo: who comes?", "petra: me, at 18:30", "petra: packs"],
            {"notices": 3},
        ),
        (
            "18:01:00 From Ivo to Everyone:\n\tWho comes?\n18:01:30 From Petra : I do\n18:01:40 From Zoë to Everyone:\n"
            '\tReacted to "Who comes?" with 👍',
            ["Ivo: Who comes?", "Petra: I do"],
            {"reactions": 1},
        ),
        (
            "WEBVTT\n\nNOTE made by hand\nand more\n\n1\n00:01.000 --> 00:02.000\n<v.loud Ivo>Who comes, &amp;</v>\n\n"
            "2\n00:02.000 --> 00:03.000\n<v Ivo>when?</v>\n\n3\n00:03.000 --> 00:04.000\n<v Petra><i>I</i> do.</v>",
            ["Ivo: Who comes, & when?", "Petra: I do."],
            {"cue ids": 3},
        ),
        (
            "Move planning\n3 May 2024\n\nIvo started transcription\n\nIvo   0:03\nWho comes?\n\nPetra   0:09\nI do.\n"
            "\nIvo stopped transcription",
            ["Ivo: Who comes?", "Petra: I do."],
            {"leading lines": 3, "notices": 1},
        ),
        (
            "18:00\t-->\tivo (~i@h) has joined #move\n18:01\t@ivo\tWho comes?\n18:02\tpetra\tI do\n"
            "18:03\t *\tpetra packs",
            ["ivo: Who comes?", "petra: I do", "petra: packs"],
            {"notices": 1},
        ),
        (
            "[9.3.23, 18:01] Ivo: Who comes?\n[9.3.23, 18:02] Me: I do\n[9.3.23, 18:03] Ivo: Questo messaggio è stato "
            "eliminato\n[9.3.23, 18:04] Ivo: 此消息已删除\n[9.3.23, 18:05] Ivo: Esta mensagem foi apagada\n"
            "[9.3.23, 18:06] Ivo: Dit bericht is verwijderd",
            ["Ivo: Who comes?", "Me: I do"],
            {"notices": 4},
        ),
        (
            "Raj P\n  Sun 3:05 PM\nreplied to a thread: deploy?\nWorks for me.\n3 files\nYou\n  Sun 3:06 PM\nok\n"
            "Raj P\n  Sun 3:07 PM\nwas added to #ops by Ivo.",
            ["Raj P: Works for me.", "You: ok"],
            {"reactions": 1, "notices": 2},
        ),
        (
            "18:01:00 From Tunde A to Everyone:\n\tWho comes?\n18:01:30 De María José a Todos:\n\tI do",
            ["Tunde A: Who comes?", "María José: I do"],
            {"time stamps": 2},
        ),
        ("<ivo> who comes?\n<petra> i do\n* ivo packs", ["ivo: who comes?", "petra: i do", "ivo: packs"], {}),
        ("> Ivo: Who comes?\n> Petra: I do\n> Ivo: Good", ["Ivo: Who comes?", "Petra: I do", "Ivo: Good"], {}),
        ("1. Ivo: Who comes?\n2. Petra: I do", ["Ivo: Who comes?", "Petra: I do"], {}),
        ("Speaker Name\tTranscript\nIvo\tWho comes?\nPetra\tI do", ["Ivo: Who comes?", "Petra: I do"], {}),
        (
            "**Q: Who comes?**\n\nA: I do\n\n**Q: Why?**\n\nA: Fun",
            ["Q: Who comes?", "A: I do", "Q: Why?", "A: Fun"],
            {},
        ),
        ("Q1: Who comes?\nA1: I do\nQ2: Why?\nA2: Fun", ["Q: Who comes?", "A: I do", "Q: Why?", "A: Fun"], {}),
        ("You said:\nWho comes?\nChatGPT said:\nI do\nand you", ["You: Who comes?", "ChatGPT: I do and you"], {}),
        (
            json.dumps(
                {
                    "value": [
                        {
                            "from": {"user": {"displayName": "Ivo"}},
                            "body": {"contentType": "html", "content": "<p>Who &amp; when?</p>"},
                        },
                        {
                            "from": {"user": {"displayName": "Petra"}},
                            "body": {"contentType": "text", "content": "I do"},
                        },
                    ]
                }
            ),
            ["Ivo: Who & when?", "Petra: I do"],
            {},
        ),
        (
            json.dumps(
                {
                    "contents": [
                        {"role": "user", "parts": [{"text": "Who comes?"}]},
                        {"role": "model", "parts": [{"text": "I do"}]},
                    ]
                }
            ),
            ["user: Who comes?", "model: I do"],
            {},
        ),
        (
            json.dumps(
                {
                    "results": {
                        "utterances": [{"speaker": 0, "transcript": "Who comes?"}, {"speaker": 1, "transcript": "I do"}]
                    }
                }
            ),
            ["Speaker 0: Who comes?", "Speaker 1: I do"],
            {},
        ),
        (
            json.dumps(
                {
                    "guild": {},
                    "messages": [
                        {"type": "Default", "content": "Who comes?", "author": {"name": "ivo", "nickname": "Ivo"}},
                        {"type": "GuildMemberJoin", "content": "Joined the server.", "author": {"name": "zoe"}},
                        {"type": "Reply", "content": "I do", "author": {"name": "petra"}},
                    ],
                }
            ),
            ["Ivo: Who comes?", "petra: I do"],
            {"notices": 1},
        ),
        (
            "kestrel_42\nBOT\n —\nToday at 6:01 PM\nWho comes?\nowl — Today at 6:02 PM\nI do\n🎉\n2",
            ["kestrel_42: Who comes?", "owl: I do"],
            {"reactions": 1},
        ),
        (
            "Budget Review\nMay 6, 2024, 9:00AM\n31m 4s\n\nIvo Marek   0:03\nWho comes?\n\nPetra Vogel   0:09\nI do.",
            ["Ivo Marek: Who comes?", "Petra Vogel: I do."],
            {"leading lines": 2},
        ),
        (
            "Call of 6 May\n00:00:00\n\nIvo: Who comes?\nPetra: I do.\n00:05:00\n\nIvo: Good.",
            ["Call of 6 May", "Ivo: Who comes?", "Petra: I do.", "Ivo: Good."],
            {"time stamps": 2},
        ),
        (
            "1\n00:00:01,000 --> 00:00:03,000\n- Ivo: Who comes?\n-Petra: I do.\n\n2\n00:00:04,000 --> 00:00:06,000\n"
            "- IVO: Only you,\nnobody else?\n- Petra: Yes.",
            ["Ivo: Who comes?", "Petra: I do.", "Ivo: Only you, nobody else?", "Petra: Yes."],
            {"cue ids": 2},
        ),
        (
            "1\n00:00:01,000 --> 00:00:03,000\n– Who comes?\n– I do.\n\n2\n00:00:04,000 --> 00:00:06,000\nGood.",
            ["Who comes?", "I do.", "Good."],
            {"cue times": 2},
        ),
        (
            "1\n00:00:01,000 --> 00:00:03,000\n[Ivo] Who comes?\n\n2\n00:00:04,000 --> 00:00:06,000\n>> [Petra] I do.",
            ["Ivo: Who comes?", "Petra: I do."],
            {"cue times": 2},
        ),
        (
            json.dumps(
                {
                    "chats": {
                        "list": [
                            {
                                "name": "x",
                                "messages": [
                                    {"type": "service", "actor": "Ivo", "action": "create_group", "text": ""},
                                    {
                                        "type": "message",
                                        "from": None,
                                        "from_id": "user7",
                                        "text": ["Who ", {"type": "bold", "text": "comes?"}],
                                    },
                                    {"type": "message", "from": "Petra", "text": "", "photo": "x"},
                                    {"type": "message", "from": "Petra", "text": "I do\x07 at 6"},
                                    {"odd": 1},
                                ],
                            },
                            {"name": "y", "messages": [{"from": "Zoë", "text": "hi"}, {"from": "Ivo", "text": "ho"}]},
                        ]
                    }
                }
            ),
            ["user7: Who comes?", "Petra: I do at 6"],
            {"notices": 1, "empty messages": 1, "other entries": 1, "further conversations": 1},
        ),
        (
            json.dumps(
                [
                    {"user": "U1", "text": "Who comes?"},
                    {"user": "U3", "subtype": "channel_join", "text": "joined"},
                    {"user": "U2", "text": "I do \x1b[1mnow\x1b[0m\u2028ok"},
                ]
            ),
            ["U1: Who comes?", "U2: I do now ok"],
            {"notices": 1},
        ),
        (
            '{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who comes?"}]}',
            ["user: Who comes?"],
            {"notices": 1},
        ),
    ],
)
def test_notices_and_reactions_are_removed_and_counted(text, left, dropped):
    reading = read_conversation(text)
    assert reading.dialogue.split("\n") == left
    assert {what: reading.dropped[what] for what in dropped} == dropped


@pytest.mark.parametrize(
    ("mail", "left"),
    [
        (
            "Hi Petra,\nthe van is booked.\n\nBest,\nIvo\n\nOn Mon, May 6, 2024 at 9:14 AM Petra Vogel "
            "<p@example.org>\nwrote:\n> Is there a van at 9:30?\n>\n> On Sun, May 5, 2024, "
            "Ivo Marek <i@example.org> wrote:\n"
            ">> We move.",
            ["Ivo Marek: We move.", "Petra Vogel: Is there a van at 9:30?", "Ivo Marek: Hi Petra, the van is booked."],
        ),
        (
            "Am 06.05.2024 um 09:14 schrieb Petra Vogel <p@example.org>:\n> Gibt es einen Wagen?\nJa, ab 9:30.\n\n"
            "Gruß\nIvo",
            ["Petra Vogel: Gibt es einen Wagen?", "Ivo: Ja, ab 9:30."],
        ),
        (
            "From: Marek, Ivo\nSent: Monday, May 6, 2024 10:01\nTo: Petra\nSubject: RE: Van\n\nThe van is booked.\n\n"
            "From: Petra Vogel <p@example.org>\nSent: Monday, May 6, 2024 9:14\nTo: Ivo\nSubject: Van\n\n"
            "Is there a van?",
            ["Petra Vogel: Is there a van?", "Ivo Marek: The van is booked."],
        ),
        (
            "Sounds good!\n\nSent from my iPhone\n\n> On Jan 12, 2025, at 9:14 AM, Petra Vogel (<p@example.org>) "
            "wrote:\n> \n"
            "> Can we meet?\n> — Petra",
            ["Petra Vogel: Can we meet?", "Sender: Sounds good!"],
        ),
        *(
            (f"Yes.\n\n{attribution}\n\n> Is there a van?", ["Petra Vogel: Is there a van?", "Sender: Yes."])
            for attribution in (
                "W dniu 6.05.2024 o 09:14, Petra Vogel <p@example.org> pisze:",
                "Op ma 6 mei 2024 om 09:14 schreef Petra Vogel <p@example.org>:",
                "Den mån 6 maj 2024 kl 09:14 skrev Petra Vogel <p@example.org>:",
                "Le lun. 6 mai 2024 à 09:14, Petra Vogel <p@example.org> a écrit :",
                "Il giorno lun 6 mag 2024 alle ore 09:14 Petra Vogel <p@example.org> ha scritto:",
                "пн, 6 мая 2024 г. в 09:14, Petra Vogel <p@example.org>:",
                "Petra Vogel <p@example.org> 于2024年5月6日周一 09:14写道：",
                "2024年5月6日(月) 9:14 Petra Vogel <p@example.org>:",
            )
        ),
        *(
            (
                f"It is.\n\n{sender}: Petra Vogel <p@example.org>\n{sent}: 6. 5. 2024 09:14\n{to}: Ivo Marek\n"
                f"{title}: Van\n\n"
                "Is it booked?",
                ["Petra Vogel: Is it booked?", "Ivo Marek: It is."],
            )
            for sender, sent, to, title in (
                ("From", "Sent", "To", "Subject"),
                ("Von", "Gesendet", "An", "Betreff"),
                ("De", "Envoyé", "À", "Objet"),
                ("De", "Enviado el", "Para", "Asunto"),
                ("Od", "Wysłano", "Do", "Temat"),
                ("От", "Отправлено", "Кому", "Тема"),
                ("发件人", "发送时间", "收件人", "主题"),
                ("差出人", "送信日時", "宛先", "件名"),
                ("Van", "Verzonden", "Aan", "Onderwerp"),
            )
        ),
    ],
)
def test_an_email_thread_is_read_oldest_first(mail, left):
    reading = read_conversation(mail)
    assert reading.dialogue.split("\n") == left and reading.format == "e-mail thread"


DISCORD_COPY = """\
orla_b — 07/03/2025 17:20
who has the key to the boathouse?
rune — 07/03/2025 17:22
under the third stone, as agreed on the 2nd at 9:15
plan_final.png
218.4 KB
orla_b replied to rune
under the third stone, as agr…
orla_b — 07/03/2025 17:25
found it (edited)
7. März 2025
NEU
rune
APP
 — 07/03/2025 17:40
ok
ok
Attachment file type: unknown"""


def test_quoted_replies_attachments_and_dividers_of_a_discord_copy_are_removed():
    reading = read_conversation(DISCORD_COPY)
    assert reading.dialogue.split("\n") == [
        "orla_b: who has the key to the boathouse?", "rune: under the third stone, as agreed on the 2nd at 9:15",
        "orla_b: found it", "rune: ok ok",
    ]  # fmt: skip
    assert reading.dropped == {"time stamps": 4, "notices": 2, "quotations": 1, "dates": 1, "reactions": 1}
    assert "1 quotation," in reading.sentence


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (  # a quotation below the head, and a message of the same words that is not one
            "[17:20] Orla Byrne\nWho has the key?\n[17:22] Krogh, Rune\nOrla Byrne\nWho has the key?\nI do\n"
            "[17:23] Orla Byrne\nI do\nwell",
            ["Orla Byrne: Who has the key?", "Krogh, Rune: I do", "Orla Byrne: I do well"],
        ),
        (
            "You sent\nWho has the key?\nEnter\nRune replied to you\nOriginal message:\nWho has the key?\nI do\n"
            "You sent\nGood",
            ["You: Who has the key?", "Rune: I do", "You: Good"],
        ),
        (
            "[17:20] Orla Byrne\nWho has the key?\n[17:22] Rune\nReplying to Orla Byrne\nI do\nfor now\n…\n"
            "[17:23] Orla Byrne\nOrla Byrne\n…",
            ["Orla Byrne: Who has the key?", "Rune: I do for now …", "Orla Byrne: Orla Byrne …"],
        ),
        (  # the quoted message is not in the copy
            "Orla — 17:20\nanyone?\nRune replied to Pip\nWho has the key?\nRune — 17:22\nI do\nOrla — 17:23\nGood",
            ["Orla: anyone?", "Rune: I do", "Orla: Good"],
        ),
        (
            "Orla — 17:20\nWhich flag?\nRune — 17:21\nNEW\nOrla — 17:22\nRune\nis it late?\nRune — 17:23\n18:40\nyes",
            ["Orla: Which flag?", "Rune: NEW", "Orla: Rune is it late?", "Rune: 18:40 yes"],
        ),
        (
            "Orla: Who has the key?\n17:20\nRune: Me\n17:22\nOrla: Bring it\n17:25",
            ["Orla: Who has the key?", "Rune: Me", "Orla: Bring it"],
        ),
        (
            "Yesterday\nOrla: Who has the key?\nRune: Me\n3 min\nOrla: Bring it\nJust now\nRune: ok",
            ["Orla: Who has the key?", "Rune: Me", "Orla: Bring it", "Rune: ok"],
        ),
        (
            "Today 17:20\nOrla: Who has the key?\nRune: Me\nOrla: Bring it\nRune: When?\nOrla: Now\nToday 19:02\n"
            "Rune: Done",
            ["Orla: Who has the key?", "Rune: Me", "Orla: Bring it", "Rune: When?", "Orla: Now", "Rune: Done"],
        ),
        (
            "Orla Byrne\nWho has the key?\n17:20\nRead\nMe too\n17:21\nRune\nI do\n17:22\nOrla Byrne\nGood\n17:24\n"
            "Rune\nBye\n17:30\nDelivered",
            ["Orla Byrne: Who has the key?", "Me too", "Rune: I do", "Orla Byrne: Good", "Rune: Bye"],
        ),
        (
            "Orla Byrne · 2h\nWho has the key?\nRune · 1h\nI do\nOrla Byrne · 5m\nGood",
            ["Orla Byrne: Who has the key?", "Rune: I do", "Orla Byrne: Good"],
        ),
        (
            "orla_b 3 days ago\nWho has the key?\nrune 2 days ago\nI do\norla_b an hour ago\nGood",
            ["orla_b: Who has the key?", "rune: I do", "orla_b: Good"],
        ),
        (
            "00:03 - Orla Byrne\nWho has the key?\n\n00:05 - Rune\nI do.\n\n00:09 - Orla Byrne\nGood.",
            ["Orla Byrne: Who has the key?", "Rune: I do.", "Orla Byrne: Good."],
        ),
        (
            "ORLA\nThe key?\nRUNE\nHere.\nORLA\nGood.\nRUNE\nBye.",
            ["ORLA: The key?", "RUNE: Here.", "ORLA: Good.", "RUNE: Bye."],
        ),
        (
            "Orla\tThe key?\nRune\tHere, at 5:10.\nOrla\tGood.",
            ["Orla: The key?", "Rune: Here, at 5:10.", "Orla: Good."],
        ),
        ("Orla - The key?\nRune - Here - look.\nOrla - Good.", ["Orla: The key?", "Rune: Here - look.", "Orla: Good."]),
        ("ORLA. The key?\nRUNE. Here.\nORLA. Good.", ["ORLA: The key?", "RUNE: Here.", "ORLA: Good."]),
        ("[Orla] The key?\n[Rune] Here.\n[Orla] Good.", ["Orla: The key?", "Rune: Here.", "Orla: Good."]),
        (
            "Rune Krogh sent the following message at 17:20\nView Rune’s profile\nRune Krogh   5:20 PM\nThe key?\n"
            "Orla Byrne sent the following message at 17:22\nView Orla’s profile\nOrla Byrne   5:22 PM\nHere.",
            ["Rune Krogh: The key?", "Orla Byrne: Here."],
        ),
        (
            "Orla Byrne\n07/03/2025 17:20\nThe key?\n1 Like reaction.\n1\nRune\n07/03/2025 17:22\nHere.",
            ["Orla Byrne: The key?", "Rune: Here."],
        ),
    ],
)
def test_quotations_and_times_on_separate_lines_are_removed(text, left):
    assert lines_of(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "Tom: When do we leave?\nAna: Let me see.\n10:30\nTom: And back?\nAna: I said\n18:00\nTom: Ok.\nAna: Fine.",
        "Tom: When?\nNow\nAna: Ok.\nTom: Good.\nAna: Bye.",
        "Lunch\nMonday\nSoup\nDinner\nTuesday\nFish",
        "Bake\n45 min\nRest\n10 min\nServe\nwarm",
        "Berlin\n9:02\nHamburg\n10:40\nKiel\n11:55",
        "9:00 Breakfast\neggs\n10:00 Meeting\nroom 4\n11:00 Lunch\nsoup",
        "Tom: [applause]\nAna: (door slams)\nTom: Did you hear it?\nAna: ♪ la la ♪",
        "Anchor - a heavy hook\nBow - the front\nStern - the back",
        "Love me do\nBaby\nYou know I love you\nBaby\nSo please",
    ],
)
def test_lines_that_may_be_speech_or_lists_are_kept(text):
    assert read_conversation(text).dialogue == text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["Okonkwo, Ifeoma: Ready?", "Sørensen, Mads: Yes.", "Okonkwo, Ifeoma: Then begin."],
            ["Okonkwo, Ifeoma", "Sørensen, Mads"],
        ),
        (
            ["de Vries, Anouk (Acme): Ready?", "Mads: Yes.", "de Vries, Anouk (Acme): Good."],
            ["de Vries, Anouk (Acme)", "Mads"],
        ),
        (["Tom: Nobody.", "Well, Ana: he did not.", "Tom: Sure.", "Well, Ana: he did.", "Ana: Stop."], ["Tom", "Ana"]),
        (["Ana: Three things.", "Finally, John: remember this.", "Bo: Which?", "Ana: Salt."], ["Ana", "Bo"]),
    ],
)
def test_a_surname_before_the_first_name_is_a_speaker_if_it_recurs(lines, expected):
    assert speakers("\n".join(lines)) == expected


@pytest.mark.parametrize(
    ("head", "format"),
    [
        ("[14:0{i}] {who}\n", "Teams copy"),
        ("14:01:0{i} From {who} to Everyone:\n\t", "Zoom chat"),
        ("{i}\n00:00:0{i}.000 --> 00:00:0{i}.900\n{who} (she/her): ", "transcript"),
        ("{who}   0:0{i}\n", "Otter or Teams transcript"),
        ("{who}, [07.03.2025 14:0{i}]\n", "Telegram copy"),
    ],
)
def test_a_surname_before_the_first_name_is_a_speaker_in_exports(head, format):
    said = [("Okonkwo, Ifeoma", "Ready?"), ("Sørensen, Mads", "Yes."), ("Okonkwo, Ifeoma", "Good.")]
    text = "\n".join(f"{head.format(who=who, i=i)}{text}\n" for i, (who, text) in enumerate(said, 1))
    reading = read_conversation(text)
    assert reading.dialogue.split("\n") == [f"{who}: {text}" for who, text in said]
    assert reading.format == format and reading.speakers == ("Okonkwo, Ifeoma", "Sørensen, Mads")
    assert "2 speakers (Okonkwo, Ifeoma; Sørensen, Mads)" in reading.sentence


def test_the_sentence_has_each_dropped_part_in_singular_or_plural():
    parts = [{"from": "Ana", "text": "hi"}, {"odd": 1}, {"from": "Bo", "text": "ho"}, {"from": "Ana", "text": "yes"}]
    one, two = (read_conversation(json.dumps({"messages": parts + odd})) for odd in ([], [{"odd": 2}]))
    assert "dropped 1 other entry." in one.sentence and "dropped 2 other entries." in two.sentence


def test_cues_that_are_only_sounds_are_removed_and_counted():
    text = cues("WEBVTT\n\n", ".", lambda who, said: said, lambda i: "")(
        [
            ("", ["[Upbeat music]"]), ("", ["<v Ines>Who is there?</v>"]), ("", ["(glass breaks)"]),
            ("", ["<v Bram>Me.</v>", "[Laughter]"]), ("", ["♪ la la", "la ♪"]), ("", ["<v Bram>(SIGHS)</v>"]),
            ("", ["<v Ines>[laughs] Come in (quickly)!</v>"]), ("", ["(I am coming.)"]), ("", ["*knocks*"]),
        ]
    )  # fmt: skip
    reading = read_conversation(text)
    assert reading.dialogue.split("\n") == [
        "Ines: Who is there?", "Bram: Me.", "Ines: [laughs] Come in (quickly)!", "Ines: (I am coming.)",
    ]  # fmt: skip
    assert reading.dropped == {"cue times": 9, "sounds": 6} and "6 sounds" in reading.sentence


@pytest.mark.parametrize(
    ("cue", "left"),
    [
        ("He told (my brother)\n(and me) to wait.", "He told (my brother) (and me) to wait."),
        ("[in Dutch] Where?", "[in Dutch] Where?"),
        ("(she said no)", "(she said no)"),
        ("I saw\n(the letter)\non the desk.", "I saw (the letter) on the desk."),
        ("INES: [to Bram] Go.", "INES: [to Bram] Go."),
    ],
)
def test_speech_in_brackets_is_kept_in_subtitles(cue, left):
    text = f"1\n00:00:01,000 --> 00:00:03,000\n{cue}\n\n2\n00:00:04,000 --> 00:00:05,000\n[DOOR CLOSES]\n"
    assert lines_of(text) == [left]


def test_a_sound_in_brackets_is_no_speaker():
    srt = "\n\n".join(
        f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n{said}"
        for i, said in enumerate(["[Ines] Hello.", "[Applause] Thank you.", "[Bram]\nHi.", "[Music]"], 1)
    )
    assert lines_of(srt) == ["Ines: Hello.", "Ines: [Applause] Thank you.", "Bram: Hi."]


def test_paragraphs_of_an_answer_are_joined():
    text = "Q: When did you move?\nA: In May.\nIt rained.\n\nQ2. Why?\nA2. For work: nothing else."
    assert lines_of(text) == [
        "Q: When did you move?", "A: In May. It rained.", "Q: Why?", "A: For work: nothing else.",
    ]  # fmt: skip


def test_a_log_quoted_in_a_message_is_part_of_the_message():
    chat = [f"[0{i}.09.23, 18:00:01] {'Ivo' if i % 2 else 'Petra'}: Message {i}" for i in range(1, 7)]
    chat.insert(3, "2024-03-01 18:05:10 Server: restarted\n2024-03-01 18:05:11 all is well")
    assert lines_of("\n".join(chat))[2] == (
        "Ivo: Message 3 2024-03-01 18:05:10 Server: restarted 2024-03-01 18:05:11 all is well"
    )


@pytest.mark.parametrize(
    "text", ["Ivo：来吗？\nPetra：来。", "Ivo:来吗？\nPetra:来。\nIvo:好", "Ivo : 来吗？\nPetra : 来。"]
)
def test_full_width_colons_and_colons_without_spaces_are_recognized(text):
    reading = read_conversation(text)
    assert reading.speakers == ("Ivo", "Petra") and reading.format == ""


def test_only_the_first_dialogue_of_a_data_set_is_read():
    rows = [{"id": str(i), "dialogue": f"Ivo: Who comes?\r\nPetra: {i} people.", "summary": "x"} for i in range(3)]
    reading = read_conversation("\n".join(map(json.dumps, rows)))
    assert reading.dialogue == "Ivo: Who comes?\nPetra: 0 people." and reading.dropped == {"further dialogues": 2}


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", '{"a": 1}', "[]", "[" * 5000, '[{"speaker": "Ivo"}]', "null", "a,b\n1,2"]
)
def test_other_json_and_csv_is_not_changed(text):
    assert read_conversation(text).dialogue == text


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("AbZ :：-–—[](),.<>|>\n\n0123456789/PMT*_#@\u200e\u202f年月上午é"), max_size=200)
)
def test_any_text_can_be_read(text):
    reading = read_conversation(text)
    lines = reading.dialogue.split("\n")
    assert reading.dialogue == "" or all(line and line == line.strip() for line in lines)
    assert len(reading.speakers) <= reading.turns <= len(lines)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["Ivo: I read it.", "To the point that you made: no.", "This is how: ask.", "Petra: Later."],
            ["Ivo", "Petra"],
        ),
        (["Reminder: bring cake.", "Dr. Amara Okafor: Yes.", "PS: no nuts.", "ftp://a.b: gone"], ["Dr. Amara Okafor"]),
        (["ivo: coming?", "petra: yes", "ivo: good"], ["ivo", "petra"]),
        (["Customer: Hi.", "Agent 7: Hello.", "#Person1#: Hey."], ["Customer", "Agent 7", "#Person1#"]),
        (["the neighbour: Hi.", "Ivo: Hm.", "the neighbour: Bye."], ["the neighbour", "Ivo"]),
        (["I would say: no.", "I would say: no.", "We all agreed: yes."], []),
        (["مريم: مرحبا", "דנה: שלום", "小林: 你好"], ["مريم", "דנה", "小林"]),
        (["x" * 41 + ": too long"], []),
        (["Me: Hi.", "mum: Hi!", "me: When?", "mum: Six."], ["Me", "mum"]),
        (["Step 1: Mix the flour.", "Step 2: Bake it.", "Cook: Done."], ["Cook"]),
        (["Soup", "Ingredients: 2 leeks", "Prep time: 10 minutes", "Serves: 4", "Level: easy", "Tip: add salt"], []),
        (["Brand: Acme", "Color: red", "Weight: 3 kg", "Price: 20"], []),
        (["Breakfast: 8:00", "Lunch: 12:30", "Doors open: 18:30", "End: 23:00"], []),
        (["First name: Ivo", "Last name: Marek", "Born: 1990", "Eyes: blue"], []),
        (["def run(x: int) -> str:", "if x: return 'a'", "else: pass", 'raise ValueError("bad: x")'], []),
        (["Re: your letter", "Subject: Van", "WARN: wet floor", "ERROR: full", "ERROR: full"], []),
        (
            [
                "Attendees: Ivo, Petra",
                "Action item: Ivo writes the report",
                "Ivo: I will do it later.",
                "Next meeting: Friday",
            ],
            ["Ivo"],
        ),
        (["Ana: hi", "Bo: hey", "Cal: hello there", "Dee: hi all"], ["Ana", "Bo", "Cal", "Dee"]),
        (["Question: Why?", "Answer: No idea.", "Question: And now?", "Answer: Wait."], ["Question", "Answer"]),
    ],
)
def test_speakers_are_names_and_not_headings_or_sentences(lines, expected):
    assert speakers("\n".join(lines)) == expected
    assert count_turns("\n".join(lines)) >= len(expected)


# texts that resemble another format


def whatsapp(*messages: str) -> str:
    return "\n".join(f"[12.03.24, 18:{minute:02}:00] {message}" for minute, message in enumerate(messages))


@pytest.mark.parametrize(
    "name", ["Ella", "June", "April", "Can", "Anna from Work", "mom and dad", "Smith, John", "Jenny!"]
)
def test_a_contact_with_any_name_is_a_speaker(name):
    log = whatsapp(
        "Tom: Are you coming?", f"{name}: Yes.", "Tom: When?", f"{name}: At six,", f"{name}: or a bit later."
    )
    read = read_conversation(log)
    assert (read.format, read.turns, read.dropped.get("notices", 0)) == ("WhatsApp export", 5, 0)
    assert name in read.speakers


@pytest.mark.parametrize(
    "text", ["<3", "+1", "$500", "new", "like 2", "I just left the call.", "Signal is end-to-end encrypted."]
)
def test_a_short_message_is_not_a_reaction_or_an_event(text):
    read = read_conversation(whatsapp("Tom: How much is it?", f"Ana: {text}", "Tom: Okay."))
    assert f"Ana: {text}" in read.dialogue.split("\n")


@pytest.mark.parametrize(
    "dialogue",
    [
        "Maya: What did the letter say?\nTom: Look.\nOn Friday, 3 May, Grandma wrote:\nTom: nice\nMaya: yes",
        "Maya: The cue in the file says\n00:01:02,000 --> 00:01:04,000\nTom: Delete it.\nMaya: ok",
        "Tom: the list\n* Buy milk\n* Call Bob\n* Pay rent\nAna: thanks",
        "Tom: What's on tomorrow?\nAna: Here it is.\nBreakfast 8:00\nLunch 12:30\nDinner 19:00",
        "June: Hi\nApril: Hey\nJune: Tea?\nApril: Yes.",
    ],
)
def test_a_dialogue_that_quotes_another_format_is_not_changed(dialogue):
    read = read_conversation(dialogue)
    assert read.dialogue == dialogue
    assert len(read.speakers) == 2


def test_a_table_may_have_unquoted_separators_in_the_last_column_and_long_fields():
    read = read_conversation("speaker,text\nAna,Well, that is nice\nBo,Yes")
    assert read.dialogue == "Ana: Well, that is nice\nBo: Yes"
    long = "word " * 40_000
    assert read_conversation(f"speaker,text\nAna,{long}\nBo,Yes").turns == 2
