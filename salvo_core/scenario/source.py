"""YAML text to plain data with positions: the only importer of yaml.

What comes out is JSON-ready: maps with text keys, lists, text, whole and finite numbers,
true, false and null. ``!include path`` may stand at any value, in included files too.
Everything is bounded before memory is spent (``NODES_MAX`` and its neighbours), so a file
made to blow up when its aliases or includes are expanded is refused.

Faults inside the data (a date, a duplicate key, a missing include) are collected while
the rest is read on; the faulty place holds None and its path stands in
``Parsed.faulty``, so that nobody complains about it twice.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from salvo_core.scenario.parsed import Parsed
from salvo_core.scenario.positions import Place, Spot
from salvo_core.scenario.problems import Severity, problem_at
from salvo_core.scenario.reading import DOCUMENT_BYTES_MAX, Unreadable, confined, read_text

NODES_MAX = 100_000
"""Values of one document, with every alias and include counted as often as it is used."""

DEPTH_MAX = 64
INCLUDE_DEPTH_MAX = 16
INCLUDES_MAX = 1000
"""Of one document, a file counted as often as it is included."""

_INCLUDE = "!include"
_STANDARD = "tag:yaml.org,2002:"
_INTEGER_BITS_MAX = 64
_QUOTE_IT = {
    f"{_STANDARD}timestamp": "a date",
    f"{_STANDARD}binary": "binary data",
}
_SCALARS: Any = yaml.constructor.SafeConstructor()


def parse_file(path: Path, *, boundary: Path) -> Parsed:
    """Return a file's data; whatever is wrong with it stands in ``problems``.

    Args:
        path: The file, shown to people as given.
        boundary: The folder that includes may not leave.
    """
    return _Reader(boundary).read(path)


def parse_text(text: str, *, name: str, folder: Path, boundary: Path) -> Parsed:
    """Return a text's data, as ``parse_file`` would if it stood in a file of that name and folder."""
    return _Reader(boundary).read_string(text, name, folder)


