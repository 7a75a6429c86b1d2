"""Settled by asking the real builders: names of owners at a copy, failed copies, and names that are patterns."""

import json
import os
import subprocess
import sys

import pytest

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_destination

from . import engines
from .images import file, folder, plan, tar, write_layout

PREFIX = "runtimeimg-like-docker"
BUILDERS = ["docker", "buildkit", pytest.param("buildah", marks=pytest.mark.buildah)]

pytestmark = [pytest.mark.engine, pytest.mark.skopeo]


@pytest.fixture
def images(engine, tmp_path):
    """Put the layers of images by name into a layout and into the Engine; return the layout."""

    def write(**made):
        layout = tmp_path / "layout"
        write_layout(layout, {name: ([tar(items)], {"Cmd": ["x"], **config}) for name, (items, config) in made.items()})
        for name in made:
            engines.import_layout(layout, name, f"{PREFIX}-{name}:1")
        return layout

    yield write
    engines.remove(engine, PREFIX)


@pytest.mark.parametrize("peer", BUILDERS)
def test_names_are_those_that_stand_at_the_copy(peer, engine, images, tmp_path):
    base = [folder("etc"), file("etc/passwd", b"root:x:0:0::/:\napp:x:7:8::/:\n"), file("etc/group", b"root:x:0:\n")]
    layout = images(
        base=(base, {"User": "app"}),
        builder=([file("x"), file("passwd", b"root:x:0:0::/:\napp:x:21:22::/:\n")], {}),
    )
    copies = [("/x", "/d/1", "app:0"), ("/passwd", "/etc/passwd", "0:0"), ("/x", "/d/2", "app:0")]
    made = plan(copies, base=f"oci:{layout}:base", builder=f"oci:{layout}:builder", work_dir="/w")
    with NativeBuilder().build(BuildRequest(plan=made, stores=StoreOptions(), workspace=tmp_path)) as built:
        open_destination(Location.parse(f"docker-daemon:{PREFIX}-native:1"), StoreOptions()).write(built)
    names = {name: f"{PREFIX}-{name}:1" for name in ("base", "builder")}
    if peer == "buildah":
        names = {name: f"localhost/{image}" for name, image in names.items()}
    text = f"FROM {names['base']}\n{engines.copy_lines(copies, names['builder'])}WORKDIR /w\n"
    if peer == "buildah":
        engines.build_by_buildah(text, f"{PREFIX}-peer:1", layout, names, tmp_path)
    else:
        engines.build(text, f"{PREFIX}-peer:1", buildkit=peer == "buildkit")
    ours, theirs = (
        {path: (found.uid, found.gid) for path, found in engines.tree(engine, f"{PREFIX}-{name}:1").items()}
        for name in ("native", "peer")
    )
    paths = ["d/1", "d/2", "etc/passwd"] + (["w"] if peer != "docker" else [])  # classic gives folders to root
    assert {path: ours[path] for path in paths} == {path: theirs[path] for path in paths}
    assert (ours["d/1"], ours["d/2"], ours["w"]) == ((7, 0), (21, 0), (21, 22))


SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {{image: {prefix}-builder:1}}
  output: {{image: {prefix}-out:1}}
  runtime:
    base: {{image: {prefix}-base:1}}
    directories:
    - {source}
    - /x:/y
"""


def failed(source, builder, tmp_path):
    spec = tmp_path / "build.yaml"
    spec.write_text(SPEC.format(prefix=PREFIX, source=json.dumps(source)))
    command = [sys.executable, "-m", "runtimeimg", "build", spec, "--builder", builder, "-o", f"oci:{tmp_path}/out"]
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    return done.returncode, done.stderr


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_copy_that_fails_leads_to_its_place_in_the_spec(builder, engine, images, tmp_path):
    images(base=([folder("etc"), file("etc/file")], {}), builder=([folder("s"), file("s/y"), file("x")], {}))
    code, said = failed("/s:/etc/file", builder, tmp_path)
    assert code == 1
    assert "build.yaml:9:7: spec.runtime.directories[0]" in said
    assert "step: COPY --from=builder" in said


@pytest.mark.buildah
@pytest.mark.parametrize(
    ("source", "named"),
    [("/s/a\\[b\\]c:/o/", "/s/a[b]c"), ("/s/a*:/o/", "a[b]c"), ("/s/\\*:/o/", "/s/*"), ("/*/x:/o/", "[t]")],
)
def test_buildah_is_not_asked_for_what_it_would_take_for_another_file(source, named, engine, images, tmp_path):
    items = [folder("s"), file("s/a[b]c"), file("s/abc"), file("s/*"), folder("[t]"), file("[t]/x"), file("x")]
    images(base=([], {}), builder=(items, {}))
    code, said = failed(source, "buildah", tmp_path)
    assert code == 2
    assert "build.yaml:9:7: spec.runtime.directories[0]" in said
    assert named in said
    assert "has a character of patterns in its name" in said
