"""The samples as bundles: runc and crun start them, as root and as a normal user, and they answer."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg.bundle import BundleOptions, rootless, write
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.published import validate

from .images import BUSYBOX
from .starting import NOBODY, Starter, needs_namespaces, place

pytestmark = pytest.mark.mounts
ENGINE = [pytest.mark.engine, pytest.mark.slow]
SERVICES = {
    "hello": (8080, "hello from a runtime image"),
    "nodejs": (3000, "Short links"),
    "petclinic": (8080, "Dogs &amp; Cats"),
    "python": (8000, "visitor number"),
}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[] if name == "hello" else ENGINE) for name in SERVICES]
)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A sample's name, and a folder with its bundle, whose files are nobody's own."""
    needs_namespaces()
    folder = tmp_path_factory.mktemp(request.param)
    image = built(request, folder)
    lent = folder / "lent"
    lent.write_text("nobody:300000:65536\n")
    namespace = rootless.namespace(NOBODY, NOBODY, name="nobody", subuid=lent.read_text(), subgid=lent.read_text())
    with place() as made:
        write(image, made / "root", BundleOptions(network="host"))
        write(image, made / "user", BundleOptions(network="host", rootless=namespace, config_only=True))
        (made / "lent").write_text(lent.read_text())
        yield request.param, made


def built(request: pytest.FixtureRequest, folder: Path) -> Image:
    """Build a sample; hello out of a folder with busybox, the others out of images of the Engine."""
    samples = Path(__file__).parents[2] / "samples"
    more: list[str] = []
    if request.param == "hello":
        (folder / "rootfs" / "bin").mkdir(parents=True)
        (folder / "rootfs" / "bin" / "busybox").write_bytes(BUSYBOX.read_bytes())
        (folder / "rootfs" / "bin" / "busybox").chmod(0o755)
        more = ["--builder-image", f"dir:{folder / 'rootfs'}"]
    else:
        samples = request.getfixturevalue("samples")
    argv = [sys.executable, "-m", "runtimeimg", "build", str(samples / request.param / "build.yaml"), *more]
    subprocess.run([*argv, "-o", f"oci:{folder / 'image'}:1"], check=True, capture_output=True, timeout=300)
    return open_one(Location.parse(f"oci:{folder / 'image'}:1"), None, StoreOptions())


def given_away(rootfs: Path) -> None:
    """Make all files nobody's own, as those of a rootless bundle are."""
    for above, folders, files in os.walk(rootfs):
        for name in (*folders, *files, "."):
            os.lchown(os.path.join(above, name), NOBODY, NOBODY)  # noqa: PTH118 - "." counts too


@pytest.mark.reference
def test_its_config_fits_the_published_schema(sample: tuple[str, Path], reference: Path) -> None:
    for name in ("root", "user"):
        config = json.loads((sample[1] / name / "config.json").read_text())
        validate(reference, "config-schema.json", config, "oci-runtime-spec")


@pytest.mark.runc
@pytest.mark.crun
def test_it_answers(sample: tuple[str, Path]) -> None:
    name, where = sample
    port, expected = SERVICES[name]
    for runtime in ("runc", "crun"):
        with Starter(runtime).serving(where / "root") as fetch:
            assert expected in fetch(port)
    given_away(where / "root")
    (where / "root" / "rootfs").rename(where / "user" / "rootfs")
    os.chown(where / "user", NOBODY, NOBODY)
    os.chown(where / "user" / "config.json", NOBODY, NOBODY)
    for runtime in ("runc", "crun"):
        with Starter(runtime, rootless=True, lent=str(where / "lent")).serving(where / "user") as fetch:
            assert expected in fetch(port)
