"""What the builder image requires of NVIDIA's driver, held against what the image says and was given."""

from __future__ import annotations

import posixpath
import re

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings
from runtimeimg.compose.view import File, View
from runtimeimg.findings import Severity

_REQUIRE = re.compile(r"NVIDIA_REQUIRE_[A-Z0-9_]+\Z")
_LIBRARIES = re.compile(
    rb"lib(?:cuda|cudart|cublas|cublasLt|cudnn|cufft|curand|cusolver|cusparse|nccl|nvinfer|nvidia-ml|nvjpeg|nvrtc)\.so"
)
"""The driver, and libraries that ask for it. A program that has them inside names libcuda.so, which they load."""
_ELF = b"\x7fELF"
_PIECE, _OVERLAP = 4 << 20, 32


def requirements(facts: Facts) -> Findings:
    """Yield requirements of the builder image that the image does not have; information where nothing needs them."""
    if facts.origin is None:
        return
    severity: Severity | None = None
    for name, value in facts.origin.config.env.items():
        if not _REQUIRE.match(name) or not value or facts.env.get(name) == value:
            continue
        if severity is None:
            severity = rules.REQUIREMENT_LOST.severity if _needs_the_driver(facts) else Severity.INFO
        has = f"'{facts.env[name]}'" if name in facts.env else "nothing"
        yield facts.found(
            rules.REQUIREMENT_LOST,
            name,
            f"the builder image says {name}={value}, the image says {has}",
            f"add to spec.runtime.env: {name}: '{value}'",
            severity=severity,
        )


def _needs_the_driver(facts: Facts) -> bool:
    """Say whether a program or library that is none of the base's is, or names, a library of CUDA or the driver."""
    view = facts.view
    new = [file for file in view.walk() if file.is_file and file.size >= len(_ELF) and facts.is_new(file)]
    if any(_LIBRARIES.match(posixpath.basename(file.path).encode()) for file in new):
        return True  # the libraries themselves are there, and may be gigabytes
    objects = sorted((file for file in new if file.mode & 0o111 or ".so" in file.path), key=lambda file: file.size)
    view.fetch(objects)
    return any(_names(view, file) for file in objects)


def _names(view: View, file: File) -> bool:
    part = view.part(file)
    return part(0, len(_ELF)) == _ELF and any(
        _LIBRARIES.search(part(offset, _PIECE + _OVERLAP)) for offset in range(0, file.size, _PIECE)
    )
