"""Every file of the samples' new layers is of the package that the builder images' own tools say, or listed as of none."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from runtimeimg.cache import Cache
from runtimeimg.check.explain import explain
from runtimeimg.check.sbom import FORMATS
from runtimeimg.check.sbom.values import plain
from runtimeimg.check.sources import Sources
from runtimeimg.cli.looking import Target, looked_into
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.artifacts import artifacts_of
from tests.check.conftest import Kept
from tests.check.test_packages import _installed
from tests.check.test_sbom import built, files_of, run, valid

pytestmark = pytest.mark.engine

SAMPLES = ("python", "nodejs", "petclinic")
PIP = "PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) /app/venv/bin/python -m pip list --format json 2>/dev/null"
NPM = "npm ls --all --json || true"


@dataclass(frozen=True, kw_only=True)
class Told:
    """Of a sample: the package that `explain` names for each new file, and the documents that are written."""

    explained: Mapping[str, str | None]
    documents: Mapping[str, dict[str, Any]]

    def files(self, form: str) -> dict[str, str | None]:
        return files_of(form, self.documents[form])


@pytest.fixture(scope="module")
def made(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    folder = tmp_path_factory.mktemp("attribution")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name in SAMPLES:
            spec, out = kept.file(name), f"oci:{folder}/{name}:1"
            run("build", spec, "-o", out, "--builder", "native", "--check", "off", "--sbom", "cyclonedx")
            documents = {"cyclonedx": attached(out, "cyclonedx")}
            documents["spdx"] = valid("spdx", run("sbom", spec, "--format", "spdx")[0])
            found[name] = Told(explained=explained(spec, folder / "cache"), documents=documents)
    return found


def attached(where: str, form: str) -> dict[str, Any]:
    image, kind = built(where), FORMATS[form].media_type
    assert image.manifest is not None
    artifacts = artifacts_of(Location.parse(where), StoreOptions())
    (entry,) = artifacts.of_type(image.manifest.digest, kind)
    return valid(form, artifacts.files(entry.digest, 64 << 20)[kind].decode())


def explained(spec: Path, cache: Path) -> dict[str, str | None]:
    """Return what `explain` says of every new file."""
    with looked_into(Target(name=str(spec)), StoreOptions(), Cache.open(cache / "runtimeimg")) as looked:
        facts, sources, found = looked.facts, Sources(looked.facts), {}
        for file in facts.view.walk():
            if not file.is_folder and facts.is_new(file):
                package = explain(facts, file.path, sources).package
                found[plain(file.path)] = package.purl if package is not None else None
        assert facts.notes == []
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_new_file_of_a_sample_is_attributed_or_listed(name: str, form: str, made: dict[str, Told]) -> None:
    assert made[name].explained
    assert made[name].files(form) == made[name].explained


def test_what_is_of_no_package_is_the_applications_own(made: dict[str, Told]) -> None:
    """Files that somebody wrote for the sample, and those that make the environment of Python what it is."""
    nobodys = {name: sorted(path for path, purl in made[name].explained.items() if purl is None) for name in SAMPLES}
    assert all(path.startswith(("/app/dist/", "/app/public/", "/app/package")) for path in nobodys["nodejs"] if
               "/node_modules/." not in path)  # fmt: skip
    assert all(path.startswith(("/app/counter/", "/app/venv/bin/", "/app/venv/pyvenv.cfg", "/app/venv/lib64"))
               for path in nobodys["python"])  # fmt: skip
    assert all(path.endswith(".jar") or "/app/" in path for path in nobodys["petclinic"])


def told(image: str, script: str) -> str:
    """Return what a script in one of the samples' images prints."""
    words = ["docker", "run", "--rm", f"runtimeimg-samples/{image}", "sh", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_packages_of_the_samples_are_those_of_their_tools(made: dict[str, Told]) -> None:
    pip = {f"{item['name'].lower()}@{item['version']}" for item in json.loads(told("counter-build:1", PIP))}
    assert of_kind(made["python"], "pypi") == pip
    npm = {item.replace(" ", "@") for item in _installed(json.loads(told("web-build:1", NPM)))}
    assert len(npm) > 30
    assert of_kind(made["nodejs"], "npm") == npm


def of_kind(sample: Told, kind: str) -> set[str]:
    """Return the packages that new files are of, as `name@version`."""
    front = f"pkg:{kind}/"
    return {
        unquote(purl.removeprefix(front)) for purl in sample.files("spdx").values() if purl and purl.startswith(front)
    }


@pytest.mark.parametrize(
    ("name", "base"), [("python", "python-redis:3.11"), ("nodejs", "node:18"), ("petclinic", "java:17")]
)
def test_packages_of_the_bases_are_those_of_dpkg(name: str, base: str, made: dict[str, Told]) -> None:
    lines = told(base, "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\\n'").splitlines()
    installed = {" ".join(line.split()[1:]) for line in lines if line.startswith("installed ")}
    assert len(installed) > 80
    purls = [unquote(item["purl"]) for item in made[name].documents["cyclonedx"]["components"] if "purl" in item]
    debs = [purl.removeprefix("pkg:deb/debian/") for purl in purls if purl.startswith("pkg:deb/")]
    assert {purl.replace("@", " ", 1).replace("?arch=", " ") for purl in debs} == installed


def test_files_of_debian_are_of_the_packages_that_dpkg_says(kept: Kept, tmp_path: Path) -> None:
    """Programs with all that they load, by `include: auto`."""
    image = "runtimeimg-samples/python-redis:3.11"
    runtime = {
        "base": {"image": "scratch"}, "include": ["auto"], "entrypoint": ["/opt/redis/redis-server"],
        "directories": ["/usr/bin/redis-server:/opt/redis/", "/usr/bin/python3.11", "/usr/lib/python3.11/json"],
    }  # fmt: skip
    spec = {
        "apiVersion": "shipwright.io/v1alpha1", "kind": "Build", "metadata": {"name": "x"},
        "spec": {"builder": {"image": kept.image(image)}, "output": {"image": "x:1"}, "runtime": runtime},
    }  # fmt: skip
    (tmp_path / "build.yaml").write_text(json.dumps(spec))
    document = valid("spdx", run("sbom", tmp_path / "build.yaml", "--format", "spdx")[0])
    found = files_of("spdx", document)
    sources = {
        item["fileName"][1:]: item["comment"].partition("source ")[2].partition(";")[0] for item in document["files"]
    }
    assert "/opt/redis/redis-server" in found
    assert len(found) > 30
    asked = " ".join(path for source in sources.values() for path in (source, source.removeprefix("/usr")))
    lines = told("python-redis:3.11", f"dpkg -S {asked} 2>/dev/null || true").splitlines()
    owner = {line.rpartition(": ")[2].removeprefix("/usr"): line.partition(":")[0] for line in lines}
    for path, purl in found.items():
        name = purl.partition("@")[0].removeprefix("pkg:deb/debian/") if purl else "none"
        own = owner.get(sources[path].removeprefix("/usr"), "none")
        assert (unquote(name) == own) or (own == "none" and "__pycache__" in path), (path, purl)
