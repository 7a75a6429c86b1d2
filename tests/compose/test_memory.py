"""Memory for many files: what a build of 200,000 of them takes at its highest."""

import pytest

from runtimeimg.image.layertar import Entry
from runtimeimg.image.tarwrite import END, header, padding
from tests.hostile import blobs, bounded
from tests.hostile.test_layer_attacks import SPEC

from .images import folder, tar, write_layout

FILES = 200_000
LIMIT = 130
"""MiB."""


def many_files():
    """Yield a layer of a hundred files a folder, each folder with a time of its own, as package managers leave them."""
    for number in range(FILES // 100):
        yield header(Entry(b"app/module%d" % number, "d", 0o755, 0, 0, 0, 1_700_000_000))
        for at in range(100):
            text = b"%09d\n" % (number * 100 + at)
            path = b"app/module%d/a-file-of-a-package-%d.js" % (number, at)
            yield header(Entry(path, "f", 0o644, 0, 0, len(text), 1_700_000_000 + number)) + text + padding(len(text))
    yield END


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("many")
    builder = blobs.gzip_blob(many_files())
    write_layout(place / "layout", {"builder": ([builder], {}), "base": ([tar([folder("usr")])], {})})
    return place


@pytest.mark.parametrize(
    ("source", "more"),
    [("/app", []), ("/app", ["-o", "oci:again"]), ("/app/module7", ["-o", "oci:one"]), ("/app", ["--no-cache"])],
)
def test_memory_of_many_files(place, source, more):
    """All of them cold, all of them with a warm cache, a few of them, all of them without a cache."""
    (place / "build.yaml").write_text(SPEC.replace("SOURCE", f"{source}:/app"))
    arguments = more if "-o" in more else ["-o", "oci:out", *more]
    environ = {"XDG_CACHE_HOME": str(place / "cache")}
    outcome = bounded.cli("build", "--builder", "native", *arguments, "build.yaml", env=environ, cwd=place)
    assert outcome.code == 0, outcome.said
    assert outcome.memory < LIMIT
