"""No value gets out of its instruction: arbitrary plans are rendered, and read back with BuildKit's own parser.

RUNTIMEIMG_EXAMPLES sets the number of plans.
"""

import os
from collections.abc import Iterator

import dockerfile
from hypothesis import given, settings

from runtimeimg.plan import BuildPlan, StampInstructions
from runtimeimg.render import render_dockerfile, trace
from runtimeimg.spec.expansion import expand

from . import oracle
from .plans import WRITTEN, Case, Source, cases

EXAMPLES = int(os.environ.get("RUNTIMEIMG_EXAMPLES", "2000"))
ENVIRONMENTS = ({}, {"HOME": "/root", "PATH": 'p"$\\', "A": "${PATH}", "_x9": ""})


def keywords(plan: BuildPlan, stamp: StampInstructions | None) -> Iterator[str]:
    """The instructions that a plan should become."""
    images = {str(copy.image) for copy in plan.copies if copy.image and copy.image.transport != "dir"}
    yield from ["FROM"] * (len(images) + 1)
    yield from ["ENV"] * len(plan.env)
    yield from ["LABEL"] * bool(plan.labels)
    yield from ["RUN"] * len(plan.run)
    yield from ["COPY"] * len(plan.copies)
    yield from ["WORKDIR"] * (plan.work_dir is not None)
    yield from ["EXPOSE"] * bool(plan.ports)
    yield from ["VOLUME"] * bool(plan.volumes)
    yield from ["USER"] * (plan.user is not None)
    yield from ["STOPSIGNAL"] * (plan.stop_signal is not None)
    yield from ["ENTRYPOINT"] * (plan.entrypoint is not None or bool(stamp and stamp.entrypoint is not None))
    yield from ["CMD"] * (plan.cmd is not None or bool(stamp and stamp.cmd is not None))
    yield from ["LABEL"] * bool(stamp and stamp.labels)


def pairs(command: dockerfile.Command) -> list[tuple[str, str]]:
    values = [oracle.word(value, {}) for value in command.value]
    return list(zip(values[::2], values[1::2], strict=True))


def check_stages(found: list[dockerfile.Command], plan: BuildPlan) -> dict[str, str]:
    """Compare the FROM lines; return the images of the stages by name."""
    stages: dict[str, str] = {}
    for command in found[:-1]:
        image, keyword, name = command.value
        assert keyword == "AS"
        assert image not in stages, "an image is taken for a stage"
        assert name not in stages
        assert (name == "builder") == (plan.builder in WRITTEN and image == WRITTEN[plan.builder])
        stages[name] = image
    base = found[-1].value
    assert base == ("scratch" if plan.base is None else WRITTEN[plan.base],)
    assert base[0] not in stages
    return stages


def check_copies(
    found: list[dockerfile.Command], plan: BuildPlan, sources: tuple[Source, ...], stages: dict[str, str]
) -> None:
    for command, copy, source in zip(found, plan.copies, sources, strict=True):
        flags = dict(flag.split("=", 1) for flag in command.flags)
        stage = flags.pop("--from", None)
        assert command.json
        assert {key: oracle.word(value, {}) for key, value in flags.items()} == (
            {} if copy.chown is None else {"--chown": copy.chown}
        )
        pattern, destination = (oracle.word(value, {}) for value in command.value)
        assert destination == copy.destination
        if stage is None:
            assert copy.image is None or copy.image.transport == "dir"
            prefix, slash, pattern = pattern.partition("/")
            assert prefix == "workspace" if copy.image is None else prefix.startswith("rootfs")
            pattern = slash + pattern
        else:
            assert copy.image is not None
            assert stages[stage] == WRITTEN[copy.image]
        assert oracle.matches(copy.source, source.example)
        for path in (source.example, source.pattern, source.example + "x", "/" + source.example[2:]):
            assert oracle.finds(pattern, path) == oracle.matches(copy.source, path), path


@given(cases())
@settings(max_examples=EXAMPLES)
def test_a_builder_reads_exactly_what_was_planned(case: Case) -> None:
    plan, stamp = case.plan, case.stamp
    text = render_dockerfile(plan, stamp=stamp)
    assert text == render_dockerfile(plan, stamp=stamp)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    commands = list(dockerfile.parse_string(text))
    assert [command.cmd for command in commands] == list(keywords(plan, stamp))
    assert [step.keyword for step in trace(plan, stamp=stamp)] == [command.cmd for command in commands]
    assert not any(command.heredocs for command in commands)

    by_keyword: dict[str, list[dockerfile.Command]] = {}
    for command in commands:
        by_keyword.setdefault(command.cmd, []).append(command)
    assert all(not command.flags for command in commands if command.cmd != "COPY")

    stages = check_stages(by_keyword["FROM"], plan)
    check_copies(by_keyword.get("COPY", []), plan, case.sources, stages)
    for command, variable in zip(by_keyword.get("ENV", []), plan.env, strict=True):
        name, value = command.value
        assert oracle.word(name, {}) == variable.name
        for env in ENVIRONMENTS:
            assert oracle.word(value, env) == expand(variable.value, env)
    expected = [list(labels.items()) for labels in (plan.labels, stamp.labels if stamp else {}) if labels]
    assert [pairs(command) for command in by_keyword.get("LABEL", [])] == expected
    for command, line in zip(by_keyword.get("RUN", []), plan.run, strict=True):
        assert (command.json, command.value) == (True, ("/bin/sh", "-c", line.value))
    check_single(by_keyword, plan, stamp)


def check_single(
    by_keyword: dict[str, list[dockerfile.Command]], plan: BuildPlan, stamp: StampInstructions | None
) -> None:
    for keyword, value in (("WORKDIR", plan.work_dir), ("USER", plan.user), ("STOPSIGNAL", plan.stop_signal)):
        if value is not None:
            assert [oracle.word(item, {}) for item in by_keyword[keyword][0].value] == [value]
    if plan.ports:
        assert by_keyword["EXPOSE"][0].value == tuple(map(str, plan.ports))
    if plan.volumes:
        (command,) = by_keyword["VOLUME"]
        assert command.json
        assert tuple(oracle.word(value, {}) for value in command.value) == plan.volumes
        # The classic builder trims each volume before it is read as a word.
        assert all(value == value.strip() for value in command.value)
    for keyword, own, stamped in (
        ("ENTRYPOINT", plan.entrypoint, stamp and stamp.entrypoint),
        ("CMD", plan.cmd, stamp and stamp.cmd),
    ):
        wanted = own if stamped is None else stamped
        if wanted is not None:
            assert (by_keyword[keyword][0].json, by_keyword[keyword][0].value) == (True, wanted)
