"""Resolving: every default explicit, nothing read, and what does not fit together refused."""

import pytest

from runtimeimg.errors import UsageError
from runtimeimg.oci import Location
from runtimeimg.plan import BuildPlan, EnvVar, Facts, resolve
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph
from runtimeimg.spec import load_spec_text
from runtimeimg.spec.expansion import Variable, expand

HEAD = "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec:\n"


def plan_of(
    runtime: str, *, head: str = "  output: {image: web:1}\n", base: str = "debian:12", **facts: object
) -> BuildPlan:
    text = f"{HEAD}{head}  runtime:\n    base: {{image: '{base}'}}\n{runtime}"
    return resolve(load_spec_text(text.encode()).spec, Facts(**facts))  # type: ignore[arg-type]


def test_the_least_spec() -> None:
    plan = plan_of("", head="")
    assert plan.base == Location.parse("debian:12")
    assert (plan.builder, plan.outputs, plan.copies, plan.images) == (None, (), (), ())
    assert (plan.entrypoint, plan.cmd, plan.work_dir, plan.user, plan.stop_signal) == (None, None, None, None, None)
    assert plan.graph == RuntimeGraph()
    assert not plan.needs_shell
    assert dict(plan.metadata) == {}


@pytest.mark.parametrize(
    ("head", "facts", "image", "origin"),
    [
        ("  output: {image: 'o:1'}\n", {}, "o:1", "spec.output.image"),
        ("  output: {image: 'o:1'}\n  builder: {image: 'b:1'}\n", {}, "b:1", "spec.builder.image"),
        ("  output: {image: 'o:1'}\n", {"builder_image": "c:1"}, "c:1", "--builder-image"),
    ],
)
def test_where_the_builder_image_comes_from(head: str, facts: dict[str, str], image: str, origin: str) -> None:
    plan = plan_of("    directories: [/a]\n", head=head, **facts)
    assert (plan.builder, plan.builder_origin) == (Location.parse(image), origin)
    assert plan.copies[0].image == plan.builder


def test_a_copy_without_a_builder_image_is_refused() -> None:
    with pytest.raises(UsageError, match=r"spec\.builder\.image: the image to copy directories from is not given"):
        plan_of("    directories: [/a]\n", head="")
    assert plan_of("    directories: ['$(workspace)/a:/a', {source: /b, image: 'c:1'}]\n", head="").builder is None


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("/a/b", "/a/b"),
        ("/", "/"),
        ("/a/lib*.so", "/a/"),
        ("/*", "/"),
        (r"/a/x\[1]", "/a/x[1]"),
        (r"/a\[b/c*", "/a[b/"),
    ],
)
def test_the_same_place(source: str, destination: str) -> None:
    assert plan_of(f"    directories: [{{source: '{source}'}}]\n").copies[0].destination == destination


def test_a_pattern_in_the_middle_needs_a_destination() -> None:
    with pytest.raises(UsageError, match=r"spec\.runtime\.paths\[1\]: a pattern in the middle of a path") as caught:
        plan_of("    paths: [/a, '/b*/c']\n")
    assert caught.value.hint == "write source:destination"
    assert plan_of("    paths: ['/b*/c:/x']\n").copies[0].destination == "/x"


def test_owners_images_and_origins_of_copies() -> None:
    plan = plan_of(
        "    user: {name: app, group: '7'}\n"
        "    directories: [/a, {source: /b, chown: root}, '$(workspace)/c:/c', {source: /d, image: 'o:1'}]\n"
        "    debug: {image: 'busybox:1'}\n",
        debug=True,
    )
    assert [(copy.source, copy.chown, copy.image and str(copy.image)) for copy in plan.copies] == [
        ("/a", "app:7", "web:1"),
        ("/b", "root", "web:1"),
        ("c", "app:7", None),
        ("/d", "app:7", "o:1"),
        ("/bin", None, "busybox:1"),
    ]
    assert [copy.origin for copy in plan.copies][-2:] == ["spec.runtime.directories[3]", "spec.runtime.debug.image"]
    assert plan.user == "app:7"
    assert [str(image) for image in plan.images] == ["web:1", "o:1", "busybox:1"]
    assert plan.labels["dev.runtimeimg.debug"] == "true"
    assert plan.debug == Location.parse("busybox:1")
    assert plan.role(Location.parse("busybox:1")) == "debug image"


DEBUG = "    debug: {image: 'busybox:1'}\n"


def test_without_being_asked_for_the_debug_image_is_not_there_at_all() -> None:
    assert plan_of(DEBUG) == plan_of("")


