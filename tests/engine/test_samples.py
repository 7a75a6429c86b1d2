"""Each sample is built, looked at, started with its ports, asked over HTTP and stopped, on a real Engine."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import docker
import pytest
from started import fetch, started, wait_until_it_answers

from runtimeimg.runtimegraph import DAEMON_LABEL, EXPOSE_LABEL, VERSION_LABEL

pytestmark = [pytest.mark.engine, pytest.mark.slow]


# What an Engine writes into a config by itself, differently for a build and for an image that is loaded.
VOLATILE = {"Image", "Hostname", "Domainname"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a sample's image must hold; `ask` speaks to it at the address that it is given."""

    name: str
    builder: str
    base: str
    user: str
    port: int
    service: str
    entrypoint: list[str]
    env: set[str]
    labels: dict[str, str]
    ask: Callable[[str], None]
    daemons: list[list[str]] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)


def _ask_nodejs(base: str) -> None:
    assert json.loads(fetch(f"{base}/healthz")) == {"status": "ok", "title": 'Short links, "lean"'}
    assert "<h1>Short links</h1>" in fetch(f"{base}/")
    added = json.loads(fetch(f"{base}/api/links", b'{"url": "https://example.com/a b"}'))
    assert added == {"id": "1", "url": "https://example.com/a%20b", "visits": 0}
    assert json.loads(fetch(f"{base}/api/links")) == [added]


def _ask_petclinic(base: str) -> None:
    assert "<h1>Dogs &amp; Cats</h1>" in fetch(f"{base}/")
    form = urlencode({"name": "Ann", "city": "Tromsø"}).encode()
    ann = json.loads(fetch(f"{base}/api/owners", form, "application/x-www-form-urlencoded"))
    names = [owner["name"] for owner in json.loads(fetch(f"{base}/api/owners"))]
    assert names == ["Ann", "Betty Davis", "George Franklin"]
    assert json.loads(fetch(f"{base}/api/owners/{ann['id']}"))["city"] == "Tromsø"


def _ask_python(base: str) -> None:
    assert "visitor number 1 of home" in fetch(f"{base}/")
    page = fetch(f"{base}/")
    assert "visitor number 2 of home" in page
    assert "<h1>It&#39;s a counter &amp; a &#34;daemon&#34;</h1>" in page
    assert json.loads(fetch(f"{base}/api/visits")) == {"home": 2}


SAMPLES = [
    Sample(
        name="nodejs",
        builder="runtimeimg-samples/web-build:1",
        base="runtimeimg-samples/node:18",
        user="node",
        port=3000,
        service="web",
        entrypoint=["node", "dist/server.js"],
        env={"NODE_ENV=production", "PORT=3000", 'TITLE=Short links, "lean"'},
        labels={"org.opencontainers.image.title": "Short links", "org.example.team": "web"},
        ask=_ask_nodejs,
    ),
    Sample(
        name="petclinic",
        builder="runtimeimg-samples/petclinic-build:1",
        base="runtimeimg-samples/java:17",
        user="clinic",
        port=8080,
        service="clinic",
        entrypoint=["java", "-jar", "petclinic.jar"],
        env={
            "JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=75 -Djava.awt.headless=true",
            "PORT=8080",
            "DATABASE_URL=jdbc:h2:file:/data/clinic",
            "CLINIC_NAME=Dogs & Cats",
        },
        labels={"org.opencontainers.image.title": "Pet clinic", "org.example.team": "clinic"},
        volumes=["/data"],
        ask=_ask_petclinic,
    ),
    Sample(
        name="python",
        builder="runtimeimg-samples/counter-build:1",
        base="runtimeimg-samples/python-redis:3.11",
        user="app",
        port=8000,
        service="counter",
        entrypoint=[
            *("gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2"),
            *("--worker-tmp-dir", "/dev/shm", "counter:create_app()"),
        ],
        env={
            "PATH=/app/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONUNBUFFERED=1",
            "REDIS_URL=redis://127.0.0.1:6379",
            'GREETING=It\'s a counter & a "daemon"',
        },
        labels={"org.opencontainers.image.title": "Visit counter", "org.example.team": "web"},
        daemons=[
            ["redis-server", "--port", "6379", "--bind", "127.0.0.1", "--dir", "/data", "--save", "60 1"],
        ],
        volumes=["/data"],
        ask=_ask_python,
    ),
]


