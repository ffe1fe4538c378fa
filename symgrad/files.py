"""Reading files of strangers and writing files whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from symgrad.errors import OutputError, ReadError, TooLargeError

__all__ = ["check_readable", "read_text", "write_files", "write_lines", "write_text"]

_LARGEST = 20_000_000


def read_text(path: str) -> str:
    """The text of a file, of standard input for `-`.

    Raises   ReadError if there is no such file or it is no text in UTF-8
    """
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1) if path == "-" else _bytes(Path(path))
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from error
    if len(data) > _LARGEST:
        raise TooLargeError(f"{path} has more than {_LARGEST // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(
            f"{path} is no text file in UTF-8", hint=f"byte {error.start} is no part of one"
        ) from error


def _bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_LARGEST + 1)


def check_readable(path: str) -> None:
    """Refuse what cannot be read before the work begins.

    Raises   ReadError
    """
    if path == "-":
        return
    try:
        if Path(path).is_dir():
            raise ReadError(f"{path} is a folder, not a file")
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from error


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines as they come into a file that is there only when all of them are.

    Raises   OutputError if it cannot be written
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(line + "\n" for line in lines)
        Path(part).chmod(0o644)
        os.replace(part, path)  # noqa: PTH105 - the atomic one
        part = None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises   OutputError if it cannot be written
    """
    write_files({path.name: text}, path.parent)


def write_files(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Write files into a folder; none of them is replaced before all of them could be written.

    Raises   OutputError if one of them cannot be written; the old files are then left as they are
    """
    prepared: list[tuple[str, Path]] = []
    try:
        for name, text in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise OutputError(f"{target} is a folder, not a file")
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
            prepared.append((temporary, target))
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode() if isinstance(text, str) else text)
            Path(temporary).chmod(0o644)
        while prepared:
            temporary, target = prepared[0]
            os.replace(temporary, target)  # noqa: PTH105 - the atomic one
            prepared.pop(0)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} cannot be a folder: a file is in the way") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        for temporary, _ in prepared:
            Path(temporary).unlink(missing_ok=True)
