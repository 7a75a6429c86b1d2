"""Detection of hosts: made-up machines as folders, this machine, detectors of the user's own, and the command."""

import gzip
import json
import os
import platform
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from runtimeimg.detect import devices, programs, runtimes, system
from runtimeimg.detect.machine import detect
from runtimeimg.errors import RuntimeimgError, SpecError, TransientError, UnavailableError, UsageError
from runtimeimg.oci import Platform
from runtimeimg.process import answer
from runtimeimg.selection import hostdocument
from runtimeimg.selection.nfd import processors
from tests.indexes.command import done, run
from tests.indexes.test_lint_command import listed
from tests.selection.test_kubernetes import NODE
from tests.stores.made import image as made_image
from tests.stores.made import write

X86_FLAGS = "fpu cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe xsave avx512_vnni"
MACHINE = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
    f"model name\t: A CPU\nflags\t\t: {X86_FLAGS}\n",
    "proc/meminfo": "MemTotal:       65761724 kB\nMemFree: 1 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/modules": "nvidia 1 0 - Live 0x0\noverlay 2 0 - Live 0x0\n",
    "proc/swaps": "Filename Type\n/dev/sda2 partition\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\n",
    "proc/driver/nvidia/gpus/0000:07:00.0/information": "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ: 18\n",
    "boot/config-6.1.0-18-amd64": "CONFIG_OVERLAY_FS=m\nCONFIG_SECCOMP=y\n# CONFIG_X is not set\n"
    'CONFIG_VERSION="x y"\n',
    "lib/modules/6.1.0-18-amd64/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    "lib/x86_64-linux-gnu/libc.so.6": "\x7fELF ...\nGNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n# a comment\n',
    "sys/devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
    "sys/devices/system/cpu/cpu1/topology/physical_package_id": "0\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/bus/pci/devices/0000:07:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:07:00.0/device": "0x20b0\n",
    "sys/bus/pci/devices/0000:07:00.0/class": "0x030200\n",
    "sys/bus/pci/devices/0000:00:02.0/vendor": "0x1a03\n",
    "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
    "sys/class/net/lo/mtu": "65536\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/class/net/eth0/device/sriov_totalvfs": "8\n",
    "sys/class/net/br0/mtu": "1400\n",
    "sys/block/sda/queue/rotational": "0\n",
}


def made(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "root").mkdir(exist_ok=True)
    return tmp_path / "root"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    host = detect(made(tmp_path, MACHINE), "made", Platform.parse("linux/amd64"), {"PATH": str(tmp_path)})
    assert host.platform == Platform.parse("linux/amd64/v3")
    expected = {
        "cpu.level": "v3", "cpu.vendor": "Intel", "cpu.model": "A CPU", "cpu.count": "2",
        "memory.bytes": str(65761724 * 1024), "kernel.version": "6.1.0-18-amd64", "os.id": "debian", "os.version": "12",
        "libc.name": "glibc", "libc.version": "2.36", "gpu.vendor": "nvidia", "gpu.model": "NVIDIA A100-SXM4-40GB",
        "gpu.driver.version": "550.54.15", "cuda.driver.version": "12.4", "gpu.count": "1",
    }  # fmt: skip
    assert {name: host.fact(name) for name in expected} == {name: (value,) for name, value in expected.items()}
    assert host.fact("cpu.flags") == tuple(sorted(X86_FLAGS.split()))
    assert host.fact("pci.devices") == ("1a03:0300", "10de:20b0:0302")
    assert host.fact("kernel.config") == ("OVERLAY_FS", "SECCOMP")
    assert host.fact("runtime.names") == ()
    features = host.features
    assert {"SSE3", "SSE42", "LZCNT", "FMA3", "AVX512VNNI", "LAHF"} <= features.flags["cpu.cpuid"]
    assert features.flags["kernel.loadedmodule"] == {"nvidia", "overlay"}
    assert features.attributes["kernel.version"] == {
        "full": "6.1.0-18-amd64", "major": "6", "minor": "1", "revision": "0",
    }  # fmt: skip
    assert features.attributes["cpu.topology"] == {"socket_count": "1", "hardware_multithreading": "true"}
    assert features.attributes["memory.swap"] == {"enabled": "true"}
    assert features.attributes["system.osrelease"]["VERSION_ID.major"] == "12"
    assert features.instances["network.device"] == ({"name": "eth0", "mtu": "1500", "sriov_totalvfs": "8"},)
    assert features.instances["network.virtual"] == ({"name": "br0", "mtu": "1400"},)
    assert features.instances["storage.block"] == ({"name": "sda", "rotational": "0"},)
    assert "kernel.config" not in features.attributes


