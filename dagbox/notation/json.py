"""JSON as people type and read it, with forms for the values that JSON lacks.

A record can hold more than JSON: refs, bytes, times, maps whose keys are not text, numbers that are not finite.
Each has a form as an object with one member, and these forms are read back as the values they stand for:

    {"$ref": "post/p1"}        a ref; `@post/p1` is accepted too while typing
    {"$ref": ["post/p1", 7]}   a ref that names the version of its record, as those that `put` returns do
    {"$bytes": "aGk="}         bytes, in base64
    {"$time": "2026-01-31T12:00:00+00:00"}
    {"$float": "nan"}          also "inf", "-inf"; "nan:" and 16 hexadecimal digits for the bits of another NaN
    {"$map": [[1, "one"]]}     a map whose keys are not all text
    {"$ext": [5, "aGk="]}      a MessagePack extension that DagBox does not know: its type, its bytes in base64
    {"$$ref": ...}             an object that really has the one member "$ref"
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
import struct
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, TypeGuard

import msgpack

from dagbox.errors import InvalidArgument
from dagbox.notation.problems import SyntaxProblem
from dagbox.notation.scanner import Expect, Scanner, Style, Word, quote
from dagbox.protocol.times import looks_like_time, read_time
from dagbox.protocol.values import Ref, as_map_key
from dagbox.text.terminal import printable

MAX_DEPTH = 200
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NAN = struct.pack(">d", math.nan)
_NAN_BITS = re.compile(r"nan:([0-9a-f]{16})")
_LITERAL = re.compile(r"\w+")
_LITERALS = {"true": True, "false": False, "null": None}
_BEGINNINGS = ("", '"', "{", "[", "@")
"""The beginnings of values that are no bare text: of none at all, and of JSON and refs."""


class Document(dict[str, Any]):
    """A map that is JSON already: nothing in it is replaced."""


def to_plain(value: Any) -> Any:
    """Return the value with everything that JSON has no form for replaced by its form; `from_plain` reverses it.

    Both take one call for each level, without comprehensions, which are calls too: a value of 511 levels, the most
    that a record holds, has to fit into Python's usual limit of 1,000.
    """
    if value is None or isinstance(value, bool | int | str | Document):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _float_text(value)}
    if isinstance(value, Mapping):
        if not _has_text_keys(value):
            pairs = []
            for key, item in value.items():
                pairs.append([to_plain(key), to_plain(item)])
            return {"$map": pairs}
        escape = "" if _is_object(value) else "$"
        members = {}
        for key, item in value.items():
            members[escape + key] = to_plain(item)
        return members
    if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_asdict"):
        items = []
        for item in value:
            items.append(to_plain(item))
        return items
    return _plain_leaf(value)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"$ref": [str(value), value.version] if value.version else str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, msgpack.ExtType):
        return {"$ext": [value.code, base64.b64encode(value.data).decode()]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return {name: to_plain(item) for name, item in value._asdict().items()}
    return repr(value)


def is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Return True for a list or tuple of values; an extension of MessagePack, which is a tuple to Python, is none."""
    return isinstance(value, list | tuple) and not isinstance(value, msgpack.ExtType)


def _has_text_keys(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


def _is_object(value: Mapping[str, Any]) -> bool:
    """Return True if JSON's object of the same members is not taken for a form."""
    return len(value) != 1 or not next(iter(value)).startswith("$")


def from_plain(value: Any) -> Any:
    """Return the value that plain JSON stands for; the inverse of `to_plain`.

    Raises:
        ValueError: a form such as `{"$bytes": ...}` has invalid content.
    """
    if isinstance(value, list):
        items = []
        for item in value:
            items.append(from_plain(item))
        return items
    if not isinstance(value, dict):
        return value
    escape = 0
    if len(value) == 1:
        (key, item) = next(iter(value.items()))
        if key in _FORMS:
            return _FORMS[key](item)
        escape = 1 if key.startswith("$$") else 0
    members = {}
    for key, item in value.items():
        members[key[escape:]] = from_plain(item)
    return members


def parse_ref(text: str) -> Ref:
    """Return the ref that `bucket/key` names.

    Raises:
        ValueError: there is no slash, or nothing before or after it.
    """
    bucket, slash, key = text.partition("/")
    if not (slash and bucket and key):
        raise ValueError(f"{text!r} is not bucket/key")
    return Ref(bucket, key)


def _ref_form(item: Any) -> Ref:
    if isinstance(item, str):
        return parse_ref(item)
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and type(item[1]) is int and item[1] >= 0:
        ref = parse_ref(item[0])
        return Ref(ref.bucket, ref.key, item[1])
    raise ValueError('{"$ref": ...} takes the text "bucket/key", or a list of it and a version')


def _bytes_form(item: Any) -> bytes:
    try:
        return base64.b64decode(item, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError('{"$bytes": ...} takes base64 text') from None


def _time_form(item: Any) -> datetime:
    try:
        return read_time(item)
    except ValueError as error:
        raise ValueError(f'{{"$time": ...}} {error}') from None


def _float_text(value: float) -> str:
    """Return the text of a number that is not finite. There are 2**53 - 2 NaNs, which differ as bytes."""
    bits = struct.pack(">d", value)
    return f"nan:{bits.hex()}" if math.isnan(value) and bits != _NAN else str(value)


def _float_form(item: Any) -> float:
    if isinstance(item, str) and (match := _NAN_BITS.fullmatch(item)):
        value: float = struct.unpack(">d", bytes.fromhex(match[1]))[0]
        if math.isnan(value):
            return value
    if item not in ("nan", "inf", "-inf"):
        raise ValueError('{"$float": ...} takes "nan", "inf" or "-inf"')
    return float(item)


def _map_form(item: Any) -> dict[Any, Any]:
    try:
        return {as_map_key(from_plain(key)): from_plain(entry) for key, entry in item}
    except (TypeError, ValueError):
        raise ValueError('{"$map": ...} takes a list of [key, value] pairs') from None


def _ext_form(item: Any) -> msgpack.ExtType:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], int) or not 0 <= item[0] <= 127:
        raise ValueError('{"$ext": ...} takes a list of a type from 0 to 127 and base64 text')
    return msgpack.ExtType(item[0], _bytes_form(item[1]))


