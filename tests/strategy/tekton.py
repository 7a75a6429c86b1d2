"""What Tekton, Shipwright and the kubelet make of a strategy, and its steps as real containers on the local Engine.

The substitution is done the way the controllers do it, in the order and with the repetition they have: parameters,
then contexts, then result paths, each a pass over the whole step and over what the pass before put in; then the
kubelet's own `$(NAME)` and `$$` in command, args and env. See docs/decisions/strategy-values-are-data.md.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UID = 1000740000
"""A user as the restricted profile of a cluster gives to a namespace: known to no image."""
RESULTS = (
    "shp-image-digest", "shp-image-size", "shp-error-reason", "shp-error-message", "IMAGE_DIGEST", "IMAGE_URL",
    "ERROR_REASON", "ERROR_MESSAGE", "BASE_ARTIFACT_INPUTS", "BUILDER_ARTIFACT_INPUTS", "IMAGE_ARTIFACT_OUTPUTS",
)  # fmt: skip


@dataclass(kw_only=True)
class Pod:
    """A run of a strategy or Task: its folders on this machine, which stand for emptyDir volumes."""

    folder: Path
    parameters: Mapping[str, str | Sequence[str]]
    source: Path | None = None
    logs: list[str] = field(default_factory=list)
    results_mode: int = 0o777
    """That of the folder of the results; an emptyDir is open to all."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Folders in place of volumes that may be overridden, and of workspaces that may be left out."""
    hosts: tuple[str, ...] = ()
    """Names of this machine in the pod, none of them one that says so."""

    def directory(self, name: str) -> Path:
        """Return the folder of a volume, open to all as an emptyDir is."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return path

    def result(self, name: str) -> str | None:
        path = self.directory("results") / name
        return path.read_text() if path.exists() else None

    def run(self, document: Mapping[str, Any]) -> int:
        """Run the steps in order until one fails; return the exit code of the last that ran."""
        code = 0
        for step in resolved_steps(document, self.parameters, workspaces=self.volumes):
            code = self._run(step, document)
            if code:
                break
        return code

    def _run(self, step: Mapping[str, Any], document: Mapping[str, Any]) -> int:
        pod = document["spec"].get("securityContext") or {}
        context = {**pod, **(step.get("securityContext") or {})}
        argv = ["docker", "run", "--rm", "--network=host", f"--user={context.get('runAsUser', UID)}:"]
        argv[-1] += str(context.get("runAsGroup", 0))
        if context.get("runAsNonRoot"):
            assert context.get("runAsUser", UID) != 0
        if context.get("readOnlyRootFilesystem"):
            argv.append("--read-only")
        if not context.get("allowPrivilegeEscalation", True):
            argv.append("--security-opt=no-new-privileges")
        if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
            argv.append("--security-opt=seccomp=unconfined")
        capabilities = context.get("capabilities") or {}
        argv += [f"--cap-drop={item}" for item in capabilities.get("drop", [])]
        argv += [f"--cap-add={item}" for item in capabilities.get("add", [])]
        for name, path in (("results", "/tekton/results"), ("output", "/workspace/output-image")):
            argv.append(f"--volume={self.directory(name)}:{path}")
        self.directory("results").chmod(self.results_mode)
        if self.source is not None:
            argv.append(f"--volume={self.source}:/workspace/source:ro")
        argv += [f"--add-host={host}:127.0.0.1" for host in self.hosts]
        for item in document["spec"].get("workspaces") or []:
            if item["name"] in self.volumes:
                argv.append(f"--volume={self.volumes[item['name']]}:/workspace/{item['name']}")
        for mount in step.get("volumeMounts") or []:
            argv.append(f"--volume={self._volume(mount['name'], document)}:{mount['mountPath']}")
        environment = self.folder / "environment.json"
        environment.write_text(json.dumps({item["name"]: item["value"] for item in step.get("env") or []}))
        argv += [f"--env={item['name']}={item['value']}" for item in step.get("env") or []]
        command = list(step.get("command") or [])
        argv += [f"--entrypoint={command[0]}", step["image"], *command[1:], *(step.get("args") or [])]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
        self.logs.append(f"{step['name']}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode

    def _volume(self, name: str, document: Mapping[str, Any]) -> Path:
        volumes = {item["name"]: item for item in document["spec"].get("volumes") or []}
        if name in self.volumes:
            assert volumes[name]["overridable"] is True
            return self.volumes[name]
        path = self.directory(f"volume-{name}")
        for item in (volumes.get(name, {}).get("configMap") or {}).get("items") or []:
            (path / item["path"]).write_bytes((self.folder / "configmap" / item["key"]).read_bytes())
        return path


def resolved_steps(
    document: Mapping[str, Any],
    values: Mapping[str, str | Sequence[str]],
    *,
    workspaces: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the steps as the containers of a pod get them; of optional workspaces those are there that are named."""
    spec = document["spec"]
    strings, arrays = _parameters(spec, values)
    results = {f"results.{name}.path": f"/tekton/results/{name}" for name in RESULTS}
    results |= {f"step.{key}": value for key, value in results.items()}
    contexts = {"context.taskRun.name": "run-1", "credentials.path": "/tekton/creds"}
    results["step.artifacts.path"] = "/tekton/results/artifacts.json"
    spaces = {}
    for item in spec.get("workspaces") or []:
        name = item["name"]
        there = f"/workspace/{name}" if name in workspaces else "" if item.get("optional") else "/workspace/source"
        spaces[f"workspaces.{name}.path"] = "/workspace/source" if name in {"source", "app"} else there
    steps = []
    for step in spec.get("steps") or spec.get("buildSteps"):
        resolved = _substituted(step, {f"params.{key}": value for key, value in strings.items()}, arrays)
        for later in (contexts, results, spaces):
            resolved = _substituted(resolved, later, {})
        steps.append(_by_kubelet(resolved))
    return steps