def test_all_of_the_kernel_is_kept_when_asked_for(tmp_path: Path) -> None:
    root = made(tmp_path, MACHINE)
    host = detect(root, "made", Platform.parse("linux/amd64"), {"PATH": ""}, full=True)
    assert host.features.attributes["kernel.config"] == {"OVERLAY_FS": "m", "SECCOMP": "y", "VERSION": "x y"}
    assert "ext4" in host.features.flags["kernel.enabledmodule"]
    (root / "boot/config-6.1.0-18-amd64").unlink()
    (root / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_TIME_NS=y\n"))
    assert system.features(root).attributes["kernel.config"] == {"TIME_NS": "y"}
    (root / "proc/config.gz").write_bytes(b"\x1f\x8bbroken")
    assert "kernel.config" not in system.features(root).attributes


def test_a_machine_of_which_nothing_can_be_read_is_its_platform(tmp_path: Path) -> None:
    host = detect(made(tmp_path, {}), "bare", Platform.parse("linux/arm64"), {"PATH": ""})
    assert (host.platform, dict(host.facts)) == (Platform.parse("linux/arm64"), {})
    assert hostdocument.load(json.dumps(host.document()).encode()) == host


def test_odd_contents_are_made_fit_for_a_profile(tmp_path: Path) -> None:
    odd = MACHINE | {
        "proc/cpuinfo": "flags : \x00\x1b[2J \u202e " + "x" * 100 + "\nmodel name : " + "y" * 10_000,
        "etc/os-release": "ID='a\x07b'\nID=second\nPRETTY_NAME=\"" + "z" * 9000,
        "proc/meminfo": "MemTotal: 99999999999999999999999 kB",
        "proc/sys/kernel/osrelease": "../../../etc",
    }
    host = detect(made(tmp_path, odd), "odd", Platform.parse("linux/amd64"), {"PATH": ""})
    assert hostdocument.load(json.dumps(host.document()).encode()) == host
    assert host.fact("os.id") == ("a?b",)
    assert "memory.bytes" not in host.facts


@pytest.mark.parametrize(
    ("architecture", "flags", "level"),
    [
        ("amd64", "sse2", "v1"),
        ("amd64", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", "v2"),
        ("amd64", X86_FLAGS, "v3"),
        ("amd64", X86_FLAGS.replace("fma ", ""), "v2"),
        ("amd64", f"{X86_FLAGS} avx512f avx512bw avx512cd avx512dq avx512vl", "v4"),
        ("amd64", "avx512f avx512bw avx512cd avx512dq avx512vl avx2", "v1"),
        ("arm64", "fp asimd", "v8"),
        ("arm64", "fp asimd atomics asimdrdm crc32 dcpop", "v8.2"),
        ("arm64", "fp asimd sve2", "v8"),
        ("s390x", "vx", ""),
        ("amd64", "", ""),
    ],
)
def test_levels_need_all_of_their_flags(architecture: str, flags: str, level: str) -> None:
    assert processors.level(flags.split(), architecture) == level


def test_names_of_flags_go_there_and_back() -> None:
    for name in X86_FLAGS.split():
        assert processors.kernel_name(processors.nfd_name(name)) == name


def test_musl_is_told_from_glibc(tmp_path: Path) -> None:
    assert system.libc(made(tmp_path, {"lib/ld-musl-x86_64.so.1": "x"})) == ("musl", "")


@pytest.mark.parametrize(("driver", "cuda"), [
    ("550.54.15", "12.4"), ("535.104.05", "12.2"), ("544.1", "12.2"), ("449.1", ""), ("", ""), ("abc", ""),
    ("9" * 40, ""),
])  # fmt: skip
def test_a_driver_of_nvidia_tells_its_cuda(driver: str, cuda: str) -> None:
    assert devices.cuda_of(driver) == cuda


def test_the_tool_of_nvidia_is_believed_where_it_is_there(tmp_path: Path) -> None:
    script(
        tmp_path / "bin" / "nvidia-smi",
        'if [ "$1" != -q ]; then echo "NVIDIA H100, 560.1.2, 9.0, 81559"; echo "NVIDIA H100, 560.1.2, 9.0, 81559"; '
        'else echo "CUDA Version    : 12.6"; echo "    Product Brand   : NVIDIA RTX"; fi',
    )
    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    host = detect(made(tmp_path, MACHINE), "made", Platform.parse("linux/amd64"), env)
    names = ("gpu.model", "gpu.driver.version", "gpu.arch", "cuda.driver.version", "gpu.count", "gpu.brand")
    assert [host.fact(name) for name in names] == [
        ("NVIDIA H100",), ("560.1.2",), ("9.0",), ("12.6",), ("2",), ("nvidiartx",),
    ]  # fmt: skip


def test_runtimes_tell_their_features_or_that_they_cannot() -> None:
    features = {"ociVersionMax": "1.1.0", "hooks": ["prestart"], "linux": {
        "namespaces": ["pid"], "seccomp": {"enabled": True, "actions": ["A"]}, "apparmor": {"enabled": None},
        "selinux": {"enabled": False}, "mountExtensions": {"idmap": {"enabled": True}}}}  # fmt: skip
    said = {
        ("runc", "--version"): b"runc version 1.1.5+ds1\n",
        ("runc", "features"): json.dumps(features).encode(),
        ("crun", "--version"): b"crun version 1.8.1\ncommit: x",
        ("youki", "--version"): b"youki\n",
        ("youki", "features"): b"[1, 2",
    }
    assert runtimes.facts(said.get) == {
        "runtime.names": ("runc", "crun", "youki"),
        "runtime.runc.version": ("1.1.5+ds1",),
        "runtime.runc.features": (
            "ociVersionMax=1.1.0", "hooks.prestart", "linux.namespaces.pid", "linux.seccomp",
            "linux.mountExtensions.idmap",
        ),
        "runtime.crun.version": ("1.8.1",),
        "runtime.crun.features": ("unknown",),
        "runtime.youki.features": ("unknown",),
    }  # fmt: skip


def test_a_detector_of_the_users_own_adds_facts(tmp_path: Path) -> None:
    program = script(
        tmp_path / "mpi", "echo 'mpi.flavour: openmpi'; echo 'mpi.version: 4.10'; echo 'net.rails: [a, b]'"
    )
    assert programs.detector(str(program), dict(os.environ)) == {
        "mpi.flavour": ("openmpi",), "mpi.version": ("4.10",), "net.rails": ("a", "b"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("echo no >&2; exit 3", UsageError, "ended with exit code 3: no"),
        ("echo '- a'", SpecError, "<bad>:1:1: is not a map; facts wanted"),
        ("echo 'a b: c'", SpecError, "'a b' is not a name of a fact"),
        ("echo 'a: {b: c}'", SpecError, "a: is a map; a list is wanted"),
        ("true", SpecError, "<bad>: is empty; facts wanted"),
        ("yes aaaaaaaaaaaaaaaaaaaaaaa", RuntimeimgError, "wrote more than 1048576 bytes"),
    ],
)
def test_a_detector_that_fails_is_named(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        programs.detector(str(script(tmp_path / "bad", text)), dict(os.environ))
    assert message in str(caught.value)


def test_a_program_that_is_not_there_or_does_not_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be started"):
        programs.detector(str(tmp_path / "none"), dict(os.environ))
    slow = str(script(tmp_path / "slow", "echo x; exec sleep 600"))
    with pytest.raises(TransientError, match="program 'slow' did not end within 1 seconds"):
        answer((slow,), timeout=1, limit=100)
    closed = str(script(tmp_path / "closed", "exec >&- 2>&-; exec sleep 600"))
    with pytest.raises(TransientError, match="program 'closed' did not end"):
        answer((closed,), timeout=1, limit=100)


# The command


def test_this_machine_is_detected() -> None:
    profile = yaml.safe_load(done("host", "detect", "--name", "here"))
    assert profile["name"] == "here"
    host = hostdocument.load(done("host", "detect", "--name", "here").encode())
    assert host.platform.architecture == Platform.host().architecture
    assert host.fact("kernel.version") == (platform.release(),)
    assert int(host.fact("memory.bytes")[0]) > 1 << 26
    for name in ("runc", "crun"):
        assert (name in host.fact("runtime.names")) == (shutil.which(name) is not None)


def test_a_profile_is_written_as_json_with_a_detectors_facts(tmp_path: Path) -> None:
    program = script(tmp_path / "mpi", 'echo \'{"mpi.flavour": "openmpi"}\'')
    target = tmp_path / "host.json"
    assert done("host", "detect", "--format", "json", "--exec", program, "-o", target) == ""
    assert json.loads(target.read_text())["facts"]["mpi.flavour"] == "openmpi"


def test_nodes_of_a_cluster_become_a_folder_of_profiles(tmp_path: Path) -> None:
    def node(name: str) -> dict[str, object]:
        labels = {"kubernetes.io/arch": "arm64"}
        return {"kind": "Node", "metadata": {"name": name, "labels": labels}}

    source = tmp_path / "nodes.json"
    source.write_text(json.dumps({"kind": "List", "items": [node("a"), node("b")]}))
    refused = run("host", "detect", "--from", source)
    assert (refused.code, "name a folder with -o FOLDER" in refused.err) == (2, True)
    done("host", "detect", "--from", source, "-o", tmp_path / "hosts")
    assert sorted(path.name for path in (tmp_path / "hosts").iterdir()) == ["a.yaml", "b.yaml"]
    assert hostdocument.load((tmp_path / "hosts/a.yaml").read_bytes()).platform == Platform.parse("linux/arm64")
    source.write_text(json.dumps({"kind": "List", "items": [node("a"), node("../b")]}))
    refused = run("host", "detect", "--from", source, "-o", tmp_path / "hosts")
    assert (refused.code, "has a name that no file can have" in refused.err) == (2, True)
    assert not (tmp_path / "b.yaml").exists()


def test_files_about_one_host_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: n\nplatform: linux/amd64/v2\nfacts: {a: 1, b: 2}\n")
    (tmp_path / "b.yaml").write_text("name: n\nplatform: linux/amd64\nfacts: {b: 3}\n")
    host = hostdocument.load(
        done("host", "detect", "--from", tmp_path / "a.yaml", "--from", tmp_path / "b.yaml").encode()
    )
    assert (host.platform.variant, host.facts) == ("v2", {"a": ("1",), "b": ("3",)})


def test_the_schema_is_printed() -> None:
    assert json.loads(done("schema", "host")) == hostdocument.schema()


def test_every_host_option_takes_a_node_as_it_is(tmp_path: Path) -> None:
    images = [made_image(1), made_image(2), made_image(3)]
    platforms = map(Platform.parse, ("linux/amd64", "linux/amd64/v3", "linux/arm64"))
    where = f"oci:{tmp_path / 'layout'}:1"
    write(where, listed(*((image, platform, {}) for image, platform in zip(images, platforms, strict=True))))
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(NODE))
    chosen = done("index", "select", where, "--host", tmp_path / "node.yaml")
    assert chosen == str(images[1].to_manifest().digest)