_FORMS = {
    "$ref": _ref_form,
    "$bytes": _bytes_form,
    "$time": _time_form,
    "$float": _float_form,
    "$map": _map_form,
    "$ext": _ext_form,
}


def dump(value: Any, *, indent: int | None = None) -> str:
    """Return the JSON text of a value, in one line unless an indent is given.

    Raises:
        InvalidArgument: it is nested deeper than JSON can be written here: hundreds of maps whose keys are not text.
    """
    try:
        plain = to_plain(value)
        return json.dumps(plain, ensure_ascii=False, indent=indent) if indent else _ENCODER.encode(plain)
    except RecursionError:
        raise InvalidArgument("the value is nested too deep for JSON") from None


def write(value: Any) -> str:
    """Return the value as it is typed in the shell: JSON, with refs as `@bucket/key` if a command can have these."""
    if isinstance(value, Ref) and not value.version and not names_file(text := str(value)) and "\0" not in text:
        return f"@{quote(text)}"
    if is_list(value):
        items = []
        for item in value:
            items.append(write(item))
        return f"[{', '.join(items)}]"
    if isinstance(value, Mapping) and _has_text_keys(value) and _is_object(value):
        members = []
        for key, item in value.items():
            members.append(f"{_ENCODER.encode(key)}: {write(item)}")
        return "{" + ", ".join(members) + "}"
    return dump(value)


def write_cell(value: Any) -> str:
    """Return a value as a table, or a key as a tree shows it; different ones never look alike, once `printable` too.

    A text stands as it is, unless it could be taken for another value, or for none: then it is in quotes. That is so
    of texts that `printable` changes too, as the escape of a character is also a text. Times stand as ISO 8601.
    All else stands as `write` has it.
    """
    if isinstance(value, str):
        return _ENCODER.encode(value) if _looks_like_other(value) else value
    if isinstance(value, datetime):
        return value.isoformat()
    try:
        return write(value)
    except RecursionError:
        return dump(value)


def _looks_like_other(text: str) -> bool:
    return (
        text in _LITERALS
        or text != text.strip()
        or text[:1] in _BEGINNINGS
        or text != printable(text)
        or _NUMBER.fullmatch(text) is not None
        or looks_like_time(text)
    )


def load(text: str) -> Any:
    """Return the value of a whole JSON text.

    Raises:
        SyntaxProblem: it is not JSON; names the place.
    """
    try:
        return from_plain(
            json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=unique_members)
        )
    except (json.JSONDecodeError, _Twice):
        pass
    except RecursionError:
        # Parsed again below, by the parser that says where it becomes too deep.
        pass
    except ValueError as error:
        raise SyntaxProblem(str(error), 0, len(text)) from None
    scanner = Scanner(text)
    scanner.next_char()
    value = read_json(scanner)
    if scanner.next_char():
        scanner.wrong("the JSON value ends before this")
    return value


class _Twice(ValueError):
    """A member of an object is there twice."""


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these members, as the `object_pairs_hook` of `json.loads`.

    Raises:
        ValueError: one is there twice; JSON leaves open which of them counts.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _Twice(f"the member {json.dumps(twice, ensure_ascii=False)} is there twice")
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large for a number")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is not JSON: write {{"$float": "{name.lower().replace("infinity", "inf")}"}}')


def names_file(text: str) -> bool:
    """Return True if `@` before this text names a file: a path that begins with /, ./, ../ or ~. All else is a ref."""
    return text.startswith(("/", "./", "../", "~"))


def read_json(scanner: Scanner, target: Any = None) -> Any:
    """Read one JSON value at the scanner's place; refs may be written `@bucket/key`.

    Args:
        target: the record the value is for; completion proposes its fields.

    Raises:
        SyntaxProblem: it is not JSON.
        Unfinished: the text ends inside the value.
    """
    start = scanner.pos
    value = _read_value(scanner, target, 0)
    try:
        return from_plain(value)
    except ValueError as error:
        scanner.wrong(str(error), start, scanner.pos)


