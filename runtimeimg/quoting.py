r"""Quoting for a Dockerfile: a filter for each context, so that a builder reads the very value that was planned.

What a Dockerfile does to its text (BuildKit's `frontend/dockerfile/parser` and `shell`, which the classic builder
and buildah follow):

* Lines end at `\n` alone and hold 65,535 bytes at the most; a `\` at the end continues a line, and a continuation
  that begins with `#` is dropped. So a long value is cut into several quoted pieces or at places with an escape.
* ENV, LABEL, WORKDIR, USER and STOPSIGNAL hold words. Within double quotes only `\`, `"` and `$` are special. In the
  word of `${NAME:-word}` quotes and `}` are special too, even within double quotes.
* RUN, ENTRYPOINT and CMD hold JSON arrays of strings and expand nothing.
* COPY and VOLUME hold JSON arrays of strings, each of which is then read as a word.
* The value of a flag (`--chown=`) is unquoted once as a flag and once more as a word.

Line breaks in words, NUL, and lone surrogates have no form at all and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from runtimeimg.errors import UsageError
from runtimeimg.spec import patterns
from runtimeimg.spec.expansion import Segment, Variable

_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@%+,=-]*\Z")
"""Words that need no quotes."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ENV_NAME = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*\Z")
_OWNER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_.][A-Za-z0-9_.-]*\$?)?\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_ESCAPED = re.compile(
    r'["\\\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]'
)
"""What JSON must escape, and what nobody would see or what turns the text around it."""
_JSON_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_LINE = 16_000  # bytes of one piece of a word, several of which may meet in a line
_CHUNK = 4_000  # characters of one piece of a JSON string, each six bytes at the most
_MAX_VARIABLE = 32_000  # bytes; a reference cannot be cut


def env_name(name: str) -> str:
    """Return the name of an environment variable; one that a flag could be taken for is quoted."""
    if not _ENV_NAME.match(name):
        raise UsageError(
            f"environment name {_shown(name)} is not valid",
            hint="letters, digits, '_', '-' and '.' make one, and no digit begins it",
        )
    return word(name)


def env_value(segments: Sequence[Segment]) -> str:
    """Return the value of an ENV: literal text quoted, references as `${NAME...}`."""
    if not any(isinstance(segment, Variable) for segment in segments):
        return word("".join(str(segment) for segment in segments))
    return _quoted(_env_atoms(segments))


def label_key(key: str) -> str:
    """Return the key of a LABEL."""
    if not key or "=" in key:
        raise UsageError(f"label key {_shown(key)} is empty or holds '=', which a Dockerfile cannot")
    return word(key)


def word(text: str) -> str:
    """Return `text` as one word in a line of its own instruction (ENV, LABEL, WORKDIR, USER, STOPSIGNAL)."""
    _check(text, "\n\0")
    if len(text) <= _LINE and _BARE.match(text):
        return text
    return _quoted(_escaped(letter, '\\"$') for letter in text)


def json_array(items: Iterable[str]) -> str:
    """Return a JSON array of strings (RUN, ENTRYPOINT, CMD)."""
    parts = [_json_string(item) for item in items]
    fits = sum(len(part.encode()) for part in parts) <= _LINE
    return "[" + (", " if fits else ", \\\n").join(parts) + "]"


def words(items: Iterable[str]) -> str:
    """Return a JSON array of strings that are then read as words (VOLUME, COPY)."""
    return json_array(_inner_word(item) for item in items)


def shell(line: str) -> str:
    """Return the arguments of a RUN that gives `line` to the shell."""
    return json_array(("/bin/sh", "-c", line))


def copy_pattern(pattern: str) -> str:
    r"""Return `pattern` in the form that all builders read alike, not yet quoted.

    Docker undoes escapes only in a pattern with wildcards and takes one without literally; buildah always does. A
    literal `*`, `?`, `[` or `\` becomes a class of itself, which makes it a pattern for all.
    """
    return "".join(
        piece.text if piece.is_wildcard else re.sub(r"[*?\[\\]", _as_class, piece.text)
        for piece in patterns.parse(pattern)
    )


