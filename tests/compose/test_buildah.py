"""The buildah builder, with images of a registry: what buildah itself would take otherwise."""

import re

import pytest

from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import BuildFailed
from runtimeimg.stores import StoreOptions
from tests.stores.made import write

from .images import file, folder, image, plan, symlink

pytestmark = [pytest.mark.registry, pytest.mark.buildah]

BASE = image("base", [folder("bin"), file("bin/app", b"#!"), symlink("link", "bin/app"), symlink("to", "bin")])


@pytest.fixture(scope="module")
def request_of(registry, tmp_path_factory):
    name = f"docker://{registry}/runtimeimg-test/buildah"
    write(f"{name}:base", BASE)
    write(f"{name}:builder", image("builder", [file("x", b"new")]))
    cache = tmp_path_factory.mktemp("cache")

    def make(work_dir):
        return BuildRequest(
            plan=plan([("/x", "/y")], base=f"{name}:base", builder=f"{name}:builder", work_dir=work_dir),
            stores=StoreOptions(),
            workspace=cache,
            cache_dir=cache,
            place=lambda path: f"build.yaml:7:3: {path}",
        )

    return make


@pytest.mark.parametrize("path", ["/bin/app", "/link", "/y", "/to/app"])
def test_a_file_is_no_folder_to_work_in(request_of, path):
    wanted = f"build.yaml:7:3: spec.runtime.workDir: '{path}' is a file, no folder to work in"
    with pytest.raises(BuildFailed, match=re.escape(wanted)):
        load_builder("buildah").build(request_of(path)).__enter__()


@pytest.mark.parametrize("path", ["/bin", "/to", "/new", None])
def test_a_folder_is_one(request_of, path):
    with load_builder("buildah").build(request_of(path)) as built:
        assert (built.config.config.get("WorkingDir") or None) == path