def _read_value(scanner: Scanner, target: Any, depth: int) -> Any:
    char = scanner.next_char()
    if depth > MAX_DEPTH:
        scanner.wrong(f"nested deeper than {MAX_DEPTH}")
    if char == "{":
        return _read_object(scanner, target, depth)
    if char == "[":
        return _read_list(scanner, target, depth)
    if char == '"':
        return _read_string(scanner, target, depth, None)
    if char == "@":
        return _read_ref(scanner, depth)
    return _read_scalar(scanner)


def _read_object(scanner: Scanner, target: Any, depth: int) -> dict[str, Any]:
    scanner.pos += 1
    out: dict[str, Any] = {}
    while True:
        char = scanner.next_char()
        if char == "}" and not out:
            scanner.pos += 1
            return out
        if not char:
            scanner.expect(Expect.JSON_KEY, None, (target, depth, tuple(out)))
            scanner.unfinished("} is missing")
        if char != '"':
            scanner.wrong('a name in double quotes expected, such as "name"')
        start = scanner.pos
        key = _read_string(scanner, target, depth, out)
        if key in out:
            scanner.wrong(f"the member {json.dumps(key, ensure_ascii=False)} is there twice", start, scanner.pos)
        scanner.need(":", f"after {json.dumps(key, ensure_ascii=False)}")
        out[key] = _read_value(scanner, target, depth + 1)
        if not _read_separator(scanner, "}"):
            return out


def _read_list(scanner: Scanner, target: Any, depth: int) -> list[Any]:
    scanner.pos += 1
    out: list[Any] = []
    if scanner.take("]"):
        return out
    while True:
        out.append(_read_value(scanner, target, depth + 1))
        if not _read_separator(scanner, "]"):
            return out


def _read_separator(scanner: Scanner, close: str) -> bool:
    """Read a comma (True) or the closing bracket (False)."""
    char = scanner.next_char()
    if char not in (",", close):
        scanner.absent(f", or {close} expected, not {char!r}" if char else f"{close} is missing")
    scanner.pos += 1
    return char == ","


def _read_string(scanner: Scanner, target: Any, depth: int, members: dict[str, Any] | None) -> str:
    """Read a quoted text: a value, or the name of a member if those before it are given."""
    start = scanner.pos
    style: Style = "string" if members is None else "json-key"
    try:
        value, end = scanstring(scanner.text, start + 1, True)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Unterminated"):
            scanner.wrong(f"bad text: {error.msg.lower()}", error.pos, error.pos + 1)
        scanner.pos = scanner.end
        scanner.span(start, scanner.end, style)
        if members is not None:
            word = Word(scanner.text[start + 1 :], start, scanner.end)
            scanner.expect(Expect.JSON_KEY, word, (target, depth, tuple(members)))
        scanner.unfinished("a quote is open", start)
    scanner.pos = end
    scanner.span(start, end, style)
    return str(value)


def _read_ref(scanner: Scanner, depth: int) -> dict[str, str]:
    """Read `@bucket/key` as the form that `from_plain` understands."""
    start = scanner.pos
    scanner.pos += 1
    word = scanner.read_word(Expect.REF) if not scanner.peek().isspace() else None
    if word is None and scanner.at_end:
        scanner.unfinished("bucket/key is missing after @")
    bucket, _, key = word.value.partition("/") if word else ("", "", "")
    if word is not None and names_file(word.value):
        scanner.wrong("a file stands in the place of a whole value, not in it", start, scanner.pos)
    if word is None or not bucket or not key:
        file = f"; a file is written @./{word.value or 'FILE'}" if word is not None and not depth else ""
        scanner.wrong(f"@ takes bucket/key, such as @user/ada{file}", start, scanner.pos)
    scanner.span(start, scanner.pos, "ref")
    return {"$ref": word.value}


def _read_scalar(scanner: Scanner) -> Any:
    if scanner.at_end:
        scanner.unfinished("a JSON value is missing")
    match = _NUMBER.match(scanner.text, scanner.pos)
    if match and (match.end() == len(scanner.text) or scanner.text[match.end()] in " \t\r\n,]}|>"):
        scanner.pos = match.end()
        scanner.span(match.start(), match.end(), "number")
        try:
            return json.loads(match.group(), parse_float=_finite)
        except ValueError as error:
            scanner.wrong(str(error), match.start(), match.end())
    literal = _LITERAL.match(scanner.text, scanner.pos)
    if literal is None:
        scanner.wrong(f"a JSON value expected, not {scanner.peek()!r}")
    word = Word(literal.group(), literal.start(), literal.end())
    scanner.expect(Expect.KEYWORD, word, tuple(_LITERALS))
    if word.value not in _LITERALS:
        if word.end == len(scanner.text) and any(name.startswith(word.value) for name in _LITERALS):
            scanner.unfinished("true, false or null", word.start)
        hint = f'"{word.value}"' if word.value.isalpha() else "true, false, null, a number or a text in double quotes"
        scanner.wrong(f"{word.value} is not JSON: write {hint}", word.start, word.end)
    scanner.pos = word.end
    scanner.span(word.start, word.end, "literal")
    return _LITERALS[word.value]
