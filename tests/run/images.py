"""Images to run, as values."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from runtimeimg import supervisor
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph, encode

AWKWARD = [
    "'", '"', "\\", "$", "$(id)", "${HOME}", "$$", "`id`", "\n", "\r\n", "\t", "{{ .Name }}", "{% raw %}", "%n", "%%",
    "#", ";", "&&", "|", "*", "~", "!", " ", "", "-", "--", "-e", "=", ":", ",", "yes", "1e3", "0o17", "22:22", "null",
    "\x1b[0m", "é", "\u2028", "\x85", "\x7f", "😀", "\\n", "@", "[", "]", "{", "}", "<<", "&a", "*a", "? ", "- x",
]  # fmt: skip

plain_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
values = st.lists(st.one_of(st.sampled_from(AWKWARD), plain_text), max_size=5).map("".join)
commands = st.tuples(
    st.sampled_from(["/bin/a", "server", "./x", "/opt/a-b_c.d+e@f"]), st.lists(values, max_size=4)
).map(lambda found: (found[0], *found[1]))


def make_image(
    graph: RuntimeGraph | None = None,
    *,
    name: str = "docker-daemon:example.com/team/web:1",
    wrapped: bool = False,
    entrypoint: Sequence[str] = ("/bin/main",),
    cmd: Sequence[str] = ("serve",),
    labels: Mapping[str, str] | None = None,
    graph_format: str = "runtimegraph",
    **config: Any,
) -> Image:
    """An image with a graph in its labels; with `wrapped`, its daemons in its entrypoint too."""
    if wrapped and graph is not None:
        entrypoint = supervisor.wrap(graph.daemons, entrypoint)
    stamped = {} if graph is None else encode(graph, graph_format)
    data = {
        "os": "linux",
        "architecture": "amd64",
        "config": {
            "Entrypoint": list(entrypoint) or None,
            "Cmd": list(cmd) or None,
            "Labels": {**stamped, **(labels or {})},
            **config,
        },
    }
    return Image(config=ImageConfig.from_json(data), layers=(), name=name)


WEB = RuntimeGraph(
    daemons=(("redis-server", "--port", "6379"), ("/usr/bin/Worker", "a b")),
    expose=(
        ExposeItem(port=8000, host_port=8000, service_name="web"),
        ExposeItem(port=8443, host_port=443, service_name="https", listening_addr="0.0.0.0"),
        ExposeItem(port=9000),
    ),
)
