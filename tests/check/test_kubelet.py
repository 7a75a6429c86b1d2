"""USER-002 on Kubernetes' kubelet, by itself and on containerd: it refuses an image whose user is a name.

KUBELET names the program. Debian has none, so these tests are left out unless they are asked for:
`KUBELET=/path/to/kubelet scripts/test -m kubelet`.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from runtimeimg.findings import Severity
from tests.check.images import Files, Put, found, ids, image
from tests.check.objects import static
from tests.containerd import SECONDS, containerd
from tests.stores.made import write

pytestmark = [pytest.mark.kubelet, pytest.mark.ctr, pytest.mark.mounts]

NAMESPACE = ("--namespace", "k8s.io")
PASSWD: Files = {"/app/run": Put(data=static()), "/etc/passwd": b"app:x:1000:1000::/:/bin/sh\n"}
USERS = {"name": ("app", ["USER-002"]), "number": ("1000:1000", [])}
# Neither writes to this machine: what it has of its own in /run, /var/lib and /var/log is in the test's folder, and
# so are the settings of the kernel that the kubelet wants to have.
APART = """
folder=$1
shift
for kept in /run /var/lib /var/log; do
    mkdir -p "$folder$kept"
    mount --bind "$folder$kept" "$kept"
done
for key in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \\
           kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    mkdir -p "$folder/sys/${key%/*}"
    cat "/proc/sys/$key" >"$folder/sys/$key"
    mount --bind "$folder/sys/$key" "/proc/sys/$key"
done
exec "$@"
"""
CRI = """
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "check.test/pause:1"
disable_cgroup = true
disable_apparmor = true
restrict_oom_score_adj = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""
SETTINGS: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": "127.0.0.1",
    "healthzPort": 0,
    "oomScoreAdj": 0,
    "failSwapOn": False,
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "makeIPTablesUtilChains": False,
    "fileCheckFrequency": "1s",
    "syncFrequency": "1s",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
}
Told = Callable[[], dict[str, Any]]


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": {"check": name}},
        "spec": {
            "hostNetwork": True,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True},
            "containers": [{"name": "app", "image": f"check.test/{name}:1", "imagePullPolicy": "Never"}],
        },
    }


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def kubelet(folder: Path, before: list[object]) -> Iterator[Told]:
    """Start it with the pods in `folder/pods`, and yield what tells each one's state."""
    program = os.environ["KUBELET"]
    (folder / "resolv.conf").write_text("")
    ports = free(), free()
    settings = {**SETTINGS, "port": ports[0], "readOnlyPort": ports[1]}
    settings |= {"staticPodPath": str(folder / "pods"), "resolvConf": str(folder / "resolv.conf")}
    words = [*before, program, "--root-dir", folder / "kubelet", "--cert-dir", folder / "kubelet/pki"]
    words += ["--config", folder / "kubelet.json", "--hostname-override", "check"]
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    if "--container-runtime string" in known:  # before 1.27
        words += ["--container-runtime", "remote", "--container-runtime-endpoint", f"unix://{folder}/sock"]
    else:
        settings["containerRuntimeEndpoint"] = f"unix://{folder}/sock"
    (folder / "kubelet.json").write_text(json.dumps(settings))
    opener = build_opener(ProxyHandler({}))
    with (folder / "kubelet.log").open("wb") as log:
        daemon = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log)

    def told() -> dict[str, Any]:
        assert daemon.poll() is None, (folder / "kubelet.log").read_text()
        try:
            with opener.open(f"http://127.0.0.1:{ports[1]}/pods", timeout=10) as answer:
                pods = json.load(answer)["items"] or []
        except OSError:
            return {}
        return {
            one["metadata"]["annotations"]["check"]: one["status"]["containerStatuses"][0]["state"]
            for one in pods
            if one["status"].get("containerStatuses")
        }

    try:
        yield told
    finally:
        daemon.terminate()
        daemon.wait(SECONDS)


def test_a_user_that_is_a_name_is_refused_where_nobody_may_be_root(tmp_path: Path) -> None:
    (tmp_path / "apart").write_text(APART)
    (tmp_path / "pods").mkdir()
    before: list[object] = ["unshare", "--mount", "--propagation", "private", "sh", "-e", tmp_path / "apart", tmp_path]
    busybox = Put(data=Path("/bin/busybox").read_bytes())
    images = {"pause": image({"/bin/busybox": busybox}, Entrypoint=["/bin/busybox", "sleep", "1000000"])}
    for name, (user, expected) in USERS.items():
        images[name] = image(PASSWD, Entrypoint=["/app/run"], User=user)
        assert ids(found(images[name], least=Severity.INFO)) == expected
        (tmp_path / "pods" / f"{name}.json").write_text(json.dumps(pod(name)))
    with containerd(tmp_path, CRI, before) as ctr:
        for name, made in images.items():
            write(f"oci-archive:{tmp_path}/image.tar:check.test/{name}:1", made)
            imported = ctr(*NAMESPACE, "images", "import", "--snapshotter", "native", tmp_path / "image.tar")
            assert imported.returncode == 0, imported.stderr
        try:
            with kubelet(tmp_path, before) as told:
                states = until(told, tmp_path)
        finally:
            for task in ctr(*NAMESPACE, "tasks", "list", "--quiet").stdout.split():
                ctr(*NAMESPACE, "tasks", "delete", "--force", task)
            left = ctr(*NAMESPACE, "tasks", "list", "--quiet").stdout
    assert left == ""
    assert states["name"]["waiting"]["reason"] == "CreateContainerConfigError"
    assert "image has non-numeric user (app), cannot verify user is non-root" in states["name"]["waiting"]["message"]
    assert states["number"]["terminated"]["exitCode"] == 0


def until(told: Told, folder: Path) -> dict[str, Any]:
    """Return the states of the pods once each has ended or is refused."""
    end = time.monotonic() + 4 * SECONDS
    while True:
        states = told()
        reasons = [state.get("waiting", state.get("terminated", {})).get("reason") for state in states.values()]
        if states.keys() == USERS.keys() and not {None, "ContainerCreating"} & set(reasons):
            return states
        assert time.monotonic() < end, f"{states}\n{(folder / 'kubelet.log').read_text()}"
        time.sleep(0.5)
