"""Recognizes common files that contain no text, to name them and a format to save them in."""

from __future__ import annotations

import contextlib
import io
import lzma
import re
import zipfile
import zlib

# What reading a damaged or encrypted zip file raises, by the method of compression and the damaged part.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, NotImplementedError, RuntimeError, OSError,
    ValueError,
)  # fmt: skip

_SHEET = "save the sheet as “CSV UTF-8”"
_TEXT = "save it as .docx or .txt"
_SPOKEN = "give its transcript as text"
_MAGIC: tuple[tuple[bytes, str, str], ...] = (  # (first bytes, kind, fix)
    (rb"\xd0\xcf\x11\xe0", "an Office file of before 2007 or with a password", f"{_SHEET}, or {_TEXT}"),
    (rb"%PDF-", "a PDF", "copy its text, or save it as .txt"),
    (rb"\{\\rtf", "an RTF document", _TEXT),
    (rb"PAR1[\0-\x1f]", "a Parquet file", "rename it to end in .parquet"),
    (rb"(?i:\s{0,20}<(?:!doctype html|html[\s>]))", "a web page", "download the file itself, or copy its text"),
    (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer", "run: git lfs pull"),
    (rb"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|\0.{3}ftyphei", "an image", "give its text"),
    (rb"ID3[\x02-\x04]|\xff[\xf2\xf3\xfb]|OggS\0|fLaC|RIFF.{4}WAVE|\0.{3}ftypM4A", "an audio file", _SPOKEN),
    (rb"RIFF.{4}AVI |\x1aE\xdf\xa3|\0.{3}ftyp", "a video", _SPOKEN),
    (
        rb"7z\xbc\xaf|Rar!\x1a|BZh[1-9]1AY|\xfd7zXZ|\x28\xb5\x2f\xfd",
        "an archive",
        "unpack it, or compress it as zip or gzip",
    ),
)
_ZIPPED = (  # (a path in the zip file, kind, fix)
    (r"xl/.*", "an Excel workbook", _SHEET),
    (r"ppt/.*", "a PowerPoint presentation", "copy its text, or save it as .txt"),
    (r"(?:Index/Document|Index/Tables/.*|index|Index)\.(?:iwa|zip|apxl|xml)", "a Numbers, Pages or Keynote document",
     f"{_SHEET}, or {_TEXT}"),
    (r"word/.*", "a Word document", "save its table as “CSV UTF-8”"),
)  # fmt: skip
_OPEN_DOCUMENT = re.compile(rb"application/vnd\.oasis\.opendocument\.(spreadsheet)?")


def describe_kind(content: bytes) -> tuple[str, str] | None:
    """(what the file is, how to save it instead), or None for text and unknown content."""
    if content.startswith(b"PK\x03\x04"):
        return _zipped_kind(content)
    return next(((kind, fix) for magic, kind, fix in _MAGIC if re.match(magic, content, re.DOTALL)), None)


def _zipped_kind(content: bytes) -> tuple[str, str] | None:
    with contextlib.suppress(*ZIP_ERRORS):
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        for path, kind, fix in _ZIPPED:
            if any(re.fullmatch(path, name) for name in names):
                return kind, fix
    # OpenDocument files begin with their uncompressed media type.
    if found := _OPEN_DOCUMENT.search(content, 0, 200):
        sheet = bool(found[1])
        return f"an OpenDocument {'spreadsheet' if sheet else 'file'}", _SHEET if sheet else _TEXT
    return None
