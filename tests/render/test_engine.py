"""What a real Engine's classic builder makes of a plan full of nasty values."""

import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from runtimeimg.oci import Location
from runtimeimg.plan import BuildPlan, Copy, EnvVar, StampInstructions, Text
from runtimeimg.render import context_paths, render_dockerfile
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.spec.expansion import parse

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PREFIX = "runtimeimg-render-test"
VALUES = (
    "plain", "two  words", " both ends ", 'quo"te', "apos'trophe", "'", '"', "back\\slash", "ends in \\", "two \\\\",
    "$HOME", "${HOME}", "${A:-b}", "\\$HOME", "# no comment", "`tick`", "x\ty", "a=b", "{a,b}", "[a]", "*", "?",
    "<<EOF", "--from=x", "RUN rm -rf /", "é 字 😀", "\u2028", "\xa0", "\ufeff", "\u202e", '", "', "%s", "!", "\r", "",
)  # fmt: skip
FILES = tuple(f"n{index}{value}".rstrip("/") for index, value in enumerate(VALUES))
SOME = FILES[::4]  # an image has at most 127 layers, and each copy takes a moment
ARGUMENTS = (*VALUES, "line\nbreak", "\nRUN x\n", "tail\\\n")
LONG = "x\"y '\\# é😀$ " * 6000  # longer than a line may be, shorter than an argument may be


def tar_of(files: Mapping[str, bytes], busybox: bool = False) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if busybox:
            program = shutil.which("busybox")
            assert program, "busybox-static is not installed"
            tar.add(Path(program).resolve(), "bin/busybox")
            link = tarfile.TarInfo("bin/sh")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return data.getvalue()


@pytest.fixture(scope="module")
def images(engine: docker.APIClient) -> Iterator[Mapping[str, Location]]:
    """A base with a shell, and a builder image with a file and a folder of each name."""
    contents = {
        "base": tar_of({"etc/passwd": b"app$:x:7:8:::\n", "etc/group": b"grp$:x:9:\n"}, busybox=True),
        "builder": tar_of({f"src/{name}": name.encode() for name in FILES} | {f"dir/{name}/f": b"" for name in FILES}),
    }
    for name, data in contents.items():
        engine.import_image_from_data(data, repository=f"{PREFIX}/{name}", tag="1")
    yield {name: Location.parse(f"{PREFIX}/{name}:1") for name in contents}
    for name in contents:
        engine.remove_image(f"{PREFIX}/{name}:1")


def pattern_of(path: str) -> str:
    return "".join("\\" + letter if letter in "*?[\\" else letter for letter in path)


def nasty_plan(images: Mapping[str, Location]) -> BuildPlan:
    folder = Location.parse("dir:/somewhere")
    places = (
        ("src", images["builder"], "/src/", FILES),
        ("work", None, "in/", SOME),
        ("folder", folder, "/in/", SOME),
    )
    files = [
        Copy(source=pattern_of(start + name), destination=f"/d/{to}/{name}", image=image, chown=None, origin="")
        for to, image, start, names in places
        for name in names
    ]
    folders = [
        Copy(
            source=pattern_of(f"/dir/{name}"),
            destination=f"/d/dir/{name}/",
            image=images["builder"],
            chown="app$:grp$",
            origin="",
        )
        for name in FILES[:5]
    ]
    whole = Copy(source=".", destination="/d/whole", image=None, chown=None, origin="")
    variables = {f"V{index}": (value,) if value else () for index, value in enumerate((*VALUES, LONG))}
    references = {
        "R1": r"""<${V3} $V7>""",
        "R2": "${NONE:-d e'f'\"g\" \\ \\$ ${V4:+yes, $V1}}",
        "R3": "${V0:+a${NONE:-'}}",
        "--flag": "x",
    }
    variables |= {name: parse(value) for name, value in references.items()}
    return BuildPlan(
        name=None,
        base=images["base"],
        builder=images["builder"],
        outputs=(),
        env=tuple(EnvVar(name=name, value=value, origin="") for name, value in variables.items()),
        labels={**{f"k{value.replace('=', '')}": value for value in VALUES}, "long": LONG},
        run=(Text(value='printf \'%s|\' "$V2" "$V3" > /ran <<EOF\nnothing\nEOF\n', origin=""),),
        copies=(*files, *folders, whole),
        work_dir="/w/" + "/".join(value for value in VALUES if value),
        ports=(80, 65535),
        volumes=tuple(f"/v/{value}" for value in VALUES if value),
        user="app$:grp$",
        stop_signal="SIGRTMIN+3",
        entrypoint=(*ARGUMENTS, LONG),
        cmd=ARGUMENTS,
        annotations={},
        graph=RuntimeGraph(),
        metadata={},
    )


