"""RunPlan: decided from config, labels and options alone."""

import pytest

import runtimeimg
from runtimeimg import supervisor
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, UsageError
from runtimeimg.plan import CONTEXT_LABEL
from runtimeimg.run import ContextChoice, Publish, RunOptions, RunPlan
from runtimeimg.run.bodies import Manner, daemon_body, main_body
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph

from .images import WEB, make_image

MANNER = Manner(run_id="r", owner="o")


def test_the_library_api_is_exported() -> None:
    image = make_image(WEB)
    assert runtimeimg.read_graph(image) == WEB
    assert runtimeimg.RunPlan.of(image).image == "example.com/team/web:1"
    assert runtimeimg.read_graph(make_image()) is None


def test_ports_come_from_the_graph() -> None:
    assert RunPlan.of(make_image(WEB)).ports == (
        Publish(port=8000, host_port=8000, service="web"),
        Publish(port=8443, host_port=443, address="0.0.0.0", service="https"),
        Publish(port=9000),
    )


def test_p_wins_over_the_graph_and_keeps_the_service() -> None:
    options = RunOptions(publish=(Publish.parse("0.0.0.0:81:8000"), Publish.parse("53:53/udp")))
    assert RunPlan.of(make_image(WEB), options).ports[-2:] == (
        Publish(port=8000, host_port=81, address="0.0.0.0", service="web"),
        Publish(port=53, host_port=53, protocol="udp"),
    )
    assert len(RunPlan.of(make_image(WEB), options).ports) == 4


def test_free_ports_are_all_of_loopback_with_those_of_the_config() -> None:
    image = make_image(WEB, ExposedPorts={"8000/tcp": {}, "70/udp": {}, "99999/tcp": {}, "x": {}, "1/ip": {}})
    ports = RunPlan.of(image, RunOptions(publish_free=True)).ports
    assert {(port.container_port, port.host_port, port.address) for port in ports} == {
        (key, 0, "127.0.0.1") for key in ("8000/tcp", "8443/tcp", "9000/tcp", "70/udp")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", Publish(port=80)),
        ("8080:80", Publish(port=80, host_port=8080)),
        (":80", Publish(port=80)),
        ("1.2.3.4:8080:80/udp", Publish(port=80, host_port=8080, address="1.2.3.4", protocol="udp")),
        ("1.2.3.4::80", Publish(port=80, address="1.2.3.4")),
        ("localhost:8080:80", Publish(port=80, host_port=8080)),
        ("[::1]:8080:80", Publish(port=80, host_port=8080, address="::1")),
        ("[::1]::80", Publish(port=80, address="::1")),
    ],
)
def test_publish_is_read(text: str, expected: Publish) -> None:
    assert Publish.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "65536", "1:0", "-1:80", "80/ip", "1.2.3:1:1", "host:1:1", "1:2:3:4", "[::1]:1", "[fe80::1%e]:1:1",
     "٣:80", "80 ", "1:1:1:", "999999999999999999999:1"],
)  # fmt: skip
def test_bad_publish_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="-p"):
        Publish.parse(text)


def test_ports_in_each_others_way_are_refused() -> None:
    graph = RuntimeGraph(
        expose=(ExposeItem(port=1, host_port=80), ExposeItem(port=2, host_port=80, listening_addr="0.0.0.0"))
    )
    with pytest.raises(UsageError, match="ports 1/tcp and 2/tcp both want host port 80"):
        RunPlan.of(make_image(graph))
    apart = RuntimeGraph(
        expose=(ExposeItem(port=1, host_port=80), ExposeItem(port=2, host_port=80, listening_addr="127.0.0.2"))
    )
    assert len(RunPlan.of(make_image(apart)).ports) == 2


def test_too_many_ports_and_daemons_are_refused() -> None:
    with pytest.raises(UsageError, match="300 ports"):
        RunPlan.of(make_image(RuntimeGraph(expose=tuple(ExposeItem(port=number) for number in range(1, 301)))))
    with pytest.raises(InvalidDocumentError, match="65 daemons"):
        RunPlan.of(make_image(RuntimeGraph(daemons=(("d",),) * 65)))


def test_a_wrapped_image_keeps_its_entrypoint() -> None:
    plan = RunPlan.of(make_image(WEB, wrapped=True), RunOptions(args=("x", "y")))
    assert (plan.argv, plan.args) == (None, ("x", "y"))
    assert [daemon.name for daemon in plan.wrapped] == ["redis-server", "worker"]
    assert plan.sidecars == ()
    assert "Entrypoint" not in main_body(plan, MANNER)
    assert main_body(plan, MANNER)["Cmd"] == ["x", "y"]


def test_sidecars_take_the_wrapper_off() -> None:
    plan = RunPlan.of(make_image(WEB, wrapped=True), RunOptions(daemons="sidecars"))
    assert plan.argv == ("/bin/main", "serve")
    assert [daemon.argv for daemon in plan.sidecars] == list(WEB.daemons)
    with_args = RunPlan.of(make_image(WEB, wrapped=True), RunOptions(daemons="sidecars", args=("x",)))
    assert with_args.argv == ("/bin/main", "x")


def test_an_image_without_wrapper_gets_sidecars_by_itself() -> None:
    plan = RunPlan.of(make_image(WEB))
    assert plan.argv is None
    assert len(plan.sidecars) == 2
    envd = RunPlan.of(make_image(WEB, graph_format="envd"))
    assert (envd.sidecars, envd.ports) == (plan.sidecars, plan.ports)