def owner(text: str) -> str:
    """Return the value of `--chown=`: the dollar that may end a name is escaped for both readings."""
    if not _OWNER.match(text):
        raise UsageError(f"owner {_shown(text)} is not valid", hint="write 'user' or 'user:group', names or numbers")
    return text.replace("$", r"\\\$")


def _as_class(found: re.Match[str]) -> str:
    return r"[\\]" if found[0] == "\\" else r"[\[]" if found[0] == "[" else f"[{found[0]}]"


def _env_atoms(segments: Sequence[Segment]) -> Iterator[str]:
    """Give what a quoted ENV value is made of and may be cut between."""
    for segment in segments:
        if isinstance(segment, Variable):
            reference = _reference(segment)
            if len(reference.encode()) > _MAX_VARIABLE:
                raise UsageError(
                    f"reference to '{segment.name}' is longer than {_MAX_VARIABLE} bytes, which no Dockerfile can hold",
                    hint="write the text into a variable of its own and refer to that",
                )
            yield reference
        else:
            _check(segment, "\n\0")
            yield from (_escaped(letter, '\\"$') for letter in segment)


def _reference(variable: Variable) -> str:
    if not _NAME.match(variable.name) or variable.operator not in {"", "-", "+"}:
        raise UsageError(f"{_shown(variable.name)} is not a variable that a Dockerfile can refer to")
    if not variable.operator:
        return f"${{{variable.name}}}"
    return f"${{{variable.name}:{variable.operator}{''.join(_reference_word(variable.word))}}}"


def _reference_word(segments: Sequence[Segment]) -> Iterator[str]:
    for segment in segments:
        if isinstance(segment, Variable):
            yield _reference(segment)
        else:
            _check(segment, "\n\0")
            yield from (_escaped(letter, "\\\"'$}") for letter in segment)


def _quoted(atoms: Iterable[str]) -> str:
    """Return `atoms` within double quotes, cut into several adjoining quoted pieces where they are long."""
    pieces: list[list[str]] = [[]]
    size = 0
    for atom in atoms:
        length = len(atom.encode())
        if size + length > _LINE and pieces[-1]:
            pieces.append([])
            size = 0
        pieces[-1].append(atom)
        size += length
    return "\\\n".join(_piece("".join(piece)) for piece in pieces)


def _piece(body: str) -> str:
    r"""Return one quoted piece; backslashes at its end stand behind it, for hadolint takes `\\"` for no end."""
    inside = body.rstrip("\\")
    behind = body[len(inside) :]
    if not behind:
        return f'"{body}"'
    return (f'"{inside}"' if inside else "") + behind + '""'


def _inner_word(text: str) -> str:
    """Return `text` as a word that JSON will hold: in single quotes, where nothing is special but their end."""
    _check(text, "\n\0")
    if text == text.strip() and not text.startswith("\ufeff") and not any(letter in text for letter in "\\\"'$"):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _json_string(text: str) -> str:
    """Return a JSON string; a long one is cut before characters that are then written as escapes."""
    _check(text, "\0")
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)] or [""]
    tail = (_unicode(chunk[0]) + _json_body(chunk[1:]) for chunk in chunks[1:])
    return '"' + "\\\n".join((_json_body(chunks[0]), *tail)) + '"'


def _json_body(text: str) -> str:
    return _JSON_ESCAPED.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    letter = found[0]
    # `\\` at the end of a piece would spoil the continuation, and hadolint takes `\\"` for an escaped quote.
    is_before_quote = letter == "\\" and found.string[found.end() : found.end() + 1] in {"", '"'}
    return _unicode(letter) if is_before_quote else _JSON_SHORT.get(letter) or _unicode(letter)


def _unicode(letter: str) -> str:
    r"""Return one character as `\uXXXX`, or as two of them beyond the basic plane."""
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _escaped(letter: str, special: str) -> str:
    return f"\\{letter}" if letter in special else letter


def _check(text: str, forbidden: str) -> None:
    """Refuse what has no form in a Dockerfile."""
    for letter, name in (("\n", "a line break"), ("\0", "a NUL")):
        if letter in forbidden and letter in text:
            raise UsageError(f"{_shown(text)} holds {name}, which a value of a Dockerfile cannot")
    if _SURROGATE.search(text):
        raise UsageError(f"{_shown(text)} is not valid Unicode text", hint="write it in UTF-8")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
