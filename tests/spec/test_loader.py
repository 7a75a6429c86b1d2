"""Loading: positions, normalised values, files that cannot be read, bounds, and no error but our own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtimeimg.errors import NotFoundError, RuntimeimgError, SpecError, UsageError
from runtimeimg.spec import BuildSpec, Directory, Expose, Runtime, User, load_spec, load_spec_text

HEAD = """apiVersion: shipwright.io/v1alpha1
kind: Build
spec:
  runtime:
    base: {image: debian:bookworm-slim}
"""
CASES = Path(__file__).parents[1] / "cases"


def runtime(body: str) -> Runtime:
    """Return the runtime of a spec whose `spec.runtime` holds `body` beside a base."""
    return load_spec_text((HEAD + body).encode()).spec.runtime


def messages(text: str | bytes) -> list[str]:
    """Return the problems of a bad spec."""
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(SpecError) as caught:
        load_spec_text(data, "f")
    return [str(problem) for problem in caught.value.problems]


def failure(data: bytes) -> RuntimeimgError | None:
    """Return how loading fails, None when it does not; anything but our own errors passes through."""
    try:
        load_spec_text(data)
    except RuntimeimgError as error:
        return error
    return None


def test_everything_is_read() -> None:
    spec = load_spec(CASES / "everything" / "build.yaml").spec
    assert spec.api_version == "shipwright.io/v1alpha1"
    assert spec.name == "web"
    assert spec.builder_image == "registry.example.com/web-build:1"
    assert spec.output_image == "registry.example.com/web:1"
    assert spec.runtime_key_prefix == "spec.runtime"
    value = spec.runtime
    assert value.base == "debian:bookworm-slim"
    assert value.work_dir == "/app"
    assert dict(value.env) == {"PATH": "/app/bin:$PATH"}
    assert dict(value.labels) == {"org.example.team": "web"}
    assert [(item.source, item.destination, item.image, item.chown, item.workspace) for item in value.directories] == [
        ("/workspace/source/dist", None, None, None, False),
        ("/workspace/source/lib", "/app/lib", None, None, False),
        ("/x", "/y", "other:1", "1000:1000", False),
        ("static", "/app/static", None, None, True),
    ]
    assert value.directories_key == "directories"
    assert value.run == ("useradd -r app",)
    assert value.user is not None
    assert (value.user.name, value.user.group) == ("app", "1001")
    assert value.entrypoint == ("java", "-jar", "app.jar")
    assert value.cmd == ()
    assert [(item.port, item.host_port, item.service_name, item.listening_addr) for item in value.expose] == [
        (8080, 0, "", ""),
        (8443, 443, "https", "127.0.0.1"),
    ]
    assert value.daemons == (("redis-server", "--port", "6379"),)
    assert value.volumes == ("/data",)
    assert value.stop_signal == "SIGTERM"
    assert dict(value.annotations) == {"org.opencontainers.image.licenses": "MIT"}
    assert value.context == "/workspace/context"
    assert value.debug_image == "busybox:stable"


def test_defaults() -> None:
    loaded = load_spec_text(HEAD.encode())
    value = loaded.spec.runtime
    assert (loaded.spec.name, loaded.spec.builder_image, loaded.spec.output_image) == (None, None, None)
    assert (value.directories, value.run, value.expose, value.daemons, value.volumes) == ((), (), (), (), ())
    assert (dict(value.env), dict(value.labels), dict(value.annotations)) == ({}, {}, {})
    assert (value.entrypoint, value.cmd, value.user, value.work_dir, value.stop_signal) == (None,) * 5
    assert (value.context, value.debug_image) == (None, None)


def test_values_are_frozen() -> None:
    spec = load_spec(CASES / "everything" / "build.yaml").spec
    with pytest.raises(TypeError):
        spec.runtime.env["A"] = "b"  # type: ignore[index]
    for value in (spec, spec.runtime, spec.runtime.directories[0], spec.runtime.expose[0], spec.runtime.user):
        assert isinstance(value, (BuildSpec, Runtime, Directory, Expose, User))
        with pytest.raises(ValueError, match="frozen"):
            type(value).__setattr__(value, next(iter(type(value).model_fields)), "x")


def test_merge_keys_keep_the_document_order() -> None:
    spec = load_spec(CASES / "anchors-and-merge-keys" / "build.yaml").spec
    assert list(spec.runtime.env.items()) == [("LANG", "C.UTF-8"), ("MODE", "production"), ("TZ", "UTC")]
    assert spec.runtime.annotations["org.example.base"] == "debian:bookworm-slim"


def test_scalars_follow_the_core_schema() -> None:
    env = load_spec(CASES / "yes-no-strings" / "build.yaml").spec.runtime.env
    assert (env["A"], env["B"], env["C"], env["D"], env["E"]) == ("yes", "no", "on", "off", "y")
    assert (env["F"], env["G"], env["H"], env["I"]) == ("2024-01-31", "12:30:45", "1_000", "0b101")
    assert (env["J"], env["K"], env["L"]) == ("true", "0777", "8080")
    assert runtime("    expose: [0o17, 0x1F90, 0080]\n").expose[0].port == 15


@pytest.mark.parametrize(
    ("written", "source", "destination", "workspace"),
    [
        ("/a", "/a", None, False),
        ("/a/", "/a", None, False),
        ("//a/./b//c", "/a/b/c", None, False),
        ("/a:/b", "/a", "/b", False),
        ("/a:/b/", "/a", "/b/", False),
        ("/:/", "/", "/", False),
        ("/a:/b//", "/a", "/b/", False),
        ("$(workspace):/b", ".", "/b", True),
        ("$(workspace)/:/b", ".", "/b", True),
        ("$(workspace)/./a//b/:/b", "a/b", "/b", True),
        ("/a/[[]x", "/a/[[]x", None, False),
        (r"/a/[\]-]*", r"/a/[\]-]*", None, False),
    ],
)
def test_directories_are_normalised(written: str, source: str, destination: str | None, workspace: bool) -> None:
    if written == r"/a/[\]-]*":
        assert "not a valid pattern" in messages(HEAD + f"    directories: ['{written}']\n")[0]
        return
    (item,) = runtime(f"    directories: ['{written}']\n").directories
    assert (item.source, item.destination, item.workspace) == (source, destination, workspace)


@pytest.mark.parametrize(
    ("written", "name", "group"),
    [
        ("app", "app", None),
        ("app:1001", "app", "1001"),
        ("1000", "1000", None),
        ("1000:1000", "1000", "1000"),
        ("{name: 0, group: 4294967294}", "0", "4294967294"),
        ("build$", "build$", None),
        ("_apt", "_apt", None),
    ],
)
def test_users(written: str, name: str, group: str | None) -> None:
    user = runtime(f"    user: {written}\n").user
    assert user is not None
    assert (user.name, user.group) == (name, group)


@pytest.mark.parametrize(
    ("written", "signal"),
    [
        ("SIGTERM", "SIGTERM"),
        ("TERM", "SIGTERM"),
        ("sigusr1", "SIGUSR1"),
        ("15", "15"),
        ("'9'", "9"),
        ("SIGRTMIN+3", "SIGRTMIN+3"),
        ("RTMAX-14", "SIGRTMAX-14"),
    ],
)
def test_signals(written: str, signal: str) -> None:
    assert runtime(f"    stopSignal: {written}\n").stop_signal == signal


@pytest.mark.parametrize("written", ["SIGRTMIN+16", "SIGRTMAX-15", "0", "65", "SIG", "SIGFOO", "1.5", "true"])
def test_unknown_signals(written: str) -> None:
    (message,) = messages(HEAD + f"    stopSignal: {written}\n")
    assert message.startswith("f:6:17: spec.runtime.stopSignal: ")


def test_paths_and_args_are_other_names() -> None:
    value = load_spec(CASES / "shipwright-v1beta1" / "build.yaml").spec.runtime
    assert value.directories_key == "paths"
    assert value.directories[0].destination == "/usr/local/bin/web"
    assert value.cmd == ("--port", "8080")


POSITIONED = """apiVersion: shipwright.io/v1alpha1
kind: Build
spec:
  runtime:
    base: {image: a}
    labels:
      org.example: x
      org.example.team: y
      "a[0]": z
    paths:
      - /one
      - source: /two
        destination: /three
    env: &env {A: x}
    args:
    - q
    annotations: *env
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", (1, 1)),
        ("spec", (3, 1)),
        ("spec.runtime", (4, 3)),
        ("spec.runtime.base", (5, 11)),
        ("spec.runtime.base.image", (5, 19)),
        ("spec.runtime.labels", (6, 5)),
        ("spec.runtime.labels.org.example", (7, 20)),
        ("spec.runtime.labels.org.example.team", (8, 25)),
        ("spec.runtime.labels['org.example.team']", (8, 25)),
        ("spec.runtime.labels['a[0]']", (9, 15)),
        ("spec.runtime.labels.a[0]", (9, 15)),
        ("spec.runtime.paths[1]", (12, 9)),
        ("spec.runtime.paths[1].destination", (13, 22)),
        ("spec.runtime.directories[1].destination", (13, 22)),
        ("spec.runtime.paths[0].source", (11, 9)),
        ("spec.runtime.paths[7]", (10, 5)),
        ("spec.runtime.cmd[0]", (16, 7)),
        ("spec.runtime.env.A", (14, 19)),
        ("spec.runtime.annotations", (17, 18)),
        ("spec.runtime.annotations.A", (14, 19)),
        ("spec.runtime.workDir", (4, 3)),
        ("spec.builder.image", (3, 1)),
        ("nonsense[[", (1, 1)),
        ("metadata.name", (1, 1)),
    ],
)
def test_positions(path: str, place: tuple[int, int]) -> None:
    loaded = load_spec_text(POSITIONED.encode(), "b.yaml")
    assert loaded.position(path) == place
    assert loaded.place(path) == f"b.yaml:{place[0]}:{place[1]}: {path}"


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    for name in ("missing", "file/below"):
        with pytest.raises(NotFoundError, match="does not exist"):
            load_spec(tmp_path / name)
    with pytest.raises(UsageError, match="is a directory"):
        load_spec(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_spec("a\0b")
    with pytest.raises(UsageError, match="cannot be read: file name too long"):
        load_spec("x" * 5000)
    with pytest.raises(UsageError, match=r"spec ./dev/zero. is not a regular file"):
        load_spec("/dev/zero")
    monkeypatch.setattr("os.open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(UsageError, match=r"spec '\\x1b\[m' cannot be read: permission denied"):
        load_spec("\x1b[m")


def test_size_bound() -> None:
    assert load_spec_text((HEAD + "#" * (1024 * 1024 - len(HEAD))).encode()).spec.runtime.base
    assert messages(HEAD + "#" * (1024 * 1024)) == ["f: is larger than 1 MiB"]


def test_many_problems_are_bounded() -> None:
    found = messages(HEAD + "    directories: [" + "a, " * 500 + "]\n")
    assert len(found) == 101
    assert found[-1] == "f: has 400 more problems"


@pytest.mark.parametrize(
    "body",
    [
        "    labels: {a: " + "[" * 200_000,
        "    labels: " + "{a: " * 100_000,
        "    labels: [" + "[], " * 200_000 + "]",
        "    run: [" + "x," * 300_000 + "]",
        "    labels: {" + ", ".join(f"k{i}: v" for i in range(60_000)) + "}",
        "    " + "- " * 100_000 + "x",
        "    env: {A: '" + "${A:-" * 20_000 + "'}",
        "    base: {image: " + "a/" * 300_000 + "}",
        "    base: {image: " + "a-" * 300_000 + "}",
        "    directories: ['/" + "[a" * 300_000 + "']",
        "    expose: [" + "9" * 900_000 + "]",
        "    expose: [0x" + "9" * 900_000 + "]",
        "    volumes: [" + ", ".join(f"/v{i}" for i in range(50_000)) + "]",
        "    ? " + "[a, " * 60 + "]" * 60 + "\n    : x",
    ],
    ids=lambda text: text[:24],
)
@pytest.mark.timeout(60)
def test_hostile_documents_end_soon(body: str) -> None:
    error = failure((HEAD + body).encode())
    assert error is None or (error.exit_code == 2 and len(str(error)) < 100_000)


def test_long_values_are_shown_short() -> None:
    (message,) = messages(HEAD + "    workDir: " + "x" * 5000 + "\n")
    assert len(message) < 200
    (message,) = messages(HEAD + "    env: {A: " + "x" * 131_072 + "}\n")
    assert "131072 bytes" in message
    (message,) = messages(HEAD + f"    labels: {{{'x' * 5000}: 1}}\n")
    assert len(message) < 200


@given(st.binary(max_size=300))
@example(b"\xff\xfe\x00\x00")
@example(b"? ")
@example(b"&a *a")
@example(b"<<: *a")
@example(b"!<")
@example(b"%YAML 1.2\n--- !!str a\n")
def test_any_bytes(data: bytes) -> None:
    error = failure(data)
    assert isinstance(error, SpecError)
    assert str(error)


PIECES = st.sampled_from(
    [
        *"\n :-?,[]{}&*!|>'\"%@`#~",
        *(
            "\n  ",
            "\n    ",
            "- ",
            ": ",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "!!int ",
            "!x ",
            "---\n",
            "...\n",
            "\t",
            "\\0",
            "0x",
            "1e9",
        ),
        *("apiVersion", "kind", "Build", "spec", "runtime", "base", "image", "scratch", "env", "labels", "directories"),
        *(
            "paths",
            "run",
            "user",
            "entrypoint",
            "cmd",
            "expose",
            "daemons",
            "volumes",
            "stopSignal",
            "debug",
            "/a",
            "$(",
        ),
        *(
            "workspace)",
            "${",
            "8080",
            "yes",
            "null",
            "é",
            "\ud7ff",
            "\u2028",
            "\u0085",
            "\ufeff",
            "1.5",
            "SIGTERM",
            "name",
        ),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join), st.booleans())
def test_any_text_that_looks_like_yaml(text: str, inside: bool) -> None:
    data = (HEAD + text if inside else text).encode()
    error = failure(data)
    if error is not None:
        assert isinstance(error, SpecError)
        assert error.problems
        assert all(problem.line <= data.count(b"\n") + len(text) + 1 for problem in error.problems)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [info.alias or name for name, info in Runtime.model_fields.items()]


@given(st.dictionaries(st.sampled_from([*KEYS, "x"]), JSON, max_size=5))
def test_any_value_at_any_key(values: dict[str, object]) -> None:
    import yaml

    body = {
        "apiVersion": "build.dev/v1alpha1",
        "kind": "Build",
        "spec": {"runtime": {"base": {"image": "a"}, **values}},
    }
    error = failure(yaml.safe_dump(body, allow_unicode=True).encode("utf-8", "surrogatepass"))
    if error is not None:
        assert isinstance(error, SpecError)
        assert not any(word in problem.message for problem in error.problems for word in ("pydantic", "nput should"))


def test_small_modules_do_not_load_the_models() -> None:
    code = "import sys, runtimeimg.spec.expansion; print('pydantic' in sys.modules, 'yaml' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.split() == ["False", "False"]


def test_loading_needs_no_schema_library() -> None:
    code = (
        "import sys, runtimeimg.spec as s; s.load_spec; print(*{'jsonschema', 'jinja2', 'docker'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.split() == []
