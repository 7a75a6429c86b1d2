"""`runtimeimg bundle` and `bundle check`, from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compose.images import file, folder, symlink, tar, write_layout

COMMAND = [sys.executable, "-m", "runtimeimg", "bundle"]
FEATURES = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.1.0", "hooks": ["poststop"], "mountOptions": None}


@pytest.fixture
def layout(tmp_path: Path) -> str:
    items = [folder("etc"), file("etc/passwd", b"app:x:7:8::/home/app:/\n"), folder("data", mode=0o700)]
    config: dict[str, object] = {"Entrypoint": ["/bin/app"], "User": "app", "Volumes": {"/data": {}}}
    odd: dict[str, object] = {**config, "Labels": {"run.oci.x": "1"}, "WorkingDir": "/proc/self"}
    links = tar([folder("etc"), file("etc/passwd", b"app:x:7:8::/:/\n"), symlink("dev", "/etc")])
    write_layout(tmp_path / "images", {"web": ([tar(items)], config), "odd": ([links], odd)})
    return f"oci:{tmp_path}/images"


def bundle(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> tuple[str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def test_a_bundle_with_everything(layout: str, tmp_path: Path) -> None:
    out, _ = bundle(
        *(f"{layout}:web", tmp_path / "b", "--rootless", "--allow", "root-user", "--debug", "--hostname", "h"),
        *("--domainname", "example.org", "--set", "process.args=/bin/other 'a b'", "--set", "process.cwd=/etc"),
        *("--hook", "poststop=/bin/true,-x", "--mount", "src=/srv,dst=/srv,ro", "--env", "A=b", "--writable"),
    )
    assert out == f"{tmp_path / 'b'}\n"
    made = config(tmp_path / "b")
    assert made["process"]["args"] == ["/bin/other", "a b"]
    assert (made["hostname"], made["domainname"], made["ociVersion"]) == ("h", "example.org", "1.1.0")
    assert made["hooks"] == {"poststop": [{"path": "/bin/true", "args": ["/bin/true", "-x"]}]}
    assert made["mounts"][-1]["options"] == ["rbind", "ro"]
    assert made["root"]["readonly"] is False
    assert made["process"]["terminal"] is True
    assert made["linux"]["uidMappings"][0] == {"containerID": 0, "hostID": os.geteuid(), "size": 1}
    assert (tmp_path / "b" / "rootfs" / "etc" / "passwd").is_file()


def test_config_only_reads_the_layers_for_the_user_and_unpacks_nothing(layout: str, tmp_path: Path) -> None:
    bundle("--config-only", f"{layout}:web", tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["config.json"]
    made = config(tmp_path / "b")
    assert made["process"]["user"] == {"uid": 7, "gid": 8, "umask": 18}
    assert made["hostname"] == "images"
    assert made["mounts"][-1]["options"] == ["nosuid", "nodev", "tmpcopyup", "mode=0700"]
    _, err = bundle("--config-only", f"{layout}:web", tmp_path / "b", code=2)
    assert "has a config.json already" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="owners can only be set by root")
def test_both_ways_give_the_same_config(layout: str, tmp_path: Path) -> None:
    bundle(f"{layout}:web", tmp_path / "whole", "--progress", "quiet")
    bundle("--config-only", f"{layout}:web", tmp_path / "only")
    assert (tmp_path / "whole" / "config.json").read_bytes() == (tmp_path / "only" / "config.json").read_bytes()
    _, err = bundle(f"{layout}:web", tmp_path / "whole", code=2)
    assert "exists already" in err


def test_what_is_refused_is_told_by_name_with_what_allows_it(layout: str, tmp_path: Path) -> None:
    _, err = bundle("--config-only", f"{layout}:odd", tmp_path / "b", code=2)
    assert "mount target '/dev' is a link in the rootfs, to '/etc'" in err
    assert "working directory '/proc/self' is below /proc" in err
    assert "label 'run.oci.x' of the image would be acted upon" in err
    assert "--allow links --allow workdir --allow annotations" in err
    allowing = ("--allow", "links", "--allow", "workdir", "--allow", "annotations")
    bundle("--config-only", f"{layout}:odd", tmp_path / "b", *allowing)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "process.argz=x"], 2, "did you mean 'args'?"),
        (["--hook", "never=/x"], 2, "there is no stage 'never'"),
        (["--mount", "src=/x"], 2, "no absolute destination"),
        (["--runtime", "no-such-runtime"], 4, "runtime 'no-such-runtime' is not installed"),
        (["--runtime", "no-such.json"], 3, "does not exist"),
        (["--env", "A"], 2, "--env 'A' is not of the form"),
        (["--allow", "everything"], 2, "everything"),
        (["--set", "process.user.uid=9", "--set", "process.cwd=app"], 2, "process.cwd: 'app' is not an absolute path"),
    ],
)
def test_what_makes_no_sense_is_said_and_leaves_nothing(
    layout: str, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    before = sorted(tmp_path.iterdir())
    _, err = bundle("--config-only", f"{layout}:web", tmp_path / "b", *arguments, code=code)
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    _, err = bundle(f"oci:{tmp_path}/no:1", tmp_path / "b", code=3)
    assert "does not exist" in err


def test_check_of_a_folder_and_of_an_image(layout: str, tmp_path: Path) -> None:
    told = tmp_path / "features.json"
    told.write_text(json.dumps(FEATURES))
    bundle("--config-only", f"{layout}:web", tmp_path / "b", "--hook", "poststart=/x", "--runtime", told)
    out, _ = bundle("check", tmp_path / "b", "--runtime", told, "--format", "json", code=10)
    found = json.loads(out)["findings"]
    ids = {item["rule"] for item in found}
    assert ids == {"BUNDLE-005", "BUNDLE-006", "BUNDLE-013"}
    assert [item["where"]["inside"] for item in found if item["rule"] == "BUNDLE-005"] == ["hooks.poststart"]
    out, _ = bundle("check", f"{layout}:web", "--runtime", told, "--format", "json", code=10)
    assert {item["rule"] for item in json.loads(out)["findings"]} == {"BUNDLE-006"}
    _, err = bundle("check", f"{layout}:web", "--runtime", told, "--explain", code=10)
    assert [line.split()[0] for line in err.splitlines()][:2] == ["field", "ociVersion"]
    assert "does not say" in err
    ignoring = ("--ignore", "BUNDLE-006")
    out, _ = bundle("check", f"{layout}:web", "--runtime", told, *ignoring)
    assert out == "nothing found\n"


@pytest.mark.parametrize(
    ("form", "begins"), [("table", "warning  BUNDLE-006"), ("markdown", "3 warning"), ("sarif", "{")]
)
def test_the_forms_of_findings(layout: str, tmp_path: Path, form: str, begins: str) -> None:
    told = tmp_path / "features.json"
    told.write_text(json.dumps(FEATURES))
    out, _ = bundle("check", f"{layout}:web", "--runtime", told, "--format", form, code=10)
    assert out.startswith(begins)
    if form == "sarif":
        (run,) = json.loads(out)["runs"]
        assert {item["id"] for item in run["tool"]["driver"]["rules"]} >= {item["ruleId"] for item in run["results"]}


def test_what_is_refused_of_an_image_is_found_by_check(layout: str, tmp_path: Path) -> None:
    told = tmp_path / "features.json"
    told.write_text(json.dumps({**FEATURES, "mountOptions": []}))
    out, _ = bundle("check", f"{layout}:odd", "--runtime", told, "--format", "json", code=10)
    assert {"BUNDLE-010", "BUNDLE-011", "BUNDLE-012"} <= {item["rule"] for item in json.loads(out)["findings"]}


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps(FEATURES))
    _, err = bundle("check", tmp_path, "--runtime", tmp_path / "f.json", code=3)
    assert "is no bundle: it has no config.json" in err
    (tmp_path / "config.json").write_text("[]")
    _, err = bundle("check", tmp_path, "--runtime", tmp_path / "f.json", code=2)
    assert "is not a JSON object" in err
    (tmp_path / "config.json").write_text(
        '{"process": [], "mounts": [{"options": 3}], "hooks": 1, "root": 7, "linux": []}'
    )
    out, _ = bundle("check", tmp_path, "--runtime", tmp_path / "f.json", code=10)
    assert "BUNDLE-001" in out


def test_help_says_what_there_is() -> None:
    out, _ = bundle("--help")
    assert "IMAGE DIR" in out
    assert "check" in out
    out, _ = bundle("write", "--help")
    assert "--config-only" in out
    _, err = bundle("oci:x:1", code=2)
    assert "Missing argument 'DIR'" in err


@pytest.mark.crun
def test_crun_is_judged_by_our_record_and_that_is_said(layout: str) -> None:
    out, err = bundle("check", f"{layout}:web", "--runtime", "crun", "--severity", "error")
    assert out == "nothing found\n"
    version = subprocess.run(["crun", "--version"], capture_output=True, text=True, check=True).stdout
    if "1.8.1" in version:
        assert "crun 1.8.1 cannot tell its features: it is judged by our record" in err


def test_an_entry_of_an_index_is_chosen(layout: str, tmp_path: Path) -> None:
    index = f"oci:{tmp_path}/index:1"
    top = [sys.executable, "-m", "runtimeimg", "index", "create", index]
    plain, fast = f"{layout}:web", f"{layout}:odd,annotation=org.example.gpu=yes"
    subprocess.run([*top, "--image", plain, "--image", fast], check=True, capture_output=True, timeout=120)
    allowing = ("--allow", "links", "--allow", "workdir", "--allow", "annotations")
    bundle("--config-only", index, tmp_path / "first")
    assert config(tmp_path / "first")["process"]["cwd"] == "/"
    bundle("--config-only", index, tmp_path / "preferred", "--prefer", "org.example.gpu=yes", *allowing)
    assert config(tmp_path / "preferred")["process"]["cwd"] == "/proc/self"
    _, err = bundle("--config-only", index, tmp_path / "none", "--platform", "linux/arm64", code=3)
    assert "has nothing for linux/arm64" in err