def test_the_wrapper_can_be_asked_for() -> None:
    plan = RunPlan.of(make_image(WEB), RunOptions(daemons="wrapper", args=("x",)))
    assert plan.argv == (*supervisor.wrap(WEB.daemons, ("/bin/main",)), "x")
    assert plan.sidecars == ()


def test_daemons_can_be_left_out() -> None:
    plan = RunPlan.of(make_image(WEB, wrapped=True), RunOptions(daemons="none"))
    assert (plan.argv, plan.sidecars, plan.wrapped) == (("/bin/main", "serve"), (), ())
    assert "not started: redis-server, worker" in plan.notes[0]


def test_a_wrapper_without_labels_is_left_alone() -> None:
    image = make_image(entrypoint=supervisor.wrap([["d"]], ["m"]))
    plan = RunPlan.of(image)
    assert plan.argv is None
    assert "carries no runtime graph" in plan.notes[0]


def test_names_of_daemons_are_their_own() -> None:
    graph = RuntimeGraph(daemons=(("/a/Main",), ("/b/x",), ("x", "1"), ("___",), ("ü" * 300,), ("A" * 300,)))
    names = [daemon.name for daemon in RunPlan.of(make_image(graph)).sidecars]
    assert names == ["main-2", "x", "x-2", "daemon", "daemon-2", "a" * 40]


def test_the_context_is_mounted_and_named() -> None:
    choice = ContextChoice(source="/home/me")
    plan = RunPlan.of(make_image(), RunOptions(context=choice))
    assert plan.env == {"RUNTIMEIMG_CONTEXT": "/workspace/context"}
    mounts = main_body(plan, MANNER)["HostConfig"]["Mounts"]
    assert mounts == [{"Type": "bind", "Source": "/home/me", "Target": "/workspace/context", "ReadOnly": False}]
    stamped = RunPlan.of(make_image(labels={CONTEXT_LABEL: "/work"}), RunOptions(context=choice))
    assert stamped.context is not None
    assert (stamped.context.target, stamped.context.asked) == ("/work", False)
    asked = RunPlan.of(
        make_image(), RunOptions(context=ContextChoice.parse("/a:/b:ro"), env={"RUNTIMEIMG_CONTEXT": "x"})
    )
    assert asked.context is not None
    assert (asked.context.target, asked.context.asked, asked.context.read_only) == ("/b", True, True)
    assert asked.env["RUNTIMEIMG_CONTEXT"] == "x"


@pytest.mark.parametrize(
    "target",
    ["", "work", "/", "//", "/a/../b", "/a//b", "/proc", "/proc/1", "/sys/x", "/dev", "/a\nb", "/" + "a" * 5000],
)
def test_a_context_label_reaches_only_plain_places(target: str) -> None:
    with pytest.raises(InvalidDocumentError, match="no place to mount a folder"):
        RunPlan.of(make_image(labels={CONTEXT_LABEL: target}), RunOptions(context=ContextChoice(source="/x")))
    assert RunPlan.of(make_image(labels={CONTEXT_LABEL: target})).context is None


@pytest.mark.parametrize("text", ["", ":/x", "/a:", "/a:b", "/a:/b:rw", "/a:/"])
def test_bad_context_options_are_refused(text: str) -> None:
    with pytest.raises(RuntimeimgError, match="--context"):
        ContextChoice.parse(text)


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(name="-x"),
        RunOptions(name="a b"),
        RunOptions(name="x" * 129),
        RunOptions(env={"": "x"}),
        RunOptions(env={"a=b": "x"}),
        RunOptions(env={"a": "x\0"}),
        RunOptions(args=("\udc80",)),
        RunOptions(daemons="some"),
    ],
)
def test_bad_options_are_refused(options: RunOptions) -> None:
    with pytest.raises(UsageError):
        RunPlan.of(make_image(WEB), options)


def test_restarts_do_not_reach_the_wrapper() -> None:
    with pytest.raises(UsageError, match="--restart-daemons"):
        RunPlan.of(make_image(WEB, wrapped=True), RunOptions(restart_daemons=1))


def test_an_image_without_a_command_is_refused() -> None:
    bare = make_image(WEB, entrypoint=(), cmd=(), wrapped=True)
    with pytest.raises(UsageError, match="no main command"):
        RunPlan.of(bare, RunOptions(daemons="sidecars"))


def test_bodies_hold_only_what_was_chosen() -> None:
    """No label but those of ports and daemons reaches the Engine, and of those only words and bindings."""
    noisy = {"HostConfig": "x", "privileged": "true", "com.docker.compose.project": "x", "dev.runtimeimg.run": "theirs"}
    plan = RunPlan.of(make_image(WEB, labels=noisy), RunOptions(env={"A": "b"}))
    body = main_body(plan, MANNER)
    assert set(body) == {
        "Image", "Env", "Labels", "ExposedPorts", "Tty", "OpenStdin", "StdinOnce", "AttachStdin", "HostConfig",
    }  # fmt: skip
    assert set(body["HostConfig"]) == {"AutoRemove", "PortBindings"}
    assert body["Labels"]["dev.runtimeimg.run"] == "r"
    assert not set(body["Labels"]) & {"HostConfig", "privileged", "com.docker.compose.project"}
    daemon = daemon_body(plan, MANNER, plan.sidecars[0], "m1")
    assert set(daemon) == {"Image", "Env", "Labels", "Entrypoint", "HostConfig"}
    assert daemon["HostConfig"] == {"AutoRemove": True, "NetworkMode": "container:m1", "VolumesFrom": ["m1"]}
