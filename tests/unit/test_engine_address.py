import hashlib
import json
from pathlib import Path

import pytest

from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.stores.engine import DEFAULT_ADDRESS, Address, find_address


def context(folder: Path, name: str, endpoint: object, *, keys: bool = False) -> None:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    if keys:
        (folder / "contexts" / "tls" / key / "docker").mkdir(parents=True)


def test_nothing_said_is_the_local_socket(tmp_path: Path) -> None:
    assert find_address({}) == Address(url=DEFAULT_ADDRESS)
    assert find_address({"HOME": str(tmp_path)}) == Address(url=DEFAULT_ADDRESS)
    assert find_address({"HOME": str(tmp_path), "DOCKER_CONTEXT": "default"}) == Address(url=DEFAULT_ADDRESS)


def test_docker_host_wins_over_contexts(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far", "DOCKER_HOST": "tcp://h:1"}
    assert find_address(environ) == Address(url="tcp://h:1")


def test_tls_keys_are_where_docker_has_them(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://h:1", "DOCKER_TLS_VERIFY": "1"}
    assert find_address(environ) == Address(url="tcp://h:1", certificates=tmp_path / ".docker")
    environ["DOCKER_CERT_PATH"] = "/keys"
    assert find_address(environ) == Address(url="tcp://h:1", certificates=Path("/keys"))
    del environ["DOCKER_TLS_VERIFY"]
    environ["DOCKER_TLS"] = "1"
    assert find_address(environ) == Address(url="tcp://h:1", certificates=Path("/keys"), verify=False)


def test_the_current_context_is_followed(tmp_path: Path) -> None:
    context(tmp_path, "far", {"Host": "tcp://far:2376", "SkipTLSVerify": True}, keys=True)
    context(tmp_path, "near", {"Host": "unix:///near.sock"})
    (tmp_path / "config.json").write_text('{"currentContext": "near"}')
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert find_address(environ) == Address(url="unix:///near.sock")
    found = find_address({**environ, "DOCKER_CONTEXT": "far"})
    assert (found.url, found.verify) == ("tcp://far:2376", False)
    assert found.certificates is not None
    assert found.certificates.is_dir()


def test_contexts_that_cannot_be_followed(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "none"}
    with pytest.raises(NotFoundError, match="docker context 'none' does not exist"):
        find_address(environ)
    context(tmp_path, "none", {"Host": 3})
    with pytest.raises(InvalidDocumentError, match="docker context 'none' names no Engine"):
        find_address(environ)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"currentContext": 3}', "\xff"])
def test_settings_that_name_no_context(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert find_address({"DOCKER_CONFIG": str(tmp_path)}) == Address(url=DEFAULT_ADDRESS)
