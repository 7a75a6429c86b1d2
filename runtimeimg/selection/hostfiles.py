"""Files about hosts, whatever kind they are: profiles, and what Kubernetes and Node Feature Discovery say of nodes."""

from __future__ import annotations

from pathlib import Path

from runtimeimg.errors import InvalidDocumentError, SpecError, UsageError
from runtimeimg.oci.documents import load_json
from runtimeimg.selection import hostdocument
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.nfd import kubernetes
from runtimeimg.spec import yamlnodes


def load(data: bytes, file: str = "<stdin>") -> Host:
    """Return the one host that a document is about; `file` is the name for messages.

    Raises SpecError with all that is wrong with a profile, InvalidDocumentError for a malformed object of Kubernetes,
    UsageError for a list of several hosts.
    """
    found = load_all(data, file)
    if len(found) != 1:
        raise UsageError(
            f"'{file}' is about {len(found)} hosts, and one is wanted",
            hint="'runtimeimg host detect --from FILE -o FOLDER/' makes a file of each",
        )
    return found[0]


def load_all(data: bytes, file: str = "<stdin>") -> tuple[Host, ...]:
    """Return the hosts that a document is about, several for a list; errors as those of `load`."""
    name = Path(file).stem
    if data.lstrip()[:1] == b"{":
        return _of_json(data, file, name)
    documents = yamlnodes.compose(data, file)
    plain = documents[0].root.plain(as_written=True) if len(documents) == 1 else None
    if not isinstance(plain, dict) or not kubernetes.is_kind(plain):
        return (hostdocument.of_documents(documents, file),)
    if documents[0].problems:
        raise SpecError(documents[0].problems)
    try:
        return kubernetes.hosts(plain, name)
    except InvalidDocumentError as error:
        raise _located(error, file) from None


def _of_json(data: bytes, file: str, name: str) -> tuple[Host, ...]:
    """Read JSON as JSON: `kubectl get nodes -o json` may be larger than what people write."""
    try:
        plain = load_json(data, "the document")
        if kubernetes.is_kind(plain):
            return kubernetes.hosts(plain, name)
    except InvalidDocumentError as error:
        if "not valid JSON" not in error.message:
            raise _located(error, file) from None
    return (hostdocument.load(data, file),)  # a profile, or YAML's flow style: with positions


def _located(error: InvalidDocumentError, file: str) -> InvalidDocumentError:
    return InvalidDocumentError(f"{file}: {error.message}", hint=error.hint)
