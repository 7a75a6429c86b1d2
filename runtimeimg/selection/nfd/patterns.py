r"""Regular expressions of strangers, matched in time that grows with the text and never explodes.

The language is that of Go's regexp (RE2), as far as rules of Node Feature Discovery use it: literals, `.`, classes,
`\d \w \s` and their opposites, POSIX classes, groups, `|`, `* + ? {m,n}` greedy or not, `^ $ \A \z`, and `(?i)` at the
front (for letters of ASCII). A pattern is made a machine of a bounded number of states, all of which are followed at
once (Thompson).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

MAX_PATTERN = 1024
"""Characters of a pattern."""
MAX_STATES = 1000
MAX_TEXT = 1024
"""Characters of a text; a longer one matches nothing."""
MAX_STEPS = 5_000_000
"""States that are followed for one document and one host, together: some seconds."""
MAX_DEPTH = 40
"""Groups within groups."""
_MAX_REPEAT = 1000

_DIGIT, _SPACE = ((48, 57),), ((9, 10), (12, 13), (32, 32))
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_CLASSES = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "digit": _DIGIT,
    "lower": ((97, 122),),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_TOP = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]


class PatternError(ValueError):
    """A pattern that is none, is of more than is understood, or is too large."""


@dataclass(slots=True)
class Steps:
    """How much may still be done."""

    left: int = MAX_STEPS

    def spend(self, count: int) -> None:
        """Take some; PatternError when nothing is left."""
        self.left -= count
        if self.left < 0:
            raise PatternError(f"the patterns take more than {MAX_STEPS} steps")


@dataclass(slots=True)
class _State:
    """A state: it takes a character of `ranges` (None: no character), stands at an `edge`, or goes on for nothing."""

    ranges: Ranges | None = None
    edge: str = ""
    after: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was understood; state 0 is the end."""

    text: str
    _states: Sequence[_State]
    _first: int

    def search(self, text: str, steps: Steps) -> bool:
        """Tell whether the pattern is found in a text; PatternError when that takes more than is left of `steps`."""
        if len(text) > MAX_TEXT:
            return False
        codes = [ord(letter) for letter in text]
        now: set[int] = set()
        for place in range(len(codes) + 1):
            now = self._reached({*now, self._first}, place == 0, place == len(codes))
            steps.spend(len(now) + 1)
            if 0 in now:
                return True
            if place < len(codes):
                now = {following for state in now for following in self._taken(state, codes[place])}
        return False

    def _taken(self, state: int, code: int) -> Sequence[int]:
        ranges = self._states[state].ranges
        if ranges is None or not any(low <= code <= high for low, high in ranges):
            return ()
        return self._states[state].after

    def _reached(self, states: set[int], at_start: bool, at_end: bool) -> set[int]:
        """Return the states that stand for a character, or the end, behind all that costs none."""
        seen, stack = set(states), list(states)
        while stack:
            state = self._states[stack.pop()]
            if state.ranges is not None or (state.edge == "^" and not at_start) or (state.edge == "$" and not at_end):
                continue
            fresh = [item for item in state.after if item not in seen]
            seen.update(fresh)
            stack += fresh
        return seen


