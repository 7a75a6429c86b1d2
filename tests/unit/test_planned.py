"""Plans that are kept: the same plan as without, none of another spec, and what is not ours is passed over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.cache import Cache
from runtimeimg.errors import SpecError
from runtimeimg.plan import Facts, resolve
from runtimeimg.planned import decode, encode, planned
from runtimeimg.spec import load_spec_text

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*/build.yaml"))
CASES = sorted((Path(__file__).parents[1] / "cases").rglob("*.yaml"))
SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: builder}
  output: {image: "host.example/out@sha256:%s"}
  runtime:
    base: {image: base}
    env: {A: "x$B${C:-d}"}
    directories: [/x:/y]
""" % ("a" * 64)


@pytest.fixture
def cache(tmp_path):
    found = Cache.open(tmp_path / "cache")
    assert found is not None
    return found


def plans():
    for path in (*SAMPLES, *CASES):
        try:
            yield path, resolve(load_spec_text(path.read_bytes(), str(path)).spec)
        except Exception:  # noqa: BLE001 - what is refused has no plan
            continue


def test_plans_come_back_as_they_were():
    found = dict(plans())
    assert len(found) > 20
    for path, plan in found.items():
        assert decode(encode(plan)) == plan, path


def test_a_kept_plan_is_that_of_the_spec_and_of_what_was_added(cache):
    data = SPEC.replace("@sha256:" + "a" * 64, "").encode()
    facts = [Facts(), Facts(env={"A": "1"}), Facts(labels={"A": "1"}), Facts(supervise=False), Facts(version="1")]
    made = [planned(data, "f", one, cache).plan for one in facts]
    assert len({encode(plan) for plan in made}) == len(facts)
    assert [planned(data, "f", one, cache).plan for one in facts] == made
    assert planned(data + b"\n", "f", Facts(), cache).plan == made[0]
    assert planned(data.replace(b"/x:/y", b"/x:/z"), "f", Facts(), cache).plan != made[0]
    assert planned(data, "f", Facts(), cache).place("spec.runtime.directories[0]").startswith("f:9:19: ")


def test_what_is_wrong_is_told_each_time(cache):
    for _ in range(2):
        with pytest.raises(SpecError):
            planned(b"kind: Build\n", "f", Facts(), cache)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("", "Digest", "BuildPlan", "Copy", "x")), inner),
)


@given(JSON)
def test_what_is_no_plan_is_none(value):
    assert decode(json.dumps(value).encode()) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[" * 100_000, b'{"Digest": "sha256:x"}', b'{"BuildPlan": {}}'])
def test_damaged_files_are_none(data):
    assert decode(data) is None


def test_a_second_reading_loads_no_models(tmp_path):
    (tmp_path / "build.yaml").write_text(SPEC.replace("@sha256:" + "a" * 64, ""))
    code = "import sys; from runtimeimg.cli.main import cli; cli.main(['render'], standalone_mode=False); "
    code += "print(sorted(name for name in sys.modules if name in ('pydantic', 'yaml')), file=sys.stderr)"
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = [
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, check=True)
        for _ in range(2)
    ]
    assert done[0].stdout == done[1].stdout != b""
    assert [item.stderr for item in done] == [b"['pydantic', 'yaml']\n", b"[]\n"]
