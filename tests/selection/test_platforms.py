"""Which entry each engine takes on which host: the lists are written out, and every pair of each is tried."""

from itertools import combinations

import pytest

from runtimeimg.oci import Descriptor, Digest, Index, Platform
from runtimeimg.oci.mediatypes import OCI_MANIFEST
from runtimeimg.selection.candidates import candidates
from runtimeimg.selection.choice import choose
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.platforms import Engine, PlatformOrder

# host: what containerd and Docker take, the best first
CONTAINERD = {
    "linux/amd64": ["amd64", "386"],
    "linux/amd64/v1": ["amd64/v1", "386"],
    "linux/amd64/v2": ["amd64/v2", "amd64", "386"],
    "linux/amd64/v3": ["amd64/v3", "amd64/v2", "amd64", "386"],
    "linux/amd64/v4": ["amd64/v4", "amd64/v3", "amd64/v2", "amd64/v1", "386"],
    "linux/386": ["386"],
    "linux/arm": ["arm/v7", "arm/v6", "arm/v5"],
    "linux/arm/v4": ["arm/v4"],
    "linux/arm/v5": ["arm/v5"],
    "linux/arm/v6": ["arm/v6", "arm/v5"],
    "linux/arm/v7": ["arm", "arm/v6", "arm/v5"],
    "linux/arm/v8": ["arm/v8", "arm/v7", "arm/v6", "arm/v5"],
    "linux/arm64": ["arm64", "arm/v8", "arm/v7", "arm/v6", "arm/v5"],
    "linux/arm64/v8": ["arm64/v8", "arm/v8", "arm/v7", "arm/v6", "arm/v5"],
    "linux/arm64/v8.2": ["arm64/v8.2", "arm64/v8.1", "arm64", "arm/v8", "arm/v7", "arm/v6", "arm/v5"],
    "linux/arm64/v9": [
        *("arm64/v9", "arm64/v8.5", "arm64/v8.4", "arm64/v8.3", "arm64/v8.2", "arm64/v8.1", "arm64/v8"),
        *("arm/v8", "arm/v7", "arm/v6", "arm/v5"),
    ],
    "linux/arm64/v9.2": [
        *("arm64/v9.2", "arm64/v9.1", "arm64/v9.0", "arm64/v8.7", "arm64/v8.6", "arm64/v8.5", "arm64/v8.4"),
        *("arm64/v8.3", "arm64/v8.2", "arm64/v8.1", "arm64/v8.0", "arm/v8", "arm/v7", "arm/v6", "arm/v5"),
    ],
    "linux/arm64/v9.6": [
        *("arm64/v9.6", "arm64/v9.5", "arm64/v9.4", "arm64/v9.3", "arm64/v9.2", "arm64/v9.1", "arm64/v9"),
        *("arm64/v8.9", "arm64/v8.8", "arm64/v8.7", "arm64/v8.6", "arm64/v8.5", "arm64/v8.4", "arm64/v8.3"),
        *("arm64/v8.2", "arm64/v8.1", "arm64", "arm/v8", "arm/v7", "arm/v6", "arm/v5"),
    ],
    "linux/arm64/v8.10": [],
    "linux/arm64/v10": [],
    "linux/riscv64": ["riscv64"],
    "linux/ppc64le": ["ppc64le"],
    "linux/amd64/odd": ["amd64/odd", "386"],
}
# host: what podman, skopeo and buildah take, the best first
PODMAN = {
    "linux/amd64": ["amd64"],
    "linux/amd64/v1": ["amd64/v1", "amd64"],
    "linux/amd64/v3": ["amd64/v3", "amd64"],
    "linux/386": ["386"],
    "linux/arm": ["arm", "arm/v8", "arm/v7", "arm/v6", "arm/v5"],
    "linux/arm/v5": ["arm/v5", "arm"],
    "linux/arm/v6": ["arm/v6", "arm/v5", "arm"],
    "linux/arm/v7": ["arm/v7", "arm/v6", "arm/v5", "arm"],
    "linux/arm/v8": ["arm/v8", "arm/v7", "arm/v6", "arm/v5", "arm"],
    "linux/arm64": ["arm64", "arm64/v8"],
    "linux/arm64/v8": ["arm64/v8", "arm64"],
    "linux/arm64/v8.2": ["arm64/v8.2", "arm64"],
    "linux/arm64/v9": ["arm64/v9", "arm64"],
}
# all that indexes name; what is not in a host's list must not be taken there
EVERYTHING = [
    *("amd64", "amd64/v1", "amd64/v2", "amd64/v3", "amd64/v4", "386", "arm", "arm/v4", "arm/v5", "arm/v6", "arm/v7"),
    *("arm/v8", "arm64", "arm64/v8", "arm64/v8.1", "arm64/v8.2", "arm64/v8.9", "arm64/v8.10", "arm64/v9", "arm64/v9.2"),
    *("arm64/v10", "riscv64", "ppc64le", "s390x"),
]
SAME = {"amd64/v1": "amd64", "arm/v7": "arm", "arm64/v8": "arm64", "arm64/v8.0": "arm64", "arm64/v9.0": "arm64/v9"}


