"""What is refused by name, and how it is allowed."""

import pytest

from runtimeimg.bundle import BundleOptions, Mount, plan_config
from runtimeimg.bundle.features import Features, Runtime
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image

from .images import folder, image, opened, symlink

UNSAFE = Features(
    data={"ociVersionMin": "1.0.0", "ociVersionMax": "1.2.0", "potentiallyUnsafeConfigAnnotations": ["x."]}
)


def refused(found: Image, options: BundleOptions, message: str, allow: str) -> None:
    """Check that it is refused with this message, and not where it is allowed by this name."""
    from dataclasses import replace

    with opened(found) as files:
        with pytest.raises(InvalidDocumentError) as caught:
            plan_config(found, files, options)
        assert message in str(caught.value)
        assert f"--allow {allow}" in str(caught.value.hint)
        assert plan_config(found, files, replace(options, allow=frozenset({allow}))).config


@pytest.mark.parametrize("path", ["dev", "proc", "sys"])
def test_the_kernels_places_as_links(path: str) -> None:
    found = image(symlink(path, "/somewhere"))
    refused(found, BundleOptions(), f"mount target '/{path}' is a link in the rootfs, to '/somewhere'", "links")


def test_a_mount_target_that_is_a_link_or_behind_one() -> None:
    found = image(folder("run"), symlink("var", "run"), symlink("data", "../outside"))
    mount = Mount(destination="/data", kind="tmpfs", source="tmpfs")
    refused(found, BundleOptions(mounts=(mount,)), "mount target '/data' is a link in the rootfs, to '../out", "links")
    behind = Mount(destination="/var/lib/x", kind="tmpfs", source="tmpfs")
    message = "mount target '/var/lib/x' goes through '/var', a link in the rootfs, to 'run'"
    refused(found, BundleOptions(mounts=(behind,)), message, "links")


def test_a_volume_that_is_a_link() -> None:
    found = image(symlink("data", "/etc"), Volumes={"/data": {}})
    refused(found, BundleOptions(), "mount target '/data' is a link in the rootfs, to '/etc'", "links")


@pytest.mark.parametrize("path", ["/proc", "/proc/sys", "/sys/", "/dev/shm/x", "/./dev", "//proc", "/a/../sys"])
def test_volumes_over_files_of_the_kernel(path: str) -> None:
    found = image(Volumes={path: {}})
    refused(found, BundleOptions(), f"volume '{path}' of the image would hide files of the kernel", "volumes")


def test_what_the_caller_mounts_there_is_no_volume_of_the_image() -> None:
    found = image(Volumes={"/dev/mine": {}, "/process": {}})
    mount = Mount.parse("source=/srv,destination=/dev/mine")
    with opened(found) as files:
        assert plan_config(found, files, BundleOptions(mounts=(mount,))).config["mounts"][-1]["source"] == "/srv"


@pytest.mark.parametrize("path", ["proc/kcore", "sys/firmware", "proc/sys"])
def test_masked_and_read_only_paths_that_are_links(path: str) -> None:
    parent = path.partition("/")[0]
    found = image(folder(parent), symlink(path, "/etc"))
    kind = "read-only" if path == "proc/sys" else "masked"
    refused(found, BundleOptions(), f"{kind} path '/{path}' is a link in the rootfs, to '/etc'", "links")


@pytest.mark.parametrize(
    ("cwd", "message"),
    [
        ("/proc/self/fd/7", "working directory '/proc/self/fd/7' is below /proc"),
        ("/x/../proc/1/root", "working directory '/x/../proc/1/root', which is '/proc/1/root', is below /proc"),
        ("/app/x", "working directory '/app/x', which is '/proc/self/fd/7/x', is below /proc"),
        ("//proc//self", "working directory '//proc//self', which is '/proc/self', is below /proc"),
    ],
)
def test_working_directories_below_proc(cwd: str, message: str) -> None:
    refused(image(symlink("app", "/proc/self/fd/7"), WorkingDir=cwd), BundleOptions(), message, "workdir")


def test_other_working_directories() -> None:
    for cwd in ("/process", "/app/proc/x", "/proc"):
        found = image(folder("app"), WorkingDir=cwd)
        with opened(found) as files:
            assert plan_config(found, files, BundleOptions()).config["process"]["cwd"] == cwd


@pytest.mark.parametrize("label", ["org.systemd.property.TasksMax", "run.oci.handler", "bundle", "org.criu.config"])
def test_labels_that_runc_or_crun_act_upon(label: str) -> None:
    message = f"label '{label}' of the image would be acted upon by runc or crun"
    refused(image(Labels={label: "x"}), BundleOptions(), message, "annotations")


def test_labels_are_judged_by_what_the_runtime_says() -> None:
    options = BundleOptions(runtime=Runtime(name="other", version="2", features=UNSAFE))
    refused(
        image(Labels={"x.y": "x"}), options, "label 'x.y' of the image would be acted upon by other 2", "annotations"
    )
    harmless = image(Labels={"bundle": "x", "x": "y", "xx.y": "z"})
    with opened(harmless) as files:
        assert plan_config(harmless, files, options).config["annotations"]["bundle"] == "x"


def test_all_of_it_is_told_at_once() -> None:
    links = (symlink("dev", "/x"), symlink("proc", "/y"), symlink("sys", "/z"), symlink("data", "/"))
    found = image(*links, Labels={"run.oci.a": "b"}, Volumes={"/data": {}})
    with opened(found) as files, pytest.raises(InvalidDocumentError) as caught:
        plan_config(found, files, BundleOptions())
    assert "--allow links --allow annotations" in str(caught.value.hint)
    assert "'/dev'" in str(caught.value)
    assert "; and 1 more of the kind; label 'run.oci.a'" in str(caught.value)
    assert "/dev/shm" not in str(caught.value)  # each link is told once


def test_links_without_end_are_an_error() -> None:
    found = image(symlink("data", "data2"), symlink("data2", "data"), Volumes={"/data/x": {}})
    with opened(found) as files, pytest.raises(InvalidDocumentError, match="links"):
        plan_config(found, files, BundleOptions())
