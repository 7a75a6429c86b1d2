from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.oci import Digest, ImageConfig
from runtimeimg.oci.mediatypes import DOCKER_CONFIG
from runtimeimg.stores.engine.config import approximate, rebuild, without_noise

LAYERS = ["sha256:" + character * 64 for character in "abc"]
TIME = "2024-01-02T03:04:05.123456789Z"
SECONDS = 1704164645


def nobody(image_id: str) -> Mapping[str, Any] | None:
    return None


def inspected(layers: list[str], **more: Any) -> dict[str, Any]:
    return {
        "Id": "sha256:" + "0" * 64,
        "Created": TIME,
        "Architecture": "amd64",
        "Os": "linux",
        "Config": {
            "Hostname": "",
            "Env": ["A=<&>"],
            "Cmd": None,
            "Image": "sha256:x",
            "Labels": {"a": "b"},
            "Tty": False,
        },
        "RootFS": {"Type": "layers", "Layers": layers},
        **more,
    }


def step(size: int, text: str = "x", image_id: str = "<missing>") -> dict[str, Any]:
    return {"Id": image_id, "Created": SECONDS, "CreatedBy": text, "Comment": "", "Size": size, "Tags": None}


def empties(config: ImageConfig) -> list[bool]:
    return [bool(entry.get("empty_layer")) for entry in config.history]


def test_steps_with_bytes_made_the_layers() -> None:
    config = approximate(inspected(LAYERS[:2]), [step(0), step(5), step(0), step(7)], nobody)
    assert empties(config) == [False, True, False, True]
    assert config.history[0] == {"created": "2024-01-02T03:04:05Z", "created_by": "x"}
    assert config.history[-1]["created"] == TIME


def test_a_history_that_is_in_doubt_is_left_out() -> None:
    config = approximate(inspected(LAYERS[:2]), [step(0), step(0), step(7)], nobody)
    assert config.history == ()
    assert "history" not in config.data
    assert config.diff_ids == tuple(LAYERS[:2])


def test_a_known_parent_takes_the_doubt_away() -> None:
    parent = inspected(LAYERS[:1], Created="2024-01-01T00:00:00.5Z")
    steps = [step(0), step(0), step(0, image_id="parent"), step(7)]
    known = {"parent": parent}
    config = approximate(inspected(LAYERS[:1] + LAYERS[1:3]), steps, known.get)
    assert empties(config) == [False, True, False, False]
    assert config.history[1]["created"] == "2024-01-01T00:00:00.5Z"


def test_more_steps_with_bytes_than_layers() -> None:
    assert approximate(inspected([]), [step(7)], nobody).history == ()


def test_the_rebuilt_config_is_the_one_that_the_id_names() -> None:
    raw = (
        b'{"architecture":"amd64","config":{"Hostname":"","Env":["A=\\u003c\\u0026\\u003e"],"Cmd":null},'
        b'"container_config":{"Hostname":""},"created":"2024-01-02T03:04:05.123456789Z","docker_version":"20.10",'
        b'"history":[{"created":"2024-01-02T03:04:05Z","created_by":"FROM"},'
        b'{"created":"2024-01-02T03:04:05.123456789Z","created_by":"ENV A=\\u003c\\u0026\\u003e","empty_layer":true}],'
        b'"os":"linux","rootfs":{"type":"layers","diff_ids":["' + LAYERS[0].encode() + b'"]}}'
    )
    found = inspected(
        LAYERS[:1],
        Id=Digest.of(raw),
        Config={"Hostname": "", "Env": ["A=<&>"], "Cmd": None},
        ContainerConfig={"Hostname": ""},
        DockerVersion="20.10",
        Container="",
    )
    steps = [step(0, "ENV A=<&>"), step(9, "FROM")]
    config = rebuild(found, steps, nobody)
    assert config is not None
    assert config.raw == raw
    assert rebuild({**found, "Author": "somebody"}, steps, nobody) is None


def test_many_doubtful_steps_end_in_bounded_time() -> None:
    assert rebuild(inspected(LAYERS * 10), [step(0)] * 60, nobody) is None


@given(st.lists(st.sampled_from([0, 5]), max_size=12), st.integers(0, 3), st.integers(-(10**18), 10**18))
def test_any_answer_gives_a_config(sizes: list[int], layers: int, created: int) -> None:
    steps = [{**step(size), "Created": created} for size in sizes]
    config = approximate(inspected(LAYERS[:layers]), steps, nobody)
    assert config.diff_ids == tuple(LAYERS[:layers])
    assert not config.history or empties(config).count(False) == layers


def test_noise_goes_and_all_else_stays() -> None:
    config = ImageConfig.from_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {**inspected([])["Config"], "Labels": {}, "Shell": ["/bin/x"], "Unknown": 1, "Tty": True},
            "container": "x",
            "container_config": {"Hostname": "y"},
            "docker_version": "20",
            "moby.buildkit.cache.v0": "kept",
        },
        DOCKER_CONFIG,
    )
    clean = without_noise(config)
    assert clean.data == {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Tty": True, "Env": ["A=<&>"], "Labels": {}, "Shell": ["/bin/x"], "Unknown": 1},
        "moby.buildkit.cache.v0": "kept",
    }
    assert without_noise(clean).raw == clean.raw
