"""The label codec: what it writes, what it reads back, and what it refuses."""

import base64
import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg import runtimegraph
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph, decode, encode

GRAPH = RuntimeGraph(
    daemons=(("redis-server", "--port", "6379"), ("é", "")),
    expose=(ExposeItem(port=8443, host_port=443, service_name="https", listening_addr="127.0.0.1"),),
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
graphs = st.builds(
    RuntimeGraph,
    daemons=st.lists(st.tuples(text.filter(bool), text).map(tuple), max_size=5).map(tuple),
    expose=st.lists(
        st.builds(
            ExposeItem,
            port=st.integers(1, 65535),
            host_port=st.integers(0, 65535),
            service_name=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20),
            listening_addr=st.sampled_from(["", "127.0.0.1", "::1", "0.0.0.0"]),
        ),
        max_size=5,
    ).map(tuple),
)


def label(value: object) -> str:
    return base64.b64encode(msgpack.packb(value)).decode()


def labelled(key: str, text: str) -> dict[str, str]:
    return {runtimegraph.VERSION_LABEL: "v1", key: text}


def test_the_labels_are_the_msgpack_of_the_proposal() -> None:
    labels = encode(GRAPH)
    assert list(labels) == list(runtimegraph.GRAPH_LABELS)
    assert labels["ai.tensorchord.envd.runtimeGraph.version"] == "v1"
    daemons = msgpack.unpackb(base64.b64decode(labels["ai.tensorchord.envd.runtimeGraph.Daemon"], validate=True))
    assert daemons == [["redis-server", "--port", "6379"], ["é", ""]]
    assert msgpack.unpackb(base64.b64decode(labels["ai.tensorchord.envd.runtimeGraph.Expose"], validate=True)) == [
        {"EnvdPort": 8443, "HostPort": 443, "ServiceName": "https", "ListeningAddr": "127.0.0.1"}
    ]
    assert all(value.isascii() for value in labels.values())


@pytest.mark.parametrize("graph_format", runtimegraph.GRAPH_FORMATS)
@given(graph=graphs)
def test_every_graph_comes_back(graph_format: str, graph: RuntimeGraph) -> None:
    assert decode(encode(graph, graph_format)) == graph
    assert RuntimeGraph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_the_label_of_released_envd_versions_is_read() -> None:
    document = {
        "commands": {"x": "y"},
        "daemon": [["/usr/sbin/sshd", "-D"]],
        "init_script": None,
        "environ": {"A": "b"},
        "env_paths": ["/opt/bin"],
        "expose": [{"EnvdPort": 80, "HostPort": 8080, "ServiceName": "web", "ListeningAddr": ""}],
    }
    graph = decode({runtimegraph.ENVD_LABEL: json.dumps(document)})
    assert graph == RuntimeGraph(
        daemons=(("/usr/sbin/sshd", "-D"),), expose=(ExposeItem(port=80, host_port=8080, service_name="web"),)
    )


def test_no_label_is_no_graph() -> None:
    assert decode({"version": "v1"}) is None


BAD = {
    "version missing": {runtimegraph.DAEMON_LABEL: label([])},
    "version unknown": {runtimegraph.VERSION_LABEL: "v2"},
    "not base64": labelled(runtimegraph.DAEMON_LABEL, "%%%"),
    "not ascii": labelled(runtimegraph.DAEMON_LABEL, "é"),
    "base64 with line break": labelled(runtimegraph.DAEMON_LABEL, label([["a"]])[:2] + "\n" + label([["a"]])[2:]),
    "empty": labelled(runtimegraph.DAEMON_LABEL, ""),
    "trailing bytes": labelled(runtimegraph.DAEMON_LABEL, base64.b64encode(msgpack.packb([]) + b"\0").decode()),
    "truncated": labelled(runtimegraph.DAEMON_LABEL, base64.b64encode(msgpack.packb([["abc"]])[:-1]).decode()),
    "too long": labelled(runtimegraph.DAEMON_LABEL, label([["a" * 70000]])),
    "deep nesting": labelled(runtimegraph.DAEMON_LABEL, base64.b64encode(b"\x91" * 3000 + b"\xc0").decode()),
    "huge announced array": labelled(runtimegraph.DAEMON_LABEL, base64.b64encode(b"\xdd\xff\xff\xff\xff").decode()),
    "extension type": labelled(runtimegraph.DAEMON_LABEL, label(msgpack.ExtType(5, b"x"))),
    "invalid utf-8": labelled(runtimegraph.DAEMON_LABEL, base64.b64encode(b"\x91\x91\xa1\xff").decode()),
    "daemon a map": labelled(runtimegraph.DAEMON_LABEL, label({"a": 1})),
    "daemon a string": labelled(runtimegraph.DAEMON_LABEL, label(["redis"])),
    "daemon empty": labelled(runtimegraph.DAEMON_LABEL, label([[]])),
    "daemon without program": labelled(runtimegraph.DAEMON_LABEL, label([["", "x"]])),
    "daemon with a number": labelled(runtimegraph.DAEMON_LABEL, label([["redis", 1]])),
    "daemon with NUL": labelled(runtimegraph.DAEMON_LABEL, label([["re\0dis"]])),
    "expose not a list": labelled(runtimegraph.EXPOSE_LABEL, label(80)),
    "expose without port": labelled(runtimegraph.EXPOSE_LABEL, label([{"HostPort": 1}])),
    "expose port 0": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": 0}])),
    "expose port too large": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": 65536}])),
    "expose port a bool": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": True}])),
    "expose port a string": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": "80"}])),
    "host port negative": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": 80, "HostPort": -1}])),
    "address an option": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": 80, "ListeningAddr": "a b"}])),
    "service with line break": labelled(runtimegraph.EXPOSE_LABEL, label([{"EnvdPort": 80, "ServiceName": "a\n"}])),
    "map key not a string": labelled(runtimegraph.EXPOSE_LABEL, label([{1: 2}])),
    "envd not json": {runtimegraph.ENVD_LABEL: "{"},
    "envd a list": {runtimegraph.ENVD_LABEL: "[]"},
    "envd deep": {runtimegraph.ENVD_LABEL: "[" * 50000},
    "envd daemon wrong": {runtimegraph.ENVD_LABEL: '{"daemon": [1]}'},
}


@pytest.mark.parametrize("labels", BAD.values(), ids=BAD)
def test_a_broken_label_is_one_clear_error(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode(labels)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200))
def test_garbage_is_never_more_than_an_error(data: bytes) -> None:
    for key in (runtimegraph.DAEMON_LABEL, runtimegraph.EXPOSE_LABEL):
        try:
            graph = decode(labelled(key, base64.b64encode(data).decode()))
        except InvalidDocumentError:
            continue
        assert isinstance(graph, RuntimeGraph)


def test_a_graph_too_large_for_its_label_is_refused() -> None:
    with pytest.raises(InvalidDocumentError, match="would hold"):
        encode(RuntimeGraph(daemons=(("a" * 70000,),)))
