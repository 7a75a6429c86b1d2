"""What a builder makes of a Dockerfile's text, written a second time from BuildKit's rules.

Only what the parser leaves to later: words (quotes, escapes, references) and patterns. Nothing is shared with
runtimeimg; whatever the renderer should never write is an AssertionError.
"""

from collections.abc import Mapping


class _Reader:
    def __init__(self, text: str, env: Mapping[str, str]) -> None:
        self.text, self.at, self.env = text, 0, env

    def next(self) -> str:
        letter = self.text[self.at]
        self.at += 1
        return letter

    def until(self, stop: str) -> str:
        """Read outside quotes up to `stop` (the end when empty)."""
        result = ""
        while self.at < len(self.text):
            letter = self.next()
            if letter == stop:
                return result
            if letter == "\\":
                result += self.next()
            elif letter == "'":
                end = self.text.index("'", self.at)
                result += self.text[self.at : end]
                self.at = end + 1
            elif letter == '"':
                result += self.quoted()
            else:
                result += self.reference() if letter == "$" else letter
        assert not stop, f"{self.text!r} has no closing {stop!r}"
        return result

    def quoted(self) -> str:
        result = ""
        while (letter := self.next()) != '"':
            if letter == "\\" and self.text[self.at] in '"$\\':
                result += self.next()
            else:
                result += self.reference() if letter == "$" else letter
        return result

    def reference(self) -> str:
        assert self.next() == "{", f"{self.text!r} has a dollar that expands by chance"
        name = ""
        while (letter := self.next()).isalnum() or letter == "_":
            name += letter
        value = self.env.get(name, "")
        if letter == "}":
            return value
        assert letter == ":", f"{self.text!r} has {letter!r} after a name"
        operator = self.next()
        word = self.until("}")
        return {"-": value or word, "+": word if value else ""}[operator]


def word(text: str, env: Mapping[str, str]) -> str:
    """Return the value of one word."""
    assert not text.startswith("\ufeff"), "a byte order mark at the beginning is dropped"
    return _Reader(text, env).until("")


def finds(pattern: str, path: str) -> bool:
    """Tell whether COPY with this source takes `path`: matched if there is a wildcard, otherwise compared."""
    at, is_pattern = 0, False
    while at < len(pattern):
        is_pattern |= pattern[at] in "*?["
        at += 2 if pattern[at] == "\\" else 1
    return matches(pattern, path) if is_pattern else pattern == path


def matches(pattern: str, path: str) -> bool:
    """Tell whether `path` matches as in Go's filepath.Match."""
    if not pattern:
        return not path
    if pattern[0] == "*":
        return matches(pattern[1:], path) or (path[:1] not in {"", "/"} and matches(pattern, path[1:]))
    if not path:
        return False
    if pattern[0] == "?":
        return path[0] != "/" and matches(pattern[1:], path[1:])
    if pattern[0] == "[":
        is_in, rest = _class(pattern, path[0])
        return is_in and matches(rest, path[1:])
    literal, rest = (pattern[1], pattern[2:]) if pattern[0] == "\\" else (pattern[0], pattern[1:])
    return literal == path[0] and matches(rest, path[1:])


def _class(pattern: str, letter: str) -> tuple[bool, str]:
    at = 1
    negated = pattern[at] == "^"
    at += negated
    is_in, first = False, True
    while first or pattern[at] != "]":
        first = False
        at += pattern[at] == "\\"
        low = high = pattern[at]
        at += 1
        if pattern[at] == "-":
            at += 1
            at += pattern[at] == "\\"
            high = pattern[at]
            at += 1
        is_in |= low <= letter <= high
    return is_in != negated, pattern[at + 1 :]