def build(engine: docker.APIClient, text: str, tag: str) -> Mapping[str, object]:
    context = {"Dockerfile": text.encode()}
    for prefix in ("workspace", "rootfs1"):
        context |= {f"{prefix}/in/{name}": name.encode() for name in FILES}
    stream = engine.build(
        fileobj=io.BytesIO(tar_of(context)),
        custom_context=True,
        tag=tag,
        rm=True,
        forcerm=True,
        network_mode="none",
        decode=True,
    )
    messages = list(stream)
    assert not [message for message in messages if "error" in message]
    return engine.inspect_image(tag)["Config"]


def contents(engine: docker.APIClient, tag: str) -> Mapping[str, tuple[int, int, bytes]]:
    """Owner, group and bytes of the files of an image."""
    container = engine.create_container(tag, entrypoint=["/bin/sh"])["Id"]
    try:
        data = b"".join(engine.export(container))
    finally:
        engine.remove_container(container, v=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            item.name: (item.uid, item.gid, stream.read())
            for item in tar
            if item.isreg() and (stream := tar.extractfile(item))
        }


def test_the_classic_builder_takes_every_value_as_it_was_planned(
    engine: docker.APIClient, images: Mapping[str, Location]
) -> None:
    plan, tag = nasty_plan(images), f"{PREFIX}/nasty:1"
    assert {(path.prefix, path.folder) for path in context_paths(plan)} == {
        ("workspace", None),
        ("rootfs1", "/somewhere"),
    }
    config = build(engine, render_dockerfile(plan), tag)
    try:
        env = dict(item.split("=", 1) for item in config["Env"])  # type: ignore[attr-defined]
        env.pop("PATH")
        expected = {f"V{index}": value for index, value in enumerate((*VALUES, LONG))}
        expected |= {"R1": '<quo"te back\\slash>', "R2": "d e'f'\"g\" \\ $ yes, two  words", "R3": "a'", "--flag": "x"}
        assert env == expected
        assert config["Labels"] == plan.labels
        assert tuple(config["Entrypoint"]) == plan.entrypoint  # type: ignore[arg-type]
        assert tuple(config["Cmd"]) == plan.cmd  # type: ignore[arg-type]
        assert config["Volumes"] == {volume: {} for volume in plan.volumes}
        assert config["WorkingDir"] == plan.work_dir
        assert config["ExposedPorts"] == {"80/tcp": {}, "65535/tcp": {}}
        assert (config["User"], config["StopSignal"]) == (plan.user, plan.stop_signal)

        files = contents(engine, tag)
        copied = {path: value for path, value in files.items() if path.startswith("d/")}
        places = (("src", FILES), ("work", SOME), ("folder", SOME), ("whole/in", FILES))
        wanted = {f"d/{to}/{name}": (0, 0, name.encode()) for to, names in places for name in names}
        wanted |= {f"d/dir/{name}/f": (7, 9, b"") for name in FILES[:5]}
        assert copied == wanted
        assert files["ran"][2] == b' both ends |quo"te|'
    finally:
        engine.remove_image(tag)


def test_the_engine_takes_a_stamp_and_empty_commands(engine: docker.APIClient, images: Mapping[str, Location]) -> None:
    plan = replace(nasty_plan(images), env=(), labels={"a": "1"}, run=(), copies=(), entrypoint=("x",), cmd=())
    stamp = StampInstructions(labels={"a": "2", "b c": '"'}, entrypoint=("y", "z"))
    tag = f"{PREFIX}/stamped:1"
    config = build(engine, render_dockerfile(plan, stamp=stamp), tag)
    try:
        assert config["Labels"] == {"a": "2", "b c": '"'}
        assert (config["Entrypoint"], config["Cmd"] or []) == (["y", "z"], [])
    finally:
        engine.remove_image(tag)
