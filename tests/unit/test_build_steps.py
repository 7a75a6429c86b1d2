"""The place of the spec that a failed build by a command line is led back to."""

from types import SimpleNamespace

import pytest

from runtimeimg.builders.steps import Steps
from runtimeimg.plan import resolve
from runtimeimg.spec import load_spec_text

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: web-build}
  output: {image: web}
  runtime:
    base: {image: debian:12}
    env: {A: "1", B: "2"}
    run: [make, "make more"]
    directories: [/x, /y z, {source: /z, destination: /z, image: other}]
    workDir: /w
"""


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        (" > [stage-2 4/7] COPY --from=builder [/x, /x]:", "spec.runtime.directories[0]"),
        (' > [stage-2 3/7] RUN ["/bin/sh", "-c", "make more"]:', "spec.runtime.run[1]"),
        (" > [stage-2 7/7] WORKDIR /w:", "spec.runtime.workDir"),
        (" > [builder 1/1] FROM docker.io/library/web-build:", "spec.builder.image"),
        (" > [source1 1/1] FROM docker.io/library/other:", "spec.runtime.directories[2]"),
        ('[3/3] STEP 6/9: COPY --from=builder ["/x", "/x"]', "spec.runtime.directories[0]"),
        ("[1/3] STEP 1/1: FROM web-build AS builder", "spec.builder.image"),
        (" > [stage-2 2/7] COPY --from=builder [/x, /x]:", None),  # that is a RUN
        (" > [stage-2 99/7] COPY x:", None),
        (" > [source99999 1/1] FROM x:", None),
        ("[9/3] STEP 6/9: COPY x", None),
        ("#5 [stage-2 4/7] COPY x", None),
    ],
)
def test_lines_of_builders_lead_to_the_spec(line, origin):
    loaded = load_spec_text(SPEC.encode())
    steps = Steps(SimpleNamespace(plan=resolve(loaded.spec), place=lambda path: path))
    steps.take("[1/3] unrelated")
    steps.take(line)
    assert steps.origin == origin
