"""The cache never changes the result: a warm build has the digest of a cold one, whatever was built or thrown out."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.cache import KINDS, Cache
from runtimeimg.compose import grouping
from runtimeimg.image import Origin, compress
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions

from .images import MemoryLayer, file, folder, hardlink, image, plan, symlink, tar

PASSWD = b"app:x:7:8::/:\n"
_LAYERS = [
    [folder("s"), file("s/a"), hardlink("s/b", "s/a"), symlink("s/l", "x/y"), folder("s/x"), file("s/x/y")],
    [folder("s"), file("s/c"), file("s/.wh.b"), symlink("t", "s/x"), file("passwd", b"app:x:9:9::/:\n")],
]
_BASES = [
    [folder("etc"), file("etc/passwd", PASSWD), folder("usr"), symlink("lib", "usr/lib")],
    [folder("etc"), file("etc/passwd", PASSWD), folder("d", 0o700, 3, 4)],
]
COPIES = [
    ("/s", "/d"),
    ("/s/a", "/lib/"),
    ("/s/l", "/d/l"),
    ("/t/", "/e/"),
    ("/t/y", "/y", "app"),
    ("/passwd", "/etc/passwd"),
    ("/s/*", "/f/", "app:app"),
]

OPTIONS = ({}, {"layers": "copy"}, {"layers": "one"}, {"link": "true"}, {"compression": "zstd"})


def layer(items):
    made = MemoryLayer(tar(items))
    made.origin = Origin(store="registry", place="registry.example/x")
    return made


def known():
    """Return images by name; the second name of each is that of the very same layers."""
    builder, base = [layer(items) for items in _LAYERS], [[layer(items)] for items in _BASES]
    images = {name: image(name, *builder) for name in ("builder", "same")}
    images["other"] = image("other", builder[0])
    for number, layers in enumerate(base):
        for name in (f"base{number}", f"again{number}"):
            images[name] = image(name, *layers, User="app" if number else "")
    return images


@st.composite
def builds(draw):
    source = draw(st.sampled_from(("builder", "same", "other")))
    copies = draw(st.lists(st.sampled_from(COPIES), max_size=3))
    made = plan(
        copies,
        base=draw(st.sampled_from(("base0", "again0", "base1", "again1"))),
        builder=source,
        work_dir=draw(st.sampled_from((None, "/w/x", "/usr"))),
    )
    if draw(st.booleans()) and copies:
        other = replace(made.copies[0], image=Location.parse("same"))
        made = replace(made, copies=(other, *made.copies[1:]))
    options = draw(
        st.sampled_from(({}, {"layers": "copy"}, {"layers": "one"}, {"link": "true"}, {"compression": "zstd"}))
    )
    return made, options, draw(st.sampled_from((None, 1000)))


def outcome(made, options, epoch, cache_dir):
    """Return the digest of what a build makes, or what it fails with."""
    request = BuildRequest(
        plan=made, stores=StoreOptions(), workspace=None, cache_dir=cache_dir, options=options, epoch=epoch
    )
    try:
        with NativeBuilder().build(request) as built:
            for item in built.layers:
                with item.open() as blob:
                    while blob.read(1 << 20):
                        pass
            return built.to_manifest().digest
    except Exception as error:  # noqa: BLE001 - compared
        return f"{type(error).__name__}: {error}"


LOSSES = st.tuples(st.sampled_from(("nothing", "all", "half", "one", "kind")), st.integers(0, 1000))


def lose(cache, how, number):
    """Throw out what the cache may lose at any moment."""
    if how == "all":
        cache.prune()
    elif how == "half":
        cache.prune(cache.info().size // 2)
    files = sorted(path for kind in KINDS for path in (cache.root / "v1" / kind).glob("??/*"))
    if how == "one" and files:
        files[number % len(files)].unlink()
    elif how == "kind":
        kind = KINDS[number % len(KINDS)]
        for path in files:
            if path.parts[-3] == kind:
                path.unlink()


@settings(
    max_examples=max(300, settings.default.max_examples // 10),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    several=st.lists(st.tuples(builds(), LOSSES, LOSSES), min_size=2, max_size=4),
    workers=st.permutations((1, 2, 8)),
    least=st.sampled_from((0, 600, grouping.LEAST)),
)
def test_cold_warm_and_pruned_builds_have_one_digest(monkeypatch, tmp_path_factory, several, workers, least):
    """With any number of threads, and with layers that are joined and that are not."""
    images = known()
    monkeypatch.setattr(grouping, "LEAST", least)
    monkeypatch.setattr("runtimeimg.builders.native.open_one", lambda location, *_: images[str(location)])
    cache = Cache(tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(compress, "_WORKERS", workers[0])
    cold = [outcome(*one, None) for one, _, _ in several]
    for turn in (1, 2):
        monkeypatch.setattr(compress, "_WORKERS", workers[turn])
        for number, item in enumerate(several):
            assert outcome(*item[0], cache.root) == cold[number]
            lose(cache, *item[turn])
