"""Containers that are started for a test and asked over HTTP."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import ProxyHandler, Request, build_opener

import docker
import pytest

START = 120.0  # seconds that an application may take until it answers


def fetch(url: str, body: bytes | None = None, content_type: str = "application/json") -> str:
    """Ask without a proxy and return the text of the answer."""
    request = Request(url, data=body, headers={"Content-Type": content_type} if body else {})
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@contextmanager
def started(engine: docker.APIClient, image: str, port: int) -> Iterator[tuple[str, str]]:
    """Start a container; yield its id and the address at which its port answers on this machine."""
    host_config = engine.create_host_config(port_bindings={port: ("127.0.0.1", None)})
    container = engine.create_container(image, ports=[port], host_config=host_config)["Id"]
    try:
        engine.start(container)
        bound = engine.inspect_container(container)["NetworkSettings"]["Ports"][f"{port}/tcp"][0]
        yield container, f"http://127.0.0.1:{bound['HostPort']}"
    finally:
        engine.remove_container(container, force=True, v=True)


def wait_until_it_answers(engine: docker.APIClient, container: str, url: str) -> str:
    """Return the first answer; fail with the container's log when it ends before or takes too long."""
    deadline = time.monotonic() + START
    while True:
        try:
            return fetch(url)
        except OSError as error:
            state = engine.inspect_container(container)["State"]
            if not state["Running"] or time.monotonic() > deadline:
                log = engine.logs(container, tail=20).decode(errors="replace")
                pytest.fail(f"does not answer ({error}); exit code {state['ExitCode']}; log:\n{log}")
            time.sleep(0.1)