def _parameters(
    spec: Mapping[str, Any], values: Mapping[str, str | Sequence[str]]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    strings: dict[str, str] = {}
    arrays: dict[str, list[str]] = {}
    known = set()
    for item in spec.get("parameters") or spec.get("params") or []:
        value = values.get(item["name"], item.get("defaults", item.get("default")))
        assert value is not None, f"parameter {item['name']} has no value"
        known.add(item["name"])
        assert isinstance(value, list) == (item.get("type") == "array"), item["name"]
        if isinstance(value, list):
            arrays[f"params.{item['name']}"] = list(value)
        else:
            strings[item["name"]] = str(value)
    for name, value in values.items():
        if name.startswith("shp-"):
            strings[name] = str(value)
        else:
            assert name in known, f"parameter {name} is not declared"
    return strings, arrays


def _substituted(value: Any, strings: Mapping[str, str], arrays: Mapping[str, list[str]]) -> Any:
    """Replace variables in one pass, as a strings.Replacer does; a lone `$(name[*])` in a list becomes its items."""
    if isinstance(value, str):
        return re.sub(r"\$\(([^()]+)\)", lambda match: strings.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: _substituted(item, strings, arrays) for key, item in value.items()}
    if isinstance(value, list):
        items: list[Any] = []
        for item in value:
            whole = re.fullmatch(r"\$\(([^()]+)\[\*\]\)", item) if isinstance(item, str) else None
            if whole and whole[1] in arrays:
                items += arrays[whole[1]]
            else:
                items.append(_substituted(item, strings, arrays))
        return items
    return value


def _by_kubelet(step: dict[str, Any]) -> dict[str, Any]:
    """Expand `$(NAME)` of variables that the container has and make `$` of `$$`, in env, command and args."""
    environment: dict[str, str] = {}
    for item in step.get("env") or []:
        environment[item["name"]] = _expanded(item["value"], environment)
    return {
        **step,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "command": [_expanded(item, environment) for item in step.get("command") or []],
        "args": [_expanded(item, environment) for item in step.get("args") or []],
    }


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^()]*)\)", replace, text)
