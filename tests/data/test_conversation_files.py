"""Reading the text of files: encodings, Word documents, and other files."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsum_demo.data.conversations import files
from dsum_demo.data.conversations.files import read_file_text
from dsum_demo.data.dialogues import doubts, read_dialogue
from dsum_demo.errors import InputError

NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TEXT = "Ivo: Does the café open at 9?\nPetra: Yes, “early” – at 8:30.\n"


def word_document(*paragraphs: str, start: str = "<?xml version='1.0' encoding='UTF-8'?>") -> bytes:
    """A .docx file with runs of words as paragraphs; a line end in a paragraph becomes a break."""

    def run(text: str) -> str:
        lines = [f"<w:t xml:space='preserve'>{escape(line)}</w:t>" for line in text.split("\n")]
        return f"<w:r>{'<w:br/>'.join(lines)}</w:r>"

    body = "".join(f"<w:p><w:pPr/>{''.join(map(run, p.partition(' ')))}</w:p>" for p in paragraphs)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml", f"{start}<w:document xmlns:w='{NAMESPACE}'><w:body>{body}</w:body></w:document>"
        )
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@settings(max_examples=50, deadline=None)
@given(extra=st.text(alphabet="abcdé ñß€:.?\n", max_size=60))
def test_unicode_text_is_read_without_a_notice(encoding, extra):
    text = TEXT + extra
    read = read_file_text(text.encode(encoding), "chat.txt")
    assert (read.text, read.notice) == (text, "")


def test_windows_1252_is_read_with_a_notice():
    read = read_file_text(TEXT.encode("cp1252"), "chat.txt")
    assert read.text == TEXT
    assert "chat.txt" in read.notice and "Windows-1252" in read.notice


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\0" * 50, b"caf\x81\x8d", b"\xff\xfea", b"a\0\0\0b"]
)
def test_files_that_are_not_text_are_rejected_by_name(data):
    with pytest.raises(InputError, match=r"photo\.txt"):
        read_file_text(data, "photo.txt")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.4 ...", "a PDF; copy its text"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "an Office file of before 2007"),
        (b"ID3\x04" + bytes(60), "an audio file; give its transcript"),
        (b"{\\rtf1\\ansi Ivo: hi}", "an RTF document; save it as .docx or .txt"),
    ],
)
def test_files_of_other_programs_are_named_with_their_fix(data, kind):
    with pytest.raises(InputError, match=f"notes.txt is not a text file but {kind}"):
        read_file_text(data, "notes.txt")


def test_a_word_transcript_is_read():
    data = word_document(
        "Weekly call", "4 May 2024", "Ivo Marek started transcription", "Ivo Marek   0:03\nIs the café <open> at 9?",
        "Petra Vogel   0:11\nYes & early.", "Ivo Marek stopped transcription",
    )  # fmt: skip
    reading = read_dialogue(read_file_text(data, "call.docx").text)
    assert reading.dialogue == "Ivo Marek: Is the café <open> at 9?\nPetra Vogel: Yes & early."


def test_a_text_box_and_a_moved_paragraph_are_read_once():
    def paragraph(content: str) -> str:
        return f"<w:p>{content}</w:p>"

    def run(text: str) -> str:
        return f"<w:r><w:t>{text}</w:t></w:r>"

    box = f"<w:txbxContent>{paragraph(run('Petra: In the box.'))}</w:txbxContent>"
    body = (
        paragraph(run("Ivo: Where?") + f"<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice>"
                  f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r>")
        + paragraph(f"<w:moveFrom>{run('Ivo: Thanks.')}</w:moveFrom>")
        + paragraph(f"<w:moveTo>{run('Ivo: Thanks.')}</w:moveTo><w:del><w:r><w:delText>Gone</w:delText></w:r></w:del>")
    )  # fmt: skip
    names = f"xmlns:w='{NAMESPACE}' xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", f"<w:document {names}><w:body>{body}</w:body></w:document>")
    lines = [line for line in read_file_text(file.getvalue(), "call.docx").text.split("\n") if line]
    assert lines == ["Ivo: Where?", "Petra: In the box.", "Ivo: Thanks."]


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 not a zip",
        word_document("a", start="<!DOCTYPE d [<!ENTITY a 'aaaa'>]>"),
        word_document("a")[:-40],
        word_document("\x01"),
    ],
)
def test_invalid_and_malicious_word_documents_are_rejected_by_name(data):
    with pytest.raises(InputError, match=r"call\.docx"):
        read_file_text(data, "call.docx")


def test_a_word_document_that_is_too_large_uncompressed_is_rejected(monkeypatch):
    monkeypatch.setattr(files, "LARGEST_DOCUMENT_BYTES", 100_000)
    with pytest.raises(InputError, match="0 MB uncompressed"):
        read_file_text(word_document("a" * 200_000), "call.docx")


@pytest.mark.parametrize(
    ("dialogue", "words"),
    [
        ("Ivo: Does the café open at nine?\nPetra: Yes, early. I think it is at half past eight, we can go then.", []),
        ("Nothing was said.", ["dialogue"]),
        ("小林: 几点开门？\n小美: 八点半。", ["English"]),
        ("Ivo: Привет, ты придёшь?\nPetra: Да, конечно.", ["English"]),
        (
            "Ivo: Wann macht das Café morgen früh auf, weißt du das vielleicht?\n"
            "Petra: Ich glaube, sie öffnen um halb neun, aber ruf lieber vorher noch einmal an.",
            ["English"],
        ),
        ("Ivo: Ja?\nPetra: Nein.", []),
    ],
)
def test_texts_without_speakers_or_not_in_english_get_a_warning(dialogue, words):
    found = doubts(dialogue)
    assert len(found) == len(words) and all(word in doubt for doubt, word in zip(found, words, strict=True))


def test_as_is_keeps_the_lines_of_a_text():
    text = "[12:03] Ivo: Lunch?\n\n[12:04] Petra:  Yes\u200b."
    reading = read_dialogue(text, as_is=True)
    assert (reading.dialogue, reading.format) == ("[12:03] Ivo: Lunch?\n[12:04] Petra: Yes.", "")
    assert read_dialogue(text).dialogue == "Ivo: Lunch?\nPetra: Yes."
