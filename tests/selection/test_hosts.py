"""The document of a host: what it means, what is refused and where, and its schema."""

from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import NotFoundError, SpecError
from runtimeimg.oci import Platform
from runtimeimg.selection import hostdocument
from runtimeimg.selection.hosts import Features, Host
from runtimeimg.spec import documents, yamlnodes

HOST = """
apiVersion: runtimeimg.dev/v1
kind: Host
name: gpu-1
platform: linux(+erofs)/amd64/v3
facts:
  kernel.version: 6.10
  pci.classes: [0300, "0302"]
  virtual: true
labels: {feature.node.kubernetes.io/cpu-cpuid.AVX2: "true"}
features:
  flags: {cpu.cpuid: [AVX2, FMA3]}
  attributes: {kernel.version: {full: 6.10, major: 6}}
  instances: {pci.device: [{vendor: 10de, class: 0300}]}
"""


def test_a_host_is_read_with_its_values_as_they_are_written() -> None:
    host = hostdocument.load(HOST.encode(), "hosts/one.yaml")
    assert host.name == "gpu-1"
    assert host.platform == Platform(os="linux", architecture="amd64", variant="v3", os_features=("erofs",))
    assert host.fact("kernel.version") == ("6.10",)
    assert host.fact("pci.classes") == ("0300", "0302")
    assert host.fact("virtual") == ("true",)
    assert host.fact("nothing") == ()
    assert host.features.attributes["kernel.version"] == {"full": "6.10", "major": "6"}
    assert host.features.instances["pci.device"] == ({"vendor": "10de", "class": "0300"},)


def test_a_host_without_a_name_is_called_as_its_file() -> None:
    assert hostdocument.load(b"platform: linux/arm64", "hosts/edge-7.yaml").name == "edge-7"


def test_the_schema_takes_what_the_loader_takes() -> None:
    schema = hostdocument.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    for text in (HOST, "platform: {os: windows, architecture: amd64, os.version: 10.0.20348.1}"):
        check.validate(yamlnodes.compose(text.encode(), "x")[0].root.plain())
    assert not check.is_valid({"platfrom": "linux/amd64"})
    assert not check.is_valid({"platform": "linux/amd64", "facts": {"a": {"b": "c"}}})


_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
_names = st.from_regex(r"\A[a-z]{1,5}(\.[a-z]{1,5}){0,2}\Z")
_maps = st.dictionaries(_words, _words, max_size=3)
_hosts = st.builds(
    Host,
    name=_names,
    platform=st.sampled_from(["linux/amd64/v4", "windows(10.0.20348)/amd64", "linux(+a+b)/arm/v7"]).map(Platform.parse),
    facts=st.dictionaries(_names, st.lists(_words, max_size=3).map(tuple), max_size=4),
    labels=_maps,
    features=st.builds(
        Features,
        flags=st.dictionaries(_names, st.frozensets(_words, max_size=3), max_size=3),
        attributes=st.dictionaries(_names, _maps, max_size=3),
        instances=st.dictionaries(_names, st.lists(_maps, max_size=3).map(tuple), max_size=3),
    ),
)


@given(_hosts)
def test_a_host_survives_its_document(host: Host) -> None:
    import yaml

    text = yaml.safe_dump(host.document())
    assert hostdocument.load(text.encode()) == host


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a host wanted"),
        ("- a", "h.yaml:1:1: is not a map; a host wanted"),
        ("platform: linux/amd64\n---\nplatform: linux/arm64", "h.yaml:3:1: holds 2 documents; keep each in a file"),
        ("platfrom: linux/amd64", "h.yaml:1:1: unknown key 'platfrom'; did you mean 'platform'?"),
        ("name: a", "h.yaml:1:1: platform: is missing; write 'platform: linux/amd64/v3' or the like"),
        ("platform: x/y/z/a/b", "h.yaml:1:11: platform: platform 'x/y/z/a/b' is not of the form"),
        ("platform: {os: linux}", "h.yaml:1:11: platform.architecture: is missing"),
        ("platform: [linux]", "h.yaml:1:11: platform: is a list; a platform such as 'linux/amd64/v3' or a map"),
        ("platform: linux/amd64\nplatform: linux/arm64", "h.yaml:2:1: platform: is given twice, first at line 1"),
        ("platform: linux/amd64\nfacts: {a b: c}", "h.yaml:2:9: facts: 'a b' is not a name of a fact"),
        ("platform: linux/amd64\nfacts: {a: {b: c}}", "h.yaml:2:12: facts.a: is a map; a list is wanted"),
        ("platform: linux/amd64\nfacts: {a: }", "h.yaml:2:12: facts.a: is empty; give it a value or remove the key"),
        ("platform: linux/amd64\nfacts: {a: [b, [c]]}", "h.yaml:2:16: facts.a[1]: is a list; a text is wanted"),
        ("platform: linux/amd64\nlabels: {a: }", "h.yaml:2:13: labels.a: is empty; write a text, or ''"),
        (f"platform: linux/amd64\nfacts: {{a: {'x' * 5000}}}", "facts.a: has 5000 characters; a value has 4096"),
        ('platform: linux/amd64\nfacts: {a: "x\\ny"}', "facts.a: 'x\\ny' holds a line break"),
        ("platform: linux/amd64\nkind: Node", "h.yaml:2:7: kind: is 'Node'; only 'Host' is known"),
        (
            "platform: linux/amd64\nfeatures: {flags: {a: b}}",
            "features.flags.a: is 'b', a text; a list such as [\"b\"]",
        ),
        ("platform: linux/amd64\nfeatures: {flag: {}}", "features: unknown key 'flag'; did you mean 'flags'?"),
        ("platform: linux/amd64\nname: '" + "n" * 300 + "'", "is not a name of a host"),
        ("a: &a [*a]", "alias '*a' refers to what it is part of"),
        ("[" * 100, "is nested more than 64 deep"),
        ("\0", "a NUL is not allowed in YAML"),
        ("\ufeff\ufeff\x85{", "is not YAML"),
    ],
)
def test_a_wrong_host_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        hostdocument.load(text.encode(), "h.yaml")
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)


def test_all_errors_of_a_document_come_at_once_in_its_order() -> None:
    with pytest.raises(SpecError) as caught:
        hostdocument.load(b"name: ''\nfacts: {b c: 1, d: }\nplatform: q\n", "h.yaml")
    assert [problem.line for problem in caught.value.problems] == [1, 2, 2]


def test_a_document_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    with pytest.raises(NotFoundError, match=r"^host '.*one\.yaml' does not exist"):
        documents.read(path, hostdocument.HostModel, "host")
    path.write_text("platform: linux/amd64/v3\nfacts: {a: b}\n")
    loaded = documents.read(path, hostdocument.HostModel, "host")
    assert loaded.value.facts == {"a": ("b",)}
    assert loaded.place("facts.a") == f"{path}:2:12: facts.a"