def raw(text: str) -> dict[str, object]:
    """A platform of an index, as it is spelt: not through `Platform.parse`."""
    architecture, _, variant = text.partition("/")
    return {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}


def index(*platforms: object) -> Index:
    entries = [
        Descriptor.from_json(
            {
                "mediaType": OCI_MANIFEST,
                "digest": Digest.of(str(number).encode()),
                "size": 7,
                **({"platform": raw(item) if isinstance(item, str) else item} if item is not None else {}),
            }
        )
        for number, item in enumerate(platforms)
    ]
    return Index.of(entries)


def chosen(engine: Engine, host: str, *platforms: object, own: bool = False) -> int | None:
    order = PlatformOrder(Platform.parse(host), engine, own=own)
    found = choose(candidates(index(*platforms)), Criteria(platforms=order)).chosen
    return None if found is None else found.candidate.position


def lists() -> list[tuple[Engine, str, list[str]]]:
    both = [
        (engine, host, wanted) for engine in (Engine.CONTAINERD, Engine.DOCKER) for host, wanted in CONTAINERD.items()
    ]
    return both + [(Engine.PODMAN, host, wanted) for host, wanted in PODMAN.items()]


def pairs() -> list[tuple[Engine, str, str, str]]:
    return [
        (engine, host, better, worse) for engine, host, wanted in lists() for better, worse in combinations(wanted, 2)
    ]


def test_there_are_enough_cases() -> None:
    assert len(pairs()) >= 200


@pytest.mark.parametrize("engine", list(Engine))
def test_the_better_of_two_is_taken_whichever_comes_first(engine: Engine) -> None:
    tried = [case for case in pairs() if case[0] is engine]
    assert tried
    for _, host, better, worse in tried:
        assert chosen(engine, host, better, worse) == 0, (host, better, worse)
        assert chosen(engine, host, worse, better) == 1, (host, better, worse)


@pytest.mark.parametrize(("engine", "host", "wanted"), lists())
def test_nothing_else_is_taken(engine: Engine, host: str, wanted: list[str]) -> None:
    def spelt(text: str) -> str:
        return text if engine is Engine.PODMAN else SAME.get(text, text)

    taken = {spelt(text) for text in wanted}
    for text in EVERYTHING:
        assert chosen(engine, host, text) == (0 if spelt(text) in taken else None), text


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("host", ["linux/amd64", "linux/amd64/v3", "linux/arm64/v8", "linux/arm/v7", "linux/riscv64"])
def test_an_entry_without_a_platform_is_the_last_resort(engine: Engine, host: str) -> None:
    mine = host.removeprefix("linux/")
    assert chosen(engine, host, None, mine) == 1
    assert chosen(engine, host, "s390x", None) == 1
    assert chosen(engine, host, None, None) == 0
    assert chosen(engine, host, {}, mine) == 1


