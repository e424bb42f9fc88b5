"""Reads taxonomy TSV files and remembers every mistake with file and line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_CELL_CHARS = 65536


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a taxonomy: where it is and what is wrong."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a TSV file, with a reader for each kind of cell."""

    file: str
    line: int
    cells: dict[str, str]
    problems: list[Problem]

    def problem(self, message: str) -> None:
        """Note a mistake on this line."""
        self.problems.append(Problem(self.file, self.line, message))

    def text(self, column: str, default: str = "") -> str:
        """The cell, or ``default`` where it is empty or missing."""
        return self.cells.get(column) or default

    def names(self, column: str) -> tuple[str, ...]:
        """A comma-separated cell."""
        cell = self.cells.get(column)
        return tuple(part.strip() for part in cell.split(",") if part.strip()) if cell else ()

    def unit(self, column: str, default: float = 1.0) -> float:
        """A number from 0 to 1."""
        cell = self.cells.get(column)
        if not cell:
            return default
        number = self._number(column, cell)
        if number is None:
            return default
        if not 0.0 <= number <= 1.0:
            self.problem(f"{column} is {cell!r}; it must be from 0 to 1")
            return default
        return number

    def positive(self, column: str, default: float) -> float:
        """A number above or at 0."""
        cell = self.cells.get(column)
        if not cell:
            return default
        number = self._number(column, cell)
        if number is None:
            return default
        if number < 0 or number != number or number == float("inf"):
            self.problem(f"{column} is {cell!r}; it must be a finite number of at least 0")
            return default
        return number

    def whole(self, column: str, default: int) -> int:
        """A whole number of at most six digits."""
        cell = self.cells.get(column)
        if not cell:
            return default
        if not re.fullmatch(r"-?\d{1,6}", cell, re.ASCII):
            self.problem(f"{column} is {cell[:40]!r}; it must be a whole number of at most six digits")
            return default
        return int(cell)

    def flag(self, column: str, default: bool) -> bool:
        """0 or 1."""
        cell = self.cells.get(column)
        if not cell:
            return default
        if cell not in ("0", "1"):
            self.problem(f"{column} is {cell!r}; it must be 0 or 1")
            return default
        return cell == "1"

    def one_of(self, column: str, allowed: tuple[str, ...], default: str) -> str:
        """A cell out of a closed list."""
        cell = self.cells.get(column) or default
        if cell not in allowed:
            self.problem(f"{column} is {cell!r}; it must be one of {', '.join(allowed)}")
            return default
        return cell

    def _number(self, column: str, cell: str) -> float | None:
        try:
            return float(cell)
        except ValueError:
            self.problem(f"{column} is {cell!r}; it must be a number")
            return None


@dataclass(frozen=True, slots=True)
class Folder:
    """A taxonomy folder being read; ``problems`` grows as files are read."""

    path: Path
    problems: list[Problem] = field(default_factory=list)

    def rows(self, file: str, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Row]:
        """Yield the rows of one file; nothing where the file is missing."""
        path = self.path / file
        if not path.is_file():
            if path.exists() or path.is_symlink():
                self.problems.append(Problem(file, 1, "not a regular file"))
            return
        if path.stat().st_size > MAX_FILE_BYTES:
            self.problems.append(Problem(file, 1, f"the file has {path.stat().st_size} bytes; at most {MAX_FILE_BYTES} are read"))
            return
        try:
            lines = path.read_bytes().decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            self.problems.append(Problem(file, 1, f"not UTF-8 text (byte {error.start})"))
            return
        yield from self._parse(file, lines, required, optional)

    def _parse(self, file: str, lines: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Row]:
        header = lines[0].removeprefix("\ufeff").rstrip("\r").split("\t")
        for column in required:
            if column not in header:
                self.problems.append(Problem(file, 1, f"the column {column!r} is missing; found {', '.join(header)}"))
        for column in header:
            if column not in required and column not in optional:
                self.problems.append(Problem(file, 1, f"unknown column {column!r}; allowed are {', '.join(required + optional)}"))
        if len(set(header)) < len(header):
            self.problems.append(Problem(file, 1, "a column is named twice"))
        if any(column not in header for column in required):
            return
        width = len(header)
        for number, line in enumerate(lines[1:], start=2):
            line = line.rstrip("\r")
            if not line:
                continue
            cells = line.split("\t")
            if len(cells) > width:
                self.problems.append(Problem(file, number, f"{len(cells)} cells, but the header has {width}"))
                continue
            row = Row(file, number, dict(zip(header, cells, strict=False)), self.problems)
            if self._sound(row, cells) and all(self._present(row, column) for column in required):
                yield row

    def _sound(self, row: Row, cells: list[str]) -> bool:
        for cell in cells:
            if cell.isascii() and cell.isprintable():
                bad = False
            else:
                bad = any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in cell)
            if bad:
                row.problem(f"control or invisible character in {cell[:40]!r}")
                return False
            if len(cell) > MAX_CELL_CHARS:
                row.problem(f"a cell of {len(cell)} characters; at most {MAX_CELL_CHARS}")
                return False
            if cell != cell.strip() or "  " in cell:
                row.problem(f"stray spaces in {cell[:40]!r}")
                return False
        return True

    @staticmethod
    def _present(row: Row, column: str) -> bool:
        if row.cells.get(column):
            return True
        row.problem(f"{column} is empty")
        return False


def unique(rows: Iterator[Row], key: Callable[[Row], str], what: str) -> Iterator[Row]:
    """Pass on rows whose key was not seen before (case-insensitively); note the others."""
    seen: dict[str, int] = {}
    for row in rows:
        name = key(row)
        first = seen.setdefault(name.casefold(), row.line)
        if first != row.line:
            row.problem(f"{what} {name!r} stands already in line {first}")
            continue
        yield row