@dataclass(frozen=True)
class Built:
    sample: Sample
    spec: Path
    image: str


def _runtimeimg(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "runtimeimg", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda sample: sample.name)
def built(request: pytest.FixtureRequest, engine: docker.APIClient, samples: Path) -> Iterator[Built]:
    """A sample's runtime image, built once for all tests of this module."""
    sample = request.param
    spec = samples / sample.name / "build.yaml"
    image = f"runtimeimg-test/{sample.name}:1"
    _runtimeimg("build", spec, "-t", image)
    yield Built(sample, spec, image)
    engine.remove_image(image)


def test_the_config_is_what_the_spec_says(built: Built, engine: docker.APIClient) -> None:
    sample = built.sample
    config = engine.inspect_image(built.image)["Config"]

    assert config["Labels"].items() >= sample.labels.items()
    assert config["Labels"][VERSION_LABEL] == "v1"
    assert {DAEMON_LABEL, EXPOSE_LABEL} <= config["Labels"].keys()
    assert config["ExposedPorts"] == {f"{sample.port}/tcp": {}}
    assert set(config["Env"]) >= sample.env
    assert config["WorkingDir"] == "/app"
    assert config["User"] == sample.user
    assert list(config.get("Volumes") or {}) == sample.volumes
    if sample.daemons:
        assert config["Entrypoint"][0] == "/bin/sh"
        assert sample.entrypoint[0] in " ".join(config["Entrypoint"])
    else:
        assert config["Entrypoint"] == sample.entrypoint
        assert not config.get("Cmd")


def test_inspect_gives_the_graph_back(built: Built) -> None:
    graph = json.loads(_runtimeimg("inspect", f"docker-daemon:{built.image}", "--format", "json"))["graph"]

    assert graph["daemons"] == built.sample.daemons
    (item,) = graph["expose"]
    published = {"port": built.sample.port, "hostPort": built.sample.port, "serviceName": built.sample.service}
    assert item.items() >= published.items()


def test_the_image_is_at_most_half_of_its_builder(built: Built, engine: docker.APIClient) -> None:
    runtime = engine.inspect_image(built.image)["Size"]
    builder = engine.inspect_image(built.sample.builder)["Size"]

    assert runtime <= builder / 2, f"{runtime / 1e6:.0f} MB of {builder / 1e6:.0f} MB"


def test_only_the_copies_are_added_to_the_base(built: Built, engine: docker.APIClient) -> None:
    base = engine.inspect_image(built.sample.base)["RootFS"]["Layers"]
    layers = engine.inspect_image(built.image)["RootFS"]["Layers"]

    assert layers[: len(base)] == base
    assert len(layers) > len(base)


@pytest.mark.usefixtures("leaves_nothing")
def test_it_starts_answers_and_stops(built: Built, engine: docker.APIClient) -> None:
    with started(engine, built.image, built.sample.port) as (container, address):
        wait_until_it_answers(engine, container, f"{address}/healthz")
        built.sample.ask(address)

        engine.stop(container, timeout=60)  # the Engine kills what does not end by then: 137
        assert engine.inspect_container(container)["State"]["ExitCode"] in {0, 143}


@pytest.mark.usefixtures("leaves_nothing")
def test_building_leaves_nothing(built: Built, engine: docker.APIClient) -> None:
    again = f"{built.image}-again"
    _runtimeimg("build", built.spec, "-t", again)
    engine.remove_image(again)


def _plain_build(engine: docker.APIClient, dockerfile: str, tag: str) -> None:
    for event in engine.build(fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True, decode=True):
        assert "error" not in event, event


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """The config without what an Engine fills in by itself; empty and absent are the same."""
    return {key: value for key, value in config.items() if value and key not in VOLATILE}


def test_a_plain_build_of_the_stamped_dockerfile_gives_the_same_config(built: Built, engine: docker.APIClient) -> None:
    plain = f"{built.image}-plain"
    _plain_build(engine, _runtimeimg("render", built.spec, "--stamped"), plain)
    try:
        expected = _lasting(engine.inspect_image(plain)["Config"])
        assert _lasting(engine.inspect_image(built.image)["Config"]) == expected
    finally:
        engine.remove_image(plain)
