"""Reads files that may be compressed: gzip, or a zip with one file."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from dsum_demo.data.file_kinds import ZIP_ERRORS, describe_kind
from dsum_demo.errors import DataError
from dsum_demo.utils.formatting import size

# A few compressed megabytes can exceed the memory.
LARGEST_UNPACKED_BYTES = 1_000_000_000


def read_unpacked(file: Path) -> tuple[str, bytes]:
    """The name and the content of a file, or of the compressed file in it.

    Raises DataError for a file that cannot be read or decompressed, a zip with several files, and office documents
    and other files without text.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    if content.startswith(b"PK\x03\x04") or file.suffix.lower() == ".zip":
        check_is_text(file, content)
        return _from_zip(file, content)
    if content.startswith(b"\x1f\x8b") or file.suffix.lower() == ".gz":
        return (file.stem if file.suffix.lower() == ".gz" else file.name), _from_gzip(file, content)
    return file.name, content


def check_is_text(file: Path, content: bytes) -> None:
    """Raises DataError for office documents and other files without text."""
    if kind := describe_kind(content):
        raise DataError(f"{file} is {kind[0]}, which cannot be read as a table; {kind[1]}.")


def check_size(file: Path, unpacked: int) -> None:
    """Raises DataError if the uncompressed size exceeds LARGEST_UNPACKED_BYTES."""
    if unpacked > LARGEST_UNPACKED_BYTES:
        raise DataError(f"{file} has more than {size(LARGEST_UNPACKED_BYTES)} uncompressed; give a smaller file.")


def _from_gzip(file: Path, content: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            unpacked = stream.read(LARGEST_UNPACKED_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} is not a complete gzip file ({error}); download or compress it again.") from None
    check_size(file, len(unpacked))
    return unpacked


def _from_zip(file: Path, content: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            paths = [PurePosixPath(entry.filename) for entry in archive.infolist() if not entry.is_dir()]
            # macOS adds metadata files to every zip.
            kept = [path for path in paths if "__MACOSX" not in path.parts and not path.name.startswith(".")]
            if len(kept) != 1:
                names = ", ".join(map(str, kept[:5]))
                raise DataError(f"{file} contains {len(kept)} files{f' ({names})' * bool(kept)}; give a zip of 1 file.")
            with archive.open(str(kept[0])) as stream:
                unpacked = stream.read(LARGEST_UNPACKED_BYTES + 1)
    except ZIP_ERRORS as error:
        raise DataError(f"{file} is not a valid zip file ({error}); compress it again.") from None
    check_size(file, len(unpacked))
    return kept[0].name, unpacked
