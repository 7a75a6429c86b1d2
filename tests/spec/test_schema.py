"""The JSON Schema as an editor uses it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runtimeimg.errors import SpecError
from runtimeimg.spec import json_schema, load_spec_text
from runtimeimg.spec.models import Runtime


def objects(schema: Any) -> list[dict[str, Any]]:
    """Return all parts of a schema that describe objects with known keys."""
    found = []
    if isinstance(schema, dict):
        found += [schema] if "properties" in schema else []
        for value in schema.values():
            found += objects(value)
    elif isinstance(schema, list):
        for value in schema:
            found += objects(value)
    return found


def test_dialect_and_head() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    assert schema["title"]
    assert schema["description"]
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    for part in objects({"root": schema}):
        for key, value in part["properties"].items():
            assert value.get("description"), key


def test_examples_are_valid() -> None:
    schema = json_schema()
    for part in objects({"root": schema}):
        for key, value in part["properties"].items():
            validator = Draft202012Validator({**value, "$defs": schema["$defs"]})
            for example in value.get("examples", ()):
                assert validator.is_valid(example), (key, example)


def test_only_the_runtime_and_its_variants_are_closed() -> None:
    definitions = json_schema()["$defs"]
    closed = {
        name
        for name, definition in definitions.items()
        for form in definition.get("anyOf", [definition])
        if form.get("additionalProperties") is False
    }
    assert closed == {
        "Runtime",
        "Accepted",
        "BaseImage",
        "DebugImage",
        "Directory",
        "User",
        "Expose",
        "Variant",
        "Overrides",
    }


def test_keys_are_those_that_users_write() -> None:
    assert list(json_schema()["$defs"]["Runtime"]["properties"]) == [
        info.alias or name for name, info in Runtime.model_fields.items()
    ]


def test_two_calls_give_two_documents() -> None:
    first = json_schema()
    first["$defs"].clear()
    assert json_schema()["$defs"]


TEXTS = st.sampled_from(
    [
        *("/a", "/a:/b", "/a/:/b/", "$(workspace)/x:/y", "$(workspace)", "/", "//", "/..", "/a:b", "/./", "/a/..b"),
        *(
            "app",
            "app:1",
            "1000",
            ":x",
            "a b",
            "build$",
            "TERM",
            "sigterm",
            "SIGRTMIN+3",
            "15",
            "65",
            "x\n",
            "\ta",
            "é",
        ),
        *(
            "debian",
            "docker://a/b:1",
            "dir:/x y",
            "dir:/a",
            "oci:x:1",
            "scratch",
            "a@b",
            "Debian",
            "LOCALHOST/a",
            "-",
            "",
        ),
        *("a__b", "a..b", "docker-daemon:x", "a:5000/b:c", "127.0.0.1", "::1", "fe80::1%eth0", "https", "a" * 64),
        *("[::1]:5000/a", "0x10", "a"),
    ]
)
KEYS = st.sampled_from(
    ["source", "destination", "image", "chown", "port", "hostPort", "serviceName", "listeningAddr", "name", "group"]
)
VALUES = st.recursive(
    TEXTS | st.integers(-2, 70_000) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | KEYS, inner, max_size=3),
    max_leaves=6,
)
VALIDATOR = Draft202012Validator(json_schema())


@given(st.sampled_from([info.alias or name for name, info in Runtime.model_fields.items()]), VALUES)
def test_what_loads_is_valid(key: str, value: object) -> None:
    body = {
        "apiVersion": "build.dev/v1alpha1",
        "kind": "Build",
        "spec": {"runtime": {"base": {"image": "a"}, key: value}},
    }
    try:
        load_spec_text(json.dumps(body).encode())
    except SpecError:
        return
    VALIDATOR.validate(body)
