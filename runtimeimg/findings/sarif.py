"""Findings as SARIF 2.1.0 (OASIS standard), which code hosts and editors show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from runtimeimg import __version__
from runtimeimg.findings import Finding, Place, Rule, Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.ERROR: "error"}
_HOME = "https://github.com/runtimeimg/runtimeimg"


def to_sarif(findings: Iterable[Finding], rules: Iterable[Rule]) -> dict[str, Any]:
    """Return a log with one run: all rules that were looked for (section 3.19.23), and the findings (3.27)."""
    known = tuple(rules)
    place = {rule.id: number for number, rule in enumerate(known)}
    driver = {
        "name": "runtimeimg",
        "version": __version__,
        "informationUri": _HOME,
        "rules": [_rule(rule) for rule in known],
    }
    results = [_result(item, place[item.rule.id]) for item in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(rule: Rule) -> dict[str, Any]:
    """Return a reportingDescriptor (section 3.49)."""
    example = f"Bad:\n{rule.bad}\n\nGood:\n{rule.good}"
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": f"{rule.explanation}\n\n{example}"},
        "helpUri": f"{_HOME}/blob/main/docs/findings.md#{rule.id.lower()}",
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(item: Finding, index: int) -> dict[str, Any]:
    message = f"{item.message}; {item.fix}" if item.fix else item.message
    same = hashlib.sha256("\0".join((item.rule.id, item.where.inside, item.message)).encode("utf-8", "replace"))
    return {
        "ruleId": item.rule.id,
        "ruleIndex": index,
        "level": _LEVELS[item.rule.severity],
        "message": {"text": message},
        "locations": [_location(item.where)],
        "partialFingerprints": {"runtimeimg/v1": same.hexdigest()},
    }


def _location(where: Place) -> dict[str, Any]:
    """Return a location (section 3.28); what is no file is an artifact all the same, and its part a logical place."""
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(where.artifact)}}
    if where.line:
        physical["region"] = {"startLine": where.line, "startColumn": max(where.column, 1)}
    logical = {"logicalLocations": [{"fullyQualifiedName": where.inside}]} if where.inside else {}
    return {"physicalLocation": physical, **logical}


def _uri(name: str) -> str:
    """Return a URI reference (RFC 3986): a transport stays its scheme, `host:port/name` of none is a path."""
    scheme, colon, rest = name.partition(":")
    if colon and scheme.replace("-", "").isalpha() and scheme.isascii():
        return f"{scheme}:{quote(rest, safe='/:@~')}"
    return quote(name, safe="/@~")