class _Fault(Exception):
    """One fault, located; caught by the reader."""

    def __init__(self, code: str, message: str, spot: Spot, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.spot, self.hint = code, message, spot, hint


class _Composer(yaml.SafeLoader):
    """PyYAML's own composer with bounds on what it composes."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name  # ends up in every mark, which is how a node knows its file
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._nodes > NODES_MAX or self._depth > DEPTH_MAX:
            events: Any = self
            raise _too_large(_spot(events.peek_event()))
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Reads one document: composes each file to nodes, then builds data from the nodes."""

    def __init__(self, boundary: Path) -> None:
        self._boundary = boundary
        self._parsed = Parsed()
        self._bytes_left = DOCUMENT_BYTES_MAX
        self._nodes_left = NODES_MAX
        self._includes_left = INCLUDES_MAX
        self._folders: dict[str, Path] = {}  # of each file, by the name its marks carry
        self._chain: list[tuple[Path, str]] = []  # files being built, outermost first
        self._open: set[int] = set()  # collections being built, to see one that holds itself

    def read(self, path: Path) -> Parsed:
        try:
            text, size = read_text(path)
        except Unreadable as error:
            spot = Spot(str(path), error.line, error.col)
            self._fault(_Fault("E009", error.message, spot, error.hint), ())
            return self._parsed
        self._bytes_left -= size
        return self.read_string(text, str(path), path.parent, path.resolve())

    def read_string(self, text: str, name: str, folder: Path, real: Path | None = None) -> Parsed:
        try:
            root = self._compose(text, name, folder)
            if root is None:
                raise _Fault("E007", "the file is empty", Spot(name), "write at least model and prompt")
            with self._building(real or folder / name, name):
                self._parsed.data = self._value(root, ())
        except _Fault as fault:
            self._fault(fault, ())
        return self._parsed

    def _compose(self, text: str, name: str, folder: Path) -> yaml.Node | None:
        text = text.removeprefix("\N{BYTE ORDER MARK}")
        self._parsed.positions.lines[name] = text.splitlines()
        self._folders[name] = folder
        try:
            composer: Any = _Composer(text, name)
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            spot = Spot(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
            raise _Fault(
                "E006", f"the character U+{ord(text[error.position]):04X} is not allowed in YAML", spot,
                "remove it, or write it as an escape inside double quotes",
            ) from None  # fmt: skip
        try:
            root: yaml.Node | None = composer.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise _syntax_fault(error, name) from None
        except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF" that names no character
            spot = _spot(composer.get_mark())
            raise _Fault("E006", "an escape here names no character", spot, "check the escape") from None
        return root

    def _value(self, node: yaml.Node, path: Place) -> Any:
        """Return a node's data and note its positions; a fault below it is noted at its own path."""
        self._nodes_left -= 1
        # Not the path's length: merges of merges go deep and stay at one path.
        if self._nodes_left < 0 or len(self._open) > DEPTH_MAX:
            raise _too_large(_spot(node))
        try:
            if node.tag == _INCLUDE:
                return self._included(node, path)
            self._parsed.positions.values[path] = _spot(node)
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, path)
            with self._inside(node):
                if isinstance(node, yaml.MappingNode) and node.tag == f"{_STANDARD}map":
                    return self._mapping(node, path)
                if isinstance(node, yaml.SequenceNode) and node.tag == f"{_STANDARD}seq":
                    return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
            raise _unknown_tag(node)
        except _Fault as fault:
            if fault.code == "E010":  # of the whole document: going on could cost as much again
                raise
            self._fault(fault, path)
            return None

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        built: dict[str, Any] = {}
        merges = [value for key, value in node.value if key.tag == f"{_STANDARD}merge"]
        for value in reversed(merges):  # the first named wins, and the map's own keys win over all
            built.update(self._merged(value, path))
        own: dict[str, Spot] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_STANDARD}merge":
                continue
            try:
                key = _key(key_node)
            except _Fault as fault:
                self._note(fault, path)
                continue
            spot = _spot(key_node)
            if key in own:
                first = own[key]
                said = f"{key[:80]!r} stands here a second time"
                hint = f"the first is in line {first.line}: keep one of them"
                self._note(_Fault("E011", said, spot, hint), (*path, key))
                continue
            own[key] = self._parsed.positions.keys[(*path, key)] = spot
            built[key] = self._value(value_node, (*path, key))
        return built

    def _merged(self, node: yaml.Node, path: Place) -> dict[str, Any]:
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_STANDARD}seq":
            built: dict[str, Any] = {}
            with self._inside(node):
                for item in reversed(node.value):
                    built.update(self._merged(item, path))
            return built
        spot = self._parsed.positions.values.get(path)
        found = self._value(node, path)
        if spot is not None:  # building the merged map has put its own position there
            self._parsed.positions.values[path] = spot
        if path not in self._parsed.faulty and not isinstance(found, dict):
            raise _Fault("E006", "<< takes a map, or a list of maps", _spot(node))
        return found if isinstance(found, dict) else {}

    def _scalar(self, node: yaml.ScalarNode, path: Place) -> Any:
        kind = node.tag.removeprefix(_STANDARD)
        try:
            match kind:
                case "str" | "value":  # a lone "=" has a tag of its own, which nobody means
                    return _text(node)
                case "null":
                    return None
                case "bool":
                    return _SCALARS.construct_yaml_bool(node)
                case "int":
                    return self._number(_SCALARS.construct_yaml_int(node), node, path)
                case "float":
                    return self._number(_SCALARS.construct_yaml_float(node), node, path)
        except (ValueError, LookupError, OverflowError):  # !!int of text, or too many digits
            raise _Fault(
                "E003", f"is not a usable {kind}", _spot(node), "quote it if text is meant"
            ) from None
        if node.tag in _QUOTE_IT:
            raise _Fault(
                "E004",
                f"YAML reads this as {_QUOTE_IT[node.tag]}, which a scenario cannot hold",
                _spot(node),
                f'quote it: "{node.value[:40]}"',
            )
        raise _unknown_tag(node)

    def _number(self, value: int | float, node: yaml.ScalarNode, path: Place) -> int | float:
        if isinstance(value, float) and not math.isfinite(value):
            raise _Fault("E003", "must be a finite number", _spot(node), "give a number, or leave it out")
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS_MAX:
            raise _Fault("E003", "is larger than 64 bits", _spot(node), "quote it if text is meant")
        if ":" in node.value:
            said = f"YAML reads {node.value[:40]} as the number {value}"
            hint = f'quote it if a time is meant: "{node.value[:40]}"'
            self._note(_Fault("W008", said, _spot(node), hint), path, "warning")
        return value

    def _included(self, node: yaml.Node, path: Place) -> Any:
        spot = _spot(node)
        self._parsed.positions.values[path] = spot
        if not isinstance(node, yaml.ScalarNode):
            raise _Fault("E008", "!include takes the path of one file", spot)
        self._includes_left -= 1
        if self._includes_left < 0:
            raise _Fault("E010", f"more than {INCLUDES_MAX:,} includes", spot, "include larger parts")
        folder = self._folders[spot.file]
        shown = node.value
        try:
            real = confined(node.value, folder, self._boundary)
            shown = self._shown(node.value, spot.file, real)
            if real in [file for file, _ in self._chain]:
                chain = " -> ".join([*(name for _, name in self._chain), shown])
                raise _Fault("E008", f"includes itself: {chain}", spot, "break the circle")
            if len(self._chain) > INCLUDE_DEPTH_MAX:
                raise _Fault("E008", f"more than {INCLUDE_DEPTH_MAX} includes inside each other", spot)
            text, size = read_text(real, bytes_left=self._bytes_left)
        except Unreadable as error:
            if error.line:
                raise _Fault("E009", error.message, Spot(shown, error.line, error.col), error.hint) from None
            said = f"{node.value[:200]!r} {error.message}"
            raise _Fault("E008", said, spot, error.hint or "the path starts at the including file") from None
        self._bytes_left -= size
        self._parsed.included.add(real)
        root = self._compose(text, shown, real.parent)
        if root is None:
            raise _Fault("E007", f"the included file {node.value[:200]!r} is empty", spot)
        with self._building(real, shown):
            return self._value(root, path)

    def _shown(self, wanted: str, including: str, real: Path) -> str:
        """Return a short name for an included file that no other file of this document has."""
        plain = Path(including).parent / wanted
        short = Path(os.path.normpath(plain)).as_posix()
        # With symlinked folders two files may come out as one; the long name keeps them apart.
        return short if self._folders.get(short, real.parent) == real.parent else plain.as_posix()

    @contextmanager
    def _building(self, real: Path, shown: str) -> Iterator[None]:
        self._chain.append((real, shown))
        try:
            yield
        finally:
            self._chain.pop()

    @contextmanager
    def _inside(self, node: yaml.Node) -> Iterator[None]:
        if id(node) in self._open:
            raise _Fault("E010", "this anchor holds an alias of itself", _spot(node), "remove the alias")
        self._open.add(id(node))
        try:
            yield
        finally:
            self._open.discard(id(node))

    def _fault(self, fault: _Fault, path: Place) -> None:
        self._parsed.faulty.add(path)
        self._note(fault, path)

    def _note(self, fault: _Fault, path: Place, severity: Severity = "error") -> None:
        self._parsed.problems.append(
            problem_at(
                fault.code,
                fault.message,
                fault.spot,
                self._parsed.positions,
                path=path,
                hint=fault.hint,
                severity=severity,
            )
        )


