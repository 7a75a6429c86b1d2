"""Which instruction a build by a command line is at, told from what that prints: BuildKit's and buildah's lines."""

from __future__ import annotations

import re

from runtimeimg.builders.base import BuildRequest
from runtimeimg.render import Step, trace

_BUILDKIT = re.compile(r" > \[(?:(?P<stage>\S+) )?(?P<step>\d+)/\d+\] (?P<text>.*?):?\Z")
_BUILDAH = re.compile(r"(?:\[(?P<stage>\d+)/\d+\] )?STEP (?P<step>\d+)/\d+: (?P<text>.*)\Z")
_OF_BUILDKIT = ("FROM", "RUN", "COPY", "WORKDIR")
"""The instructions that BuildKit counts: those that make something."""


class Steps:
    """The instruction that was last named in a build's output: as text, and the place of the spec it came from."""

    def __init__(self, request: BuildRequest) -> None:
        self._request = request
        self._stages: list[list[Step]] = []
        for step in trace(request.plan):
            if step.keyword == "FROM":
                self._stages.append([])
            self._stages[-1].append(step)
        self.instruction: str | None = None
        self.origin: str | None = None

    def take(self, line: str) -> None:
        """Note a line of output."""
        if found := _BUILDKIT.match(line):
            stage = self._named(found["stage"])
            counted = [step for step in stage if step.keyword in _OF_BUILDKIT]
        elif found := _BUILDAH.match(line):
            number = int(found["stage"] or len(self._stages))
            counted = self._stages[number - 1] if 0 < number <= len(self._stages) else []
        else:
            return
        at = int(found["step"])
        step = counted[at - 1] if 0 < at <= len(counted) else None
        if step is not None and found["text"].startswith(step.keyword):
            self.instruction = found["text"]
            self.origin = self._request.place(step.origin) if step.origin else None

    def _named(self, name: str | None) -> list[Step]:
        """Return a stage by BuildKit's name for it; ours are `builder` first, then `source1` and so on."""
        others = [stage for stage in self._stages[:-1] if stage]
        if name == "builder" and others:
            return others[0]
        if name and (found := re.fullmatch(r"source(\d{1,9})", name)):
            first = 1 if self._request.plan.builder in self._request.plan.images else 0
            at = int(found[1]) - 1 + first
            return others[at] if 0 <= at < len(others) else []
        return self._stages[-1]
