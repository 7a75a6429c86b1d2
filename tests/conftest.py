"""What every test shares: hypothesis profiles, and the services that marked tests need."""

import gc
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import docker
import pytest
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from hypothesis import HealthCheck, settings

from tests.browser import Browser, browsing

REGISTRY = "127.0.0.1:5000"
REFERENCE = Path(os.environ.get("RUNTIMEIMG_REFERENCE") or Path(__file__).parents[2] / "shared" / "reference")
SAMPLES = Path(__file__).parents[1] / "samples"
PROGRAMS = (
    "buildah",
    "skopeo",
    "umoci",
    "runc",
    "crun",
    "ctr",
    "openssl",
    "sshd",
    "ssh",
    "shellcheck",
    "groff",
    "chromium",
    "rpm",
    "dot",
)

# "ci" gives the same examples in every run; "thorough" is for a long run by hand. A test that wants more than
# the profile gives says max_examples=max(2000, settings.default.max_examples).
_any_speed = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _any_speed, max_examples=300, derandomize=True)
settings.register_profile("dev", _any_speed, max_examples=50)
settings.register_profile("thorough", _any_speed, max_examples=100_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _no_engine() -> str | None:
    reason = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves its socket open when nobody answers
        try:
            docker.APIClient(timeout=10, **kwargs_from_env()).close()  # asks for the Engine's version
        except (DockerException, OSError) as error:
            reason = f"no Docker Engine answers ({error}); run scripts/services start"
        gc.collect()
    return reason


def _no_registry() -> str | None:
    try:
        build_opener(ProxyHandler({})).open(f"http://{REGISTRY}/v2/", timeout=5).close()
    except OSError as error:
        return f"no registry answers on {REGISTRY} ({error}); run scripts/services start"
    return None


def _no_program(name: str) -> str | None:
    return None if shutil.which(name) else f"{name} is not on PATH; run scripts/services install"


def _no_debian_root() -> str | None:
    if os.geteuid() != 0:
        return "only root can make and enter a Debian root"
    return _no_program("debootstrap")


def _no_mounts() -> str | None:
    if os.geteuid() != 0:
        return "only root can mount disks of a test's own"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"disks cannot be mounted here: {tried.stderr.strip()}"


def _no_own(variable: str) -> str | None:
    return None if os.access(os.environ.get(variable, ""), os.X_OK) else f"{variable} does not name a program"


# Marker -> why a test that carries it cannot run here, or None.
SERVICES: Mapping[str, Callable[[], str | None]] = {
    "engine": _no_engine,
    "registry": _no_registry,
    "debian": _no_debian_root,
    "mounts": _no_mounts,
    "kubelet": partial(_no_own, "KUBELET"),
    "nvidia": partial(_no_own, "NVIDIA_CONTAINER_RUNTIME"),
    **{name: partial(_no_program, name) for name in PROGRAMS},
}


@cache
def _why_missing(marker: str) -> str | None:
    return SERVICES[marker]()


def pytest_configure(config: pytest.Config) -> None:
    for name in PROGRAMS:
        config.addinivalue_line("markers", f"{name}: needs the program {name}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose service is missing; fail it where RUNTIMEIMG_REQUIRE_SERVICES is set."""
    for marker in SERVICES:
        if item.get_closest_marker(marker) and (reason := _why_missing(marker)):
            if os.environ.get("RUNTIMEIMG_REQUIRE_SERVICES"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
    if item.get_closest_marker("reference") and not REFERENCE.is_dir():
        pytest.skip("the folder of published schemas is not here; RUNTIMEIMG_REFERENCE names it")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """Low-level client of the Docker Engine; for tests marked `engine`."""
    client = docker.APIClient(timeout=120, **kwargs_from_env())
    yield client
    client.close()


@pytest.fixture(scope="session")
def registry() -> str:
    """Host and port of a registry that takes pushes and deletes; for tests marked `registry`."""
    return REGISTRY


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the published JSON Schemas and CRDs; for tests marked `reference`."""
    return REFERENCE


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of the samples, with their base and builder images on the Engine; for tests marked `engine`."""
    built = subprocess.run([SAMPLES / "build-images"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return SAMPLES


def _left_behind(client: docker.APIClient) -> set[str]:
    images = client.images(filters={"dangling": True})
    containers = client.containers(all=True)
    return {f"dangling image {image['Id']}" for image in images} | {
        f"container {container['Id']} of {container['Image']}" for container in containers
    }


@pytest.fixture
def leaves_nothing(engine: docker.APIClient) -> Iterator[None]:
    """Fail a test that leaves a container or a dangling image on the Engine."""
    before = _left_behind(engine)
    yield
    left = sorted(_left_behind(engine) - before)
    assert not left, f"left on the Engine: {left}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real Chromium, for tests that are marked so."""
    with browsing(tmp_path_factory.mktemp("chromium")) as made:
        yield made