def test_the_debug_shell_is_last_on_the_path() -> None:
    def path(spec: str, **env: str) -> list[tuple[str, str]]:
        plan = plan_of(spec + DEBUG, debug=True, env=env)
        return [(expand(item.value, {"PATH": "/base"}), item.origin) for item in plan.env if item.name == "PATH"]

    assert path("") == [("/base:/.debug/bin", "spec.runtime.debug.image")]
    assert path("    env: {PATH: '/app:$PATH'}\n") == [("/app:/base:/.debug/bin", "spec.runtime.env.PATH")]
    assert path("    env: {PATH: '$PATH:/app'}\n") == [("/base:/app:/.debug/bin", "spec.runtime.env.PATH")]
    assert path("    env: {PATH: '/app:$PATH'}\n", PATH="/x") == [("/x:/.debug/bin", "--env")]
    assert path("", PATH="") == [("/.debug/bin", "--env")]
    (variable,) = plan_of(DEBUG, debug=True).env
    assert expand(variable.value, {}) == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.debug/bin"


def test_a_debug_image_is_wanted_where_a_shell_is() -> None:
    with pytest.raises(UsageError, match="the spec does not say whose shell is to be added") as caught:
        plan_of("", debug=True)
    assert "spec.runtime.debug" in str(caught.value.hint)


def test_the_builder_image_is_the_first_of_the_images() -> None:
    plan = plan_of("    directories: [{source: /a, image: 'o:1'}, /b]\n")
    assert [str(image) for image in plan.images] == ["web:1", "o:1"]
    assert plan_of("    directories: [{source: /a, image: 'o:1'}]\n").images == (Location.parse("o:1"),)


def test_the_command_line_wins_and_its_variables_are_literal() -> None:
    plan = plan_of(
        "    env: {A: '$B', C: d, PATH: '/x:$PATH'}\n    labels: {a: '1', b: '2'}\n    annotations: {a: '1'}\n",
        env={"C": "$E", "F": ""},
        labels={"b": "3"},
        annotations={"a": "2"},
        output_images=("x:1", "y:2"),
        created="2024-01-31T00:00:00Z",
        revision="abc",
    )
    assert plan.env == (
        EnvVar(name="A", value=(Variable("B"),), origin="spec.runtime.env.A"),
        EnvVar(name="PATH", value=("/x:", Variable("PATH")), origin="spec.runtime.env.PATH"),
        EnvVar(name="C", value=("$E",), origin="--env"),
        EnvVar(name="F", value=(), origin="--env"),
    )
    assert dict(plan.labels) == {"a": "1", "b": "3"}
    assert dict(plan.annotations) == {"a": "2"}
    assert plan.outputs == ("x:1", "y:2")
    assert dict(plan.metadata) == {
        "org.opencontainers.image.created": "2024-01-31T00:00:00Z",
        "org.opencontainers.image.revision": "abc",
    }


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"env": {"A B": "x"}}, "--env: 'A B' is not a name of an environment variable"),
        ({"env": {"A": "x\ny"}}, "--env: 'x\\ny' holds a line break"),
        ({"labels": {"": "x"}}, "--label: a key is empty"),
        ({"annotations": {"a": "x\0"}}, "--annotation: 'x\\x00' holds a NUL"),
    ],
)
def test_the_command_line_is_held_to_the_rules_of_the_spec(facts: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_of("", **facts)
    assert caught.value.message.startswith(message)


def test_scratch_has_no_shell_for_run() -> None:
    assert plan_of("", base="scratch").base is None
    with pytest.raises(UsageError, match=r"spec\.runtime\.run: the base 'scratch' is empty"):
        plan_of("    run: [id]\n", base="scratch")


def test_ports_daemons_and_volumes() -> None:
    plan = plan_of(
        "    expose: [443, {port: 80, hostPort: 8080, serviceName: web, listeningAddr: 127.0.0.1}]\n"
        "    daemons: [[redis-server, --port, '6379']]\n    volumes: [/b, /a]\n    context: /work\n"
    )
    assert plan.ports == (80, 443)
    assert plan.volumes == ("/b", "/a")
    assert plan.graph == RuntimeGraph(
        daemons=(("redis-server", "--port", "6379"),),
        expose=(
            ExposeItem(port=443),
            ExposeItem(port=80, host_port=8080, service_name="web", listening_addr="127.0.0.1"),
        ),
    )
    assert plan.needs_shell
    assert plan.labels["dev.runtimeimg.context"] == "/work"