@pytest.mark.parametrize(
    ("there", "host", "fits"),
    [
        ({"os": "Linux", "architecture": "AMD64"}, "linux/amd64", True),
        ({"os": "linux", "architecture": "x86_64"}, "linux/amd64", True),
        ({"os": "linux", "architecture": "x86-64", "variant": "v1"}, "linux/amd64", True),
        ({"os": "linux", "architecture": "aarch64"}, "linux/arm64", True),
        ({"os": "linux", "architecture": "arm64", "variant": "8"}, "linux/arm64/v8.0", True),
        ({"os": "linux", "architecture": "arm64", "variant": "9.0"}, "linux/arm64/v9", True),
        ({"os": "linux", "architecture": "armhf"}, "linux/arm/v7", True),
        ({"os": "linux", "architecture": "armel"}, "linux/arm/v6", True),
        ({"os": "linux", "architecture": "arm", "variant": "6"}, "linux/arm/v6", True),
        ({"os": "linux", "architecture": "i386", "variant": "v9"}, "linux/386", True),
        ({"os": "macos", "architecture": "arm64"}, "darwin/arm64", True),
        ({"architecture": "amd64"}, "linux/amd64", True),
        ({"architecture": "amd64"}, "windows/amd64", True),
        ({"architecture": "arm64"}, "linux/amd64", False),
        ({"os": "linux", "architecture": "amd64", "features": ["sse4"]}, "linux/amd64", True),
        ({"os": "linux", "architecture": "amd64", "com.example.more": {"a": 1}}, "linux/amd64", True),
        ({"os": "linux", "architecture": "amd64", "os.version": "9.9"}, "linux/amd64", True),
        ({"os": "freebsd", "architecture": "amd64"}, "linux/amd64", False),
        ({"os": "unknown", "architecture": "unknown"}, "linux/amd64", False),
    ],
)
def test_spellings_and_unknown_fields(there: dict[str, object], host: str, fits: bool) -> None:
    for engine in (Engine.CONTAINERD, Engine.DOCKER):
        assert chosen(engine, host, there) == (0 if fits else None)


@pytest.mark.parametrize(
    ("there", "host"),
    [
        ({"os": "linux", "architecture": "x86_64"}, "linux/amd64"),
        ({"os": "linux", "architecture": "arm", "variant": "6"}, "linux/arm/v6"),
        ({"os": "Linux", "architecture": "amd64"}, "linux/amd64"),
    ],
)
def test_podman_takes_entries_as_they_are_spelt(there: dict[str, object], host: str) -> None:
    assert chosen(Engine.PODMAN, host, there) is None


FEATURES = [
    # entries' features, the host, which is taken
    ([["erofs"], []], "linux/amd64", 1),
    ([["erofs"], []], "linux(+erofs)/amd64", 0),
    ([[], ["erofs"]], "linux(+erofs)/amd64", 1),
    ([[], ["erofs"], ["erofs", "x"]], "linux(+erofs+x)/amd64", 2),
    ([[], ["y", "erofs"], ["erofs"]], "linux(+erofs+x)/amd64", 2),
    ([["erofs"]], "linux(+x)/amd64", None),
    ([["erofs", "erofs"], ["erofs"]], "linux(+erofs)/amd64", 0),
]


@pytest.mark.parametrize(("entries", "host", "taken"), FEATURES)
def test_features_of_the_os(entries: list[list[str]], host: str, taken: int | None) -> None:
    there = [{"os": "linux", "architecture": "amd64", "os.features": item} for item in entries]
    for engine in (Engine.CONTAINERD, Engine.DOCKER):
        assert chosen(engine, host, *there) == taken
    assert chosen(Engine.PODMAN, host, *there) == 0


def test_a_level_counts_more_than_features() -> None:
    plain = {"os": "linux", "architecture": "amd64", "os.features": ["erofs"]}
    assert chosen(Engine.CONTAINERD, "linux(+erofs)/amd64/v3", plain, "amd64/v3") == 1


