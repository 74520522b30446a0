"""Reads the text of files: plain text in common encodings, and Word documents."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from dsum_demo.data.file_kinds import ZIP_ERRORS, describe_kind
from dsum_demo.errors import InputError

ENDINGS = (".txt", ".vtt", ".srt", ".json", ".jsonl", ".docx", ".md", ".csv")
LARGEST_DOCUMENT_BYTES = 50_000_000  # uncompressed; a small zip file can contain gigabytes
_BODY = "word/document.xml"
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

_BREAKS = {f"{_WORD}tab": " ", f"{_WORD}br": "\n", f"{_WORD}cr": "\n"}
# Elements whose text is in the document a second time: text boxes for old programs, and moved text at its old place.
_COPIES = ("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback", f"{_WORD}moveFrom")


@dataclass(frozen=True)
class FileText:
    """The text of a file. notice: a message if the encoding was guessed, else ""."""

    text: str
    notice: str = ""


def read_file_text(data: bytes, name: str) -> FileText:
    """The text of a Word document or a text file, detected by content. `name` is used in messages.

    Text is decoded as UTF-8 or UTF-16, with or without a byte order mark, or else as Windows-1252. Raises InputError
    for other files.
    """
    kind = describe_kind(data)
    if kind and kind[0] != "a Word document":
        raise InputError(f"{name} is not a text file but {kind[0]}; {kind[1]}.")
    if data.startswith(b"PK\x03\x04"):
        return FileText(_word_text(data, name))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(data, "utf-16", name)
    if b"\0" in data:
        # In UTF-16, one byte of every English letter is zero; its position determines the byte order.
        zeros = data[::2].count(0), data[1::2].count(0)
        if 5 * max(zeros) < len(data) or 10 * min(zeros) > max(zeros):
            raise InputError(f"{name} is not a text file; give one of {', '.join(ENDINGS)}.")
        return _decoded(data, "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le", name)
    try:
        return FileText(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        read = _decoded(data, "cp1252", name)
        return FileText(
            read.text,
            f"{name} is not UTF-8 (byte {error.start}) and was read as Windows-1252. If letters look wrong, save it as "
            "UTF-8.",
        )


def _decoded(data: bytes, encoding: str, name: str) -> FileText:
    try:
        return FileText(data.decode(encoding).removeprefix("\ufeff"))
    except UnicodeDecodeError:
        raise InputError(f"{name} is neither UTF-8, UTF-16 nor Windows-1252 text; save it as UTF-8.") from None


def _word_text(data: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_BODY) as body:
            xml = body.read(LARGEST_DOCUMENT_BYTES + 1)
    except ZIP_ERRORS as error:
        raise InputError(f"{name} is not a valid Word document ({error}); save it as .docx or .txt.") from None
    if len(xml) > LARGEST_DOCUMENT_BYTES:
        raise InputError(f"{name} has more than {LARGEST_DOCUMENT_BYTES / 1e6:.0f} MB uncompressed; shorten it.")
    try:
        text = xml.decode("utf-8-sig")
        if "<!DOCTYPE" in text:  # entities can expand without limit; Word does not write any
            raise InputError(f"{name} declares XML entities, which are not supported; save it as .txt.")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise InputError(f"{name} is not a valid Word document ({error}); save it as .docx or .txt.") from None
    return "\n".join("".join(_pieces(paragraph)) for paragraph in _paragraphs(root))


def _paragraphs(node: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The paragraphs in a document, those in text boxes after the one that the box belongs to."""
    for child in node:
        if child.tag == f"{_WORD}p":
            yield child
        if child.tag not in _COPIES:
            yield from _paragraphs(child)


def _pieces(node: ElementTree.Element) -> Iterator[str]:
    """The texts in a paragraph, without its text boxes."""
    for child in node:
        if child.tag == f"{_WORD}t":
            yield child.text or ""
        elif child.tag not in (*_COPIES, f"{_WORD}txbxContent"):
            yield _BREAKS.get(child.tag, "")
            yield from _pieces(child)