def _spot(node: Any) -> Spot:
    """Return where a node, event or mark begins, and how far it reaches on that line."""
    start = getattr(node, "start_mark", node)
    end = getattr(node, "end_mark", start)
    width = end.column - start.column if end.line == start.line else 1
    return Spot(start.name, start.line + 1, start.column + 1, max(1, width))


def _key(node: yaml.Node) -> str:
    """Return a map's key as it is written: ``on``, ``200`` and ``2026-01-01`` are text here."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == _INCLUDE:
        raise _Fault(
            "E004", "a key must be plain text", _spot(node), "write the key as one word, or in quotes"
        )
    if not node.value and node.style is None:
        raise _Fault("E006", "a key is missing in front of the colon", _spot(node))
    return _text(node)


def _text(node: yaml.ScalarNode) -> str:
    """Return text that UTF-8 can carry: escaped surrogate pairs joined, as JSON writes them."""
    text: str = node.value
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise _Fault(
            "E003", "holds half of a surrogate pair", _spot(node), r"write \U and 8 digits"
        ) from None


def _unknown_tag(node: yaml.Node) -> _Fault:
    tag = node.tag.replace(_STANDARD, "!!")[:80]
    return _Fault("E006", f"the tag {tag} is not allowed", _spot(node), "the only tag there is: !include")


def _too_large(spot: Spot) -> _Fault:
    return _Fault(
        "E010", f"grows beyond {NODES_MAX:,} values or {DEPTH_MAX} levels", spot,
        "remove nested aliases, or is this the right file?",
    )  # fmt: skip


def _syntax_fault(error: yaml.MarkedYAMLError, name: str) -> _Fault:
    said = error.problem or error.context or "cannot be read"
    # What is never closed is noticed at the end of the file; where it was opened is what helps.
    unclosed = "<stream end>" in said or "unexpected end of stream" in said
    mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
    spot = _spot(mark) if mark else Spot(name)
    if error.context == "expected a single document in the stream":
        return _Fault("E006", "a second document begins here", spot, "one file holds one document: split it")
    if error.context and error.context != said:
        said = f"{error.context}: {said}"
    return _Fault("E006", said, spot, _syntax_hint(said))


def _syntax_hint(said: str) -> str:
    if r"\t" in said:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in said:
        return "quote text that holds a colon, or check the indentation"
    if "expected ',' or" in said or "flow" in said:
        return "is a bracket or brace left open?"
    if "alias" in said:
        return "quote text that begins with *"
    return "check the indentation and the quotes around this place"
