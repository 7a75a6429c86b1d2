"""`kubectl apply --dry-run=client` takes every document; a stand-in for the API server says which kinds there are."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_documents import CASES, OLD_BUILD, amendment_for, text_of

from runtimeimg.strategy import amend, cluster_strategy, convert, step_action, task

KINDS = {
    "shipwright.io/v1beta1": {"Build": True, "BuildStrategy": True, "ClusterBuildStrategy": False, "BuildRun": True},
    "shipwright.io/v1alpha1": {"Build": True, "BuildStrategy": True, "ClusterBuildStrategy": False},
    "build.dev/v1alpha1": {"Build": True, "BuildStrategy": True, "ClusterBuildStrategy": False},
    "tekton.dev/v1": {"Task": True, "TaskRun": True},
    "tekton.dev/v1beta1": {"Task": True, "StepAction": True},
}
CORE = {"ServiceAccount": True, "ConfigMap": True, "Secret": True, "Namespace": False}
SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*/*.yaml"))


def plural(kind: str) -> str:
    return kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")


class ApiServer(BaseHTTPRequestHandler):
    """Discovery, and nothing in the cluster."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self._document(self.path.partition("?")[0].strip("/"))
        raw = json.dumps(body).encode()
        self.send_response(404 if body.get("code") == 404 else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _document(self, path: str) -> dict[str, object]:
        if path == "api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "apis":
            names = dict.fromkeys(name.partition("/")[0] for name in KINDS)
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [self._group(name) for name in names]}
        version = "v1" if path == "api/v1" else path.removeprefix("apis/")
        kinds = CORE if version == "v1" else KINDS.get(version)
        if kinds is None:
            return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        resources = [
            {"name": plural(kind), "singularName": "", "namespaced": scoped, "kind": kind, "verbs": ["get", "patch"]}
            for kind, scoped in kinds.items()
        ]
        return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}

    @staticmethod
    def _group(name: str) -> dict[str, object]:
        versions = [{"groupVersion": key, "version": key.partition("/")[2]} for key in KINDS if key.startswith(name)]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}


@pytest.fixture
def server() -> Iterator[str]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    instance = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    instance.daemon_threads = True
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{instance.server_address[1]}"
    instance.shutdown()
    thread.join()
    instance.server_close()


def test_kubectl_takes_every_document(server: str, tmp_path: Path) -> None:
    texts = [cluster_strategy(), task(), step_action(), convert(OLD_BUILD).text]
    texts += [amend(text_of(path), amendment_for(path, "spec")).text for path in CASES]
    samples = [path.read_text() for path in SAMPLES if path.parent.name in {"tekton", "shipwright"}]
    texts += [text for text in samples if "generateName" not in text]  # those are created, not applied
    for number, text in enumerate(texts):
        (tmp_path / f"{number:02}.yaml").write_text(text)
    applied = subprocess.run(
        [
            "kubectl",
            f"--server={server}",
            f"--cache-dir={tmp_path / 'cache'}",
            "apply",
            "--dry-run=client",
            "--validate=false",
            f"--filename={tmp_path}",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "KUBECONFIG": "/dev/null"},
    )
    assert applied.returncode == 0, applied.stderr
    created = applied.stdout.splitlines()
    assert all(line.endswith("created (dry run)") for line in created)
    assert len(created) >= len(texts)
    assert "clusterbuildstrategy.shipwright.io/runtime-image created (dry run)" in created
