"""A hundred runs, ended in every way: nothing of them stays."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from runtimeimg.runtimegraph import RuntimeGraph

from .conftest import COMMAND, PATIENCE, ours, runtimeimg

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SCRIPT = "trap 'exit 0' TERM INT; echo ready; while :; do sleep 0.05; done"


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("leaves_no_run")
def test_after_a_hundred_runs_nothing_is_left(
    tiny: str, put: Callable[..., str], engine: docker.APIClient, tmp_path: Path
) -> None:
    graph = RuntimeGraph(daemons=(("sleep", "1000"),))
    image = put("many", tiny, graph, Entrypoint=["sh", "-c"], Cmd=[SCRIPT], Volumes={"/data": {}})
    chance = random.Random(4)
    children: list[subprocess.Popen[bytes]] = []
    for number in range(100):
        mode = chance.choice(["wrapper", "wrapper", "sidecars"])
        how = chance.choice(["detach", "int", "term", "kill"])
        argv = [*COMMAND, "run", "-q", f"--daemons={mode}", *(["-d"] if how == "detach" else []), image]
        child = subprocess.Popen(
            argv, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        children.append(child)
        if how == "detach":
            if number % 3 == 0:
                assert child.wait(60) == 0
        else:
            time.sleep(chance.uniform(0.2, 1.5))
            child.send_signal({"int": signal.SIGINT, "term": signal.SIGTERM, "kill": signal.SIGKILL}[how])
        if number % 10 == 9:
            runtimeimg("stop", "--all", "-t", "1")
    for child in children:
        child.wait(60)
    # What a killed run had asked for may still be on its way in the Engine: it is made, then found and cleared away.
    deadline = time.monotonic() + PATIENCE
    while ours(engine) and time.monotonic() < deadline:
        runtimeimg("stop", "--all", "-t", "1")
    out, err = runtimeimg("ps")
    assert (out, err) == ("", "no runs\n")