WINDOWS = [
    # image, host, whether it runs there
    ("10.0.17763.1", "10.0.17763.9", True),
    ("10.0.17763.1", "10.0.19041.1", False),
    ("10.0.19041.1", "10.0.17763.1", False),
    ("10.0.17763", "10.0.20348", False),
    ("10.0.20348.1", "10.0.20348.9", True),
    ("10.0.20348.1", "10.0.22621.1", True),
    ("10.0.22621.1", "10.0.22621.1", True),
    ("10.0.22621.1", "10.0.20348.1", False),
    ("10.0.20348.1", "10.0.26100.1", True),
    ("10.0.22621.1", "10.0.26100.1", True),
    ("10.0.26100.1", "10.0.26100.1", True),
    ("10.0.20348.1", "10.0.26101.1", False),
    ("10.0.26100.1", "10.0.26101.1", True),
    ("10.0.26101.1", "10.0.26100.1", False),
    ("10.1.20348.1", "10.0.20348.1", False),
    ("11.0.20348.1", "10.0.20348.1", False),
    ("", "10.0.20348.1", True),
    ("10.0.17763.1", "", True),
    ("odd", "10.0.20348.1", False),
    ("10.0.20348.1", "odd", True),
]


@pytest.mark.parametrize(("image", "host", "runs"), WINDOWS)
def test_versions_of_windows(image: str, host: str, runs: bool) -> None:
    there = {"os": "windows", "architecture": "amd64", "os.version": image}
    wanted = f"windows({host})/amd64" if host else "windows/amd64"
    assert chosen(Engine.CONTAINERD, wanted, there) == (0 if runs else None)
    assert chosen(Engine.DOCKER, wanted, there) == (0 if runs else None)
    assert chosen(Engine.PODMAN, wanted, there) == 0


def test_win32k_is_no_feature_to_ask_for() -> None:
    there = {"os": "windows", "architecture": "amd64", "os.features": ["win32k"]}
    assert chosen(Engine.CONTAINERD, "windows/amd64", there) == 0
    more = {**there, "os.features": ["win32k", "other"]}
    assert chosen(Engine.CONTAINERD, "windows/amd64", more) is None


@pytest.mark.parametrize(("engine", "taken"), [(Engine.CONTAINERD, 1), (Engine.DOCKER, 0), (Engine.PODMAN, 1)], ids=str)
def test_only_docker_finds_out_the_level_of_its_own_machine(engine: Engine, taken: int) -> None:
    assert chosen(engine, "linux/amd64/v3", "amd64/v3", "amd64", own=True) == taken
    assert chosen(engine, "linux/amd64/v3", "amd64/v3", "amd64") == 0


def test_linux_is_what_darwin_and_freebsd_fall_back_to() -> None:
    mac = {"os": "darwin", "architecture": "arm64"}
    assert chosen(Engine.CONTAINERD, "darwin/arm64", "arm64", mac, own=True) == 1
    assert chosen(Engine.CONTAINERD, "darwin/arm64", "arm64", own=True) == 0
    assert chosen(Engine.CONTAINERD, "freebsd/amd64", "amd64", own=True) == 0
    assert chosen(Engine.CONTAINERD, "darwin/arm64", "arm64") is None
    assert chosen(Engine.PODMAN, "darwin/arm64", "arm64", own=True) is None


def test_podman_takes_zstd_before_what_comes_first() -> None:
    zstd = {"io.github.containers.compression.zstd": "true"}
    entries = [item.to_json() for item in index("amd64", "amd64").manifests]
    entries[1]["annotations"] = zstd
    found = candidates(Index.of([]).evolve(manifests=entries))
    for engine, wanted in ((Engine.PODMAN, 1), (Engine.CONTAINERD, 0), (Engine.DOCKER, 0)):
        order = PlatformOrder(Platform.parse("linux/amd64"), engine)
        chosen = choose(found, Criteria(platforms=order)).chosen
        assert chosen is not None
        assert chosen.candidate.position == wanted
