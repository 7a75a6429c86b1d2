"""config.json against the published schema of the runtime specification, which our own shape has to agree with."""

import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtimeimg.bundle import BundleOptions, Hook, plan_config, rootless
from runtimeimg.bundle.check import check_folder
from runtimeimg.bundle.configshape import CONFIG, check
from runtimeimg.bundle.features import Features, Runtime
from runtimeimg.bundle.shape import Shape, wrong
from runtimeimg.errors import RuntimeimgError
from tests.published import validate, validator

from .images import ACCOUNTS, image, opened

SPECIFICATION = "oci-runtime-spec"
EXAMPLES = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 500)
GOOD = ["a", "A=b", "é=ü", "$(id)", "😀", "a=b=c", "x y", "1"]
TEXTS = ["", "a", "A=b", "/x", "=", "é\n", "\x00", "\ud800", "$(id)", "null", "x" * 300, "1", "😀", "a=b=c", " "]
FEATURES = Features(
    data={"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "linux": {"namespaces": ["time"]}, "hooks": ["prestart"]}
)


def some(chance: random.Random, *extra: str) -> str:
    return chance.choice(TEXTS if chance.random() < 0.1 else [*GOOD, *extra])


def generated(chance: random.Random) -> dict[str, Any]:
    """Return the execution parameters of an image, some of them odd."""

    def texts(*extra: str) -> list[str]:
        return [some(chance, *extra) for _ in range(chance.randrange(4))]

    def keys(*extra: str) -> dict[str, Any]:
        return {key: {} for key in texts(*extra)}

    fields = {
        "Env": lambda: texts("PATH=/bin", "HOME=/", "TERM=x"),
        "Entrypoint": lambda: texts("/bin/sh"),
        "Cmd": lambda: texts("-c"),
        "WorkingDir": lambda: some(chance, "/app", "/a/../b", "relative"),
        "User": lambda: some(chance, "app", "0", "1000:audio", "app:9", "4294967295"),
        "Labels": lambda: {key or "k": some(chance) for key in texts("org.example.a", "org.opencontainers.image.os")},
        "ExposedPorts": lambda: keys("80/tcp", "53/udp"),
        "Volumes": lambda: {"/" + key.strip("/\x00") + "v": {} for key in texts("data")},
        "StopSignal": lambda: some(chance, "SIGTERM"),
    }
    return {name: make() for name, make in fields.items() if chance.random() < 0.6}


@pytest.mark.reference
def test_what_is_written_fits_the_published_schema(reference: Path) -> None:
    chance = random.Random(20)
    written = refused = 0
    while written < EXAMPLES:
        config = generated(chance)
        config.setdefault("Cmd", ["/bin/main"])
        found = image(*ACCOUNTS, top={"author": some(chance), "created": "2024-05-06T07:08:09Z"}, **config)
        options = BundleOptions(
            rootless=rootless.namespace(1000, 1000) if chance.random() < 0.3 else None,
            debug=chance.random() < 0.3,
            hooks=(Hook(stage="prestart", path="/p", timeout=3),) if chance.random() < 0.3 else (),
            domainname="example.org" if chance.random() < 0.3 else None,
            network=chance.choice(["own", "host"]),
            runtime=Runtime(name="other", features=FEATURES) if chance.random() < 0.3 else None,
            allow=frozenset({"root-user", "annotations", "workdir"}),
        )
        with opened(found) as files:
            try:
                made = plan_config(found, files, options).config
            except RuntimeimgError as error:
                assert error.exit_code in {2, 3}  # noqa: PT017 - an error of ours says what is wrong with the image
                refused += 1
                continue
        validate(reference, "config-schema.json", made, SPECIFICATION)
        written += 1
    assert refused


def whole(shape: Shape, chance: random.Random, depth: int = 0) -> Any:
    """Return a value of a shape, with all its fields or some."""
    if shape.kind == "text":
        return chance.choice(shape.choices) if shape.choices else _fitting(shape.pattern)
    if shape.kind == "integer":
        least = shape.least if shape.least is not None else -5
        return chance.choice([least, shape.most if shape.most is not None else 5, least + 1])
    if shape.kind == "flag":
        return chance.random() < 0.5
    if shape.kind == "list":
        assert shape.item is not None
        return [whole(shape.item, chance, depth + 1) for _ in range(max(shape.fewest, chance.randrange(3)))]
    if shape.kind == "map":
        assert shape.item is not None
        return {f"key.{number}": whole(shape.item, chance, depth + 1) for number in range(chance.randrange(3))}
    chosen = [name for name in shape.fields if name in shape.required or chance.random() < 0.6]
    return {name: whole(shape.fields[name], chance, depth + 1) for name in chosen}


def _fitting(pattern: str) -> str:
    known = {
        "": "x",
        "^RLIMIT_": "RLIMIT_NOFILE",
        "^[0-9, ": "0-3,5",
        "^MB:": "MB:0=1",
        "^[cbup]": "c",
        "^[1-9]": "2MB",
    }
    return next(text for start, text in reversed(known.items()) if pattern.startswith(start))


ODD = (None, True, 1, -1, 1.5, 1 << 70, "", "odd", [], ["odd"], [1], {}, {"odd": 1}, [{}])


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def changed(value: Any, chance: random.Random) -> Any:
    """Return a document with one of its values taken out or another in its place."""
    found = copy.deepcopy(value)
    *way, last = chance.choice([*places(found)])
    inner = found
    for key in way:
        inner = inner[key]
    if chance.random() < 0.3:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(chance.choice(ODD))
    return found


@pytest.mark.reference
def test_our_shape_and_the_published_schema_say_the_same(reference: Path) -> None:
    """Ours is stricter where the text is: empty keys, oomScoreAdj's bounds, the unknown fields that it names."""
    chance = random.Random(7)
    judge = validator(reference / SPECIFICATION, "config-schema.json")
    counts = {True: 0, False: 0}
    for _ in range(EXAMPLES // 2):
        document = whole(CONFIG, chance)
        for name in ("solaris", "windows", "vm", "zos", "freebsd"):
            document.pop(name, None)
        document["ociVersion"] = "1.3.0"
        assert list(wrong(document, CONFIG)) == []
        judge.validate(document)
        other = changed(document, chance)
        ours = [item for item in wrong(other, CONFIG) if not item.unknown]
        ours = [item for item in ours if item.path != "process.oomScoreAdj" or " than " not in item.message]
        theirs = next(iter(judge.iter_errors(other)), None)
        if json.dumps(other).count("1.0") or _whole_float(theirs):
            continue
        assert bool(ours) == (theirs is not None), (ours, theirs, other)
        counts[bool(ours)] += 1
    assert min(counts.values()) > EXAMPLES // 40


def test_no_config_is_too_odd_to_be_judged(tmp_path: Path) -> None:
    chance = random.Random(11)
    told = Runtime(name="other", features=FEATURES)
    kinds = set()
    for number in range(EXAMPLES):
        document = changed(changed(whole(CONFIG, chance), chance), chance)
        if number % 5 == 0:
            odd = chance.choice(["\\u0000", "\\ud800"])
            document = json.loads(json.dumps(document).replace('"x"', f'"/{odd}"'))
        document["root"] = chance.choice([document.get("root"), {"path": "."}, {"path": "\0"}, {"path": "../" * 9}])
        (tmp_path / "config.json").write_text(json.dumps(document))
        kinds |= {item.rule.id for item in check_folder(tmp_path, told)[1]}
    assert {"BUNDLE-001", "BUNDLE-002", "BUNDLE-005", "BUNDLE-006", "BUNDLE-013"} <= kinds


def _whole_float(error: jsonschema.ValidationError | None) -> bool:
    """Tell whether an error is about network priorities and the like of which the schemas differ in name alone."""
    return error is not None and error.validator == "patternProperties"


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"ociVersion": "one"}, "ociVersion", "is no version"),
        ({"process": {"cwd": "app", "args": ["a"]}}, "process.cwd", "is not an absolute path"),
        ({"process": {"cwd": "/", "args": []}}, "process.args", "it is empty"),
        ({"process": {"cwd": "/"}}, "process.args", "it is empty"),
        ({"process": {"args": ["a"]}}, "process.cwd", "it is missing"),
        ({"proces": {}}, "proces", "did you mean 'process'?"),
        ({"mounts": [{"destination": "data"}]}, "mounts[0].destination", "is not an absolute path"),
        ({"hooks": {"poststop": [{"path": "p"}]}}, "hooks.poststop[0].path", "is not an absolute path"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "linux.namespaces", "'pid' is there twice"),
        ({"linux": {"namespaces": [{"type": "pid", "path": "x"}]}}, "linux.namespaces[0].path", "absolute"),
        ({"linux": {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}}, "linux.uidMappings", "no user nam"),
        ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "linux.timeOffsets", "no time namespace"),
        ({"hostname": "x", "linux": {}}, "hostname", "no uts namespace"),
        ({"mounts": [{"destination": "/a\0"}]}, "mounts[0].destination", "is no UTF-8 text without NUL"),
        ({"linux": {"maskedPaths": ["/\ud800"]}}, "linux.maskedPaths[0]", "is no UTF-8 text without NUL"),
        ({"annotations": {"": "x"}}, "annotations", "a key is empty"),
        ({"annotations": {"x": 1}}, "annotations.x", "1 is not a text"),
    ],
)
def test_what_the_specification_says_besides(change: dict[str, Any], path: str, message: str) -> None:
    config = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, **change}
    assert [(item.path, message in item.message) for item in check(config)] == [(path, True)]


def test_relative_destinations_came_with_1_2() -> None:
    config = {"ociVersion": "1.2.0", "mounts": [{"destination": "data"}]}
    assert check(config) == []


@pytest.mark.parametrize("value", [None, 1, "x", []])
def test_what_is_no_object_at_all(value: object) -> None:
    assert [item.path for item in check(value)] == [""]
