"""Flags of processors: the kernel's names, those of Node Feature Discovery, and the levels that they make up.

Sources: x86-64 psABI, "Micro-Architecture Levels"; Arm Architecture Reference Manual, the features that each version
makes mandatory and Linux shows (Documentation/arch/arm64/elf_hwcaps); klauspost/cpuid, whose names NFD uses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from runtimeimg.oci import Platform

_LEVELS: Mapping[str, frozenset[str]] = {
    "v2": frozenset("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split()),  # noqa: SIM905 - one line each
    "v3": frozenset("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave".split()),  # noqa: SIM905
    "v4": frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split()),  # noqa: SIM905
}
_ARM: Mapping[str, frozenset[str]] = {
    "v8.1": frozenset({"atomics", "asimdrdm", "crc32"}),
    "v8.2": frozenset({"dcpop"}),
    "v8.3": frozenset({"fcma", "jscvt", "lrcpc", "paca", "pacg"}),
    "v8.4": frozenset({"asimddp", "flagm", "ilrcpc", "uscat"}),
    "v8.5": frozenset({"flagm2", "frint", "sb"}),
    "v9": frozenset({"sve2"}),
}
_NFD = {
    "abm": "LZCNT",
    "aes": "AESNI",
    "fma": "FMA3",
    "ht": "HTT",
    "lahf_lm": "LAHF",
    "pclmulqdq": "CLMUL",
    "pni": "SSE3",
    "sha_ni": "SHA",
    "sse4_1": "SSE4",
    "sse4_2": "SSE42",
}
"""Names that are more than the kernel's in capitals, without `_`."""
_KERNEL = {nfd: kernel for kernel, nfd in _NFD.items()}
_UNDERSCORED = {
    "AMXBF16": "amx_bf16",
    "AMXFP16": "amx_fp16",
    "AMXINT8": "amx_int8",
    "AMXTILE": "amx_tile",
    "AVX512BF16": "avx512_bf16",
    "AVX512BITALG": "avx512_bitalg",
    "AVX512FP16": "avx512_fp16",
    "AVX512VBMI2": "avx512_vbmi2",
    "AVX512VNNI": "avx512_vnni",
    "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "AVXVNNI": "avx_vnni",
}
_OF_LABELS = {
    "v2": frozenset({"avx"}),
    "v3": frozenset({"avx2", "fma", "movbe"}),
    "v4": _LEVELS["v4"],
}
"""NFD leaves the flags of the lower levels out of its labels, as nearly all machines have them."""


def kernel_name(nfd: str) -> str:
    """Return the kernel's name of a flag that NFD names."""
    return _KERNEL.get(nfd) or _UNDERSCORED.get(nfd) or nfd.lower()


def nfd_name(kernel: str) -> str:
    """Return NFD's name of a flag that the kernel names (/proc/cpuinfo)."""
    return _NFD.get(kernel) or kernel.replace("_", "").upper()


def level(flags: Iterable[str], architecture: str, *, labels: bool = False) -> str:
    """Return the variant of a platform that a processor with these flags (the kernel's names) is.

    Empty where there are no flags or the architecture has no levels. With `labels` the flags are those that NFD makes
    labels of.
    """
    there = frozenset(flags)
    if not there:
        return ""
    if architecture == "amd64":
        return _reached(there, _OF_LABELS if labels else _LEVELS, "v1")
    return _reached(there, _ARM, "v8") if architecture == "arm64" else ""


def with_level(platform: Platform, level: str) -> Platform:
    """Return `platform` with a level that `level` returned as its variant; the lowest levels are no variant."""
    plain = not level or (platform.architecture, level) in {("amd64", "v1"), ("arm64", "v8")}
    return platform if plain else replace(platform, variant=level)


def _reached(there: Collection[str], levels: Mapping[str, frozenset[str]], lowest: str) -> str:
    reached = lowest
    for name, flags in levels.items():
        if not flags <= set(there):
            break
        reached = name
    return reached