@lru_cache(256)
def parse(text: str) -> Pattern:
    """Return the pattern that a text is; PatternError saying what is wrong with it."""
    if len(text) > MAX_PATTERN:
        raise PatternError(f"has {len(text)} characters; {MAX_PATTERN} are allowed")
    fold = text.startswith("(?i)")
    parser = _Parser(text, 4 if fold else 0, fold=fold)
    node = parser.alternatives(0)
    if parser.at < len(text):
        raise PatternError("has a ')' without '('")
    machine = _Machine()
    return Pattern(text, machine.states, machine.add(node, 0))


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a pattern: `kind` is `one` (of `ranges`), `edge`, `all` of the parts, `any` of them, or `times`."""

    kind: str
    parts: tuple[_Node, ...] = ()
    ranges: Ranges = ()
    edge: str = ""
    least: int = 0
    most: int | None = None


class _Machine:
    """The states of a pattern, made from its end to its front: each part is given the state that follows it."""

    def __init__(self) -> None:
        self.states = [_State()]
        self._made = 0

    def add(self, node: _Node, following: int) -> int:
        """Make the states of a part and return its first."""
        self._made += 1
        if self._made > 10 * MAX_STATES:
            raise PatternError(_TOO_LARGE)
        match node.kind:
            case "one":
                return self._state(_State(ranges=node.ranges, after=[following]))
            case "edge":
                return self._state(_State(edge=node.edge, after=[following]))
            case "any":
                return self._state(_State(after=[self.add(part, following) for part in node.parts]))
            case "times":
                return self._times(node, following)
        for part in reversed(node.parts):
            following = self.add(part, following)
        return following

    def _times(self, node: _Node, following: int) -> int:
        (part,), least = node.parts, node.least
        if node.most is None:
            loop = self._state(_State())
            first = self.add(part, loop)
            self.states[loop].after = [first, following]
            following, least = (first, least - 1) if least else (loop, 0)
        else:
            for _ in range(node.most - least):
                following = self._state(_State(after=[self.add(part, following), following]))
        for _ in range(least):
            following = self.add(part, following)
        return following

    def _state(self, state: _State) -> int:
        if len(self.states) > MAX_STATES:
            raise PatternError(_TOO_LARGE)
        self.states.append(state)
        return len(self.states) - 1


_TOO_LARGE = f"has more than {MAX_STATES} states when its repetitions are written out"


class _Parser:
    """Reads a pattern into its parts."""

    def __init__(self, text: str, at: int, *, fold: bool) -> None:
        self.text = text
        self.at = at
        self._fold = fold

    def alternatives(self, depth: int) -> _Node:
        """Read up to the end or a `)`."""
        if depth > MAX_DEPTH:
            raise PatternError(f"has groups more than {MAX_DEPTH} deep")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else _Node("any", tuple(branches))

    def _sequence(self, depth: int) -> _Node:
        parts = []
        while self._peek() not in {"", "|", ")"}:
            item = self._item(depth)
            least, most = self._repeat()
            parts.append(item if (least, most) == (1, 1) else _Node("times", (item,), least=least, most=most))
        return _Node("all", tuple(parts))

    def _item(self, depth: int) -> _Node:
        letter = self._next()
        if letter == "(":
            return self._group(depth)
        if letter in "^$":
            return _Node("edge", edge=letter)
        if letter in "*+?":
            raise PatternError(f"has a '{letter}' with nothing before it")
        if letter == "\\" and self._peek() in {"A", "z"}:
            return _Node("edge", edge="^" if self._next() == "A" else "$")
        return _Node("one", ranges=self._ranges(letter))

    def _group(self, depth: int) -> _Node:
        if self._peek() == "?":
            if self.text[self.at : self.at + 2] != "?:":
                raise PatternError(f"has the group '({self.text[self.at : self.at + 3]}', which is not supported")
            self.at += 2
        node = self.alternatives(depth + 1)
        if self._next() != ")":
            raise PatternError("has a '(' without ')'")
        return node

    def _ranges(self, letter: str) -> Ranges:
        if letter == ".":
            return ((0, 9), (11, _TOP))
        if letter == "[":
            return self._class()
        return self._either(self._escape() if letter == "\\" else ((ord(letter), ord(letter)),))

    def _either(self, ranges: Ranges) -> Ranges:
        """Return `ranges`, without regard to the case of letters of ASCII where that is asked for."""
        if not self._fold:
            return ranges
        found = list(ranges)
        for low, high in ranges:
            for first, last, by in ((65, 90, 32), (97, 122, -32)):
                if max(low, first) <= min(high, last):
                    found.append((max(low, first) + by, min(high, last) + by))
        return tuple(found)

    def _escape(self) -> Ranges:
        letter = self._next()
        if letter.lower() in _CLASSES:
            return _CLASSES[letter] if letter.islower() else _others(_CLASSES[letter.lower()])
        if letter in _CONTROL:
            letter = _CONTROL[letter]
        elif letter.isalnum() or not letter:
            raise PatternError(f"has the escape '\\{letter}', which is not supported")
        return ((ord(letter), ord(letter)),)

    def _class(self) -> Ranges:
        """Read what follows a `[`, up to its `]`."""
        negated = self._peek() == "^"
        self.at += negated
        found: list[tuple[int, int]] = []
        first = True
        while self._peek() != "]" or first:
            first = False
            found += self._member()
        self.at += 1
        ranges = self._either(tuple(found))
        return _others(ranges) if negated else ranges

    def _member(self) -> Ranges:
        if self.text.startswith("[:", self.at):
            name, closed, _ = self.text[self.at + 2 :].partition(":]")
            ranges = _POSIX.get(name.removeprefix("^"))
            if not closed or ranges is None:
                raise PatternError(f"has the class '[:{name[:20]}:]', which is not known")
            self.at += len(name) + 4
            return _others(ranges) if name.startswith("^") else ranges
        low = self._one()
        if self._peek() != "-" or self.text[self.at + 1 : self.at + 2] in {"]", ""} or len(low) != 1:
            return low
        self.at += 1
        high = self._one()
        if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
            raise PatternError("has a range in a class whose end is before its begin")
        return ((low[0][0], high[0][0]),)

    def _one(self) -> Ranges:
        letter = self._next()
        if not letter:
            raise PatternError("has a '[' without ']'")
        return self._escape() if letter == "\\" else ((ord(letter), ord(letter)),)

    def _repeat(self) -> tuple[int, int | None]:
        """Read `*`, `+`, `?` or `{m,n}`, and the `?` of one that is not greedy, which changes no answer."""
        sign = self._peek()
        times: tuple[int, int | None] = (1, 1)
        if sign and sign in "*+?":
            self.at += 1
            times = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        elif sign == "{" and (counted := self._counted()) is not None:
            times = counted
        else:
            return times
        if self._peek() == "?":
            self.at += 1
        if self._peek() and self._peek() in "*+?":
            raise PatternError("has two repetitions one after the other")
        return times

    def _counted(self) -> tuple[int, int | None] | None:
        inside, closed, _ = self.text[self.at + 1 :].partition("}")
        least, comma, most = inside.partition(",")
        if not closed or not least.isdecimal() or not (most.isdecimal() or not most) or len(inside) > 11:
            return None  # RE2 takes such a brace as a letter
        counts = (int(least), int(most) if most else None if comma else int(least))
        if counts[0] > _MAX_REPEAT or (counts[1] is not None and not counts[0] <= counts[1] <= _MAX_REPEAT):
            raise PatternError(f"repeats something {{{inside}}} times; {_MAX_REPEAT} are allowed, the least first")
        self.at += len(inside) + 2
        return counts

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        letter = self._peek()
        self.at += 1
        return letter


def _others(ranges: Ranges) -> Ranges:
    """Return all characters that are not in `ranges`."""
    found, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            found.append((at, low - 1))
        at = max(at, high + 1)
    return tuple(found + ([(at, _TOP)] if at <= _TOP else []))
