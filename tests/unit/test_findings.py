"""Findings: filtered, counted, and written in every form; docs/findings.md says what the rules say."""

import json
import re
import runpy
from pathlib import Path

import pytest

from runtimeimg.bundle.rules import RULES as OF_BUNDLES
from runtimeimg.errors import UsageError
from runtimeimg.findings import Finding, Place, Rule, Severity, chosen, counts, to_json
from runtimeimg.findings.markdown import rules_to_markdown, to_markdown
from runtimeimg.findings.sarif import to_sarif
from runtimeimg.selection.lintrules import RULES as OF_INDEXES
from runtimeimg.selection.nfd.lint import RULES as OF_DOCUMENTS

RULES = (*OF_BUNDLES, *OF_DOCUMENTS, *OF_INDEXES)
ROOT = Path(__file__).parents[2]


def rule(number: int, severity: Severity) -> Rule:
    return Rule(
        id=f"MADE-{number:03}", title=f"Rule {number}", severity=severity, explanation="Why.", bad="a: 1", good="a: 2"
    )


MINOR, WORSE = rule(1, Severity.INFO), rule(2, Severity.ERROR)
FOUND = (
    Finding(rule=MINOR, where=Place(artifact="docker://127.0.0.1:5000/a b:1", inside="manifests[0]"), message="one"),
    Finding(rule=WORSE, where=Place(artifact="x.yaml", line=3, column=7), message="a | b\x1b[2J\nc", fix="do `that`"),
    Finding(rule=WORSE, where=Place(artifact="127.0.0.1:5000/app:1"), message="three"),
)


def test_findings_are_chosen_by_severity_and_rule() -> None:
    assert chosen(FOUND) == FOUND
    assert chosen(FOUND, Severity.WARNING) == FOUND[1:]
    assert chosen(FOUND, Severity.INFO, {"MADE-002"}) == FOUND[:1]
    assert counts(FOUND) == {"error": 2, "warning": 0, "info": 1}
    assert Severity.parse("Error") is Severity.ERROR
    with pytest.raises(UsageError, match="severity 'fatal' is not known"):
        Severity.parse("fatal")


def test_json_has_the_place_and_what_to_do() -> None:
    data = to_json(FOUND)
    assert data["counts"] == {"error": 2, "warning": 0, "info": 1}
    assert data["findings"][1] == {
        "rule": "MADE-002",
        "title": "Rule 2",
        "severity": "error",
        "where": {"artifact": "x.yaml", "line": 3, "column": 7},
        "message": "a | b\x1b[2J\nc",
        "fix": "do `that`",
    }


def test_sarif_names_rules_levels_and_places() -> None:
    log = json.loads(json.dumps(to_sarif(FOUND, (MINOR, WORSE))))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    rules, results = log["runs"][0]["tool"]["driver"]["rules"], log["runs"][0]["results"]
    assert [item["id"] for item in rules] == ["MADE-001", "MADE-002"]
    assert [rules[item["ruleIndex"]]["id"] for item in results] == [item["ruleId"] for item in results]
    assert [item["level"] for item in results] == ["note", "error", "error"]
    places = [item["locations"][0] for item in results]
    uris = [place["physicalLocation"]["artifactLocation"]["uri"] for place in places]
    assert uris == ["docker://127.0.0.1:5000/a%20b:1", "x.yaml", "127.0.0.1%3A5000/app%3A1"]
    assert places[0]["logicalLocations"] == [{"fullyQualifiedName": "manifests[0]"}]
    assert places[1]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 7}
    assert len({item["partialFingerprints"]["runtimeimg/v1"] for item in results}) == 3


def test_markdown_is_a_table_that_nothing_breaks_out_of() -> None:
    lines = to_markdown(FOUND).splitlines()
    assert lines[0] == "2 error, 1 info"
    assert len(lines) == 4 + len(FOUND)
    assert lines[4] == r"| error | MADE-002 | x.yaml:3:7 | a \| b?\[2J c | do \`that\` |"
    assert to_markdown(()) == "Nothing was found.\n"


def test_rules_are_described_with_their_examples() -> None:
    text = rules_to_markdown((MINOR,))
    assert "| [MADE-001](#made-001) | info | Rule 1 |" in text
    assert "Bad:\n\n    a: 1\n\nGood:\n\n    a: 2\n" in text


def test_rules_are_complete_and_each_has_an_id_of_its_own() -> None:
    assert len({item.id for item in RULES}) == len(RULES)
    assert [item.id for item in RULES] == sorted(item.id for item in RULES)
    for item in RULES:
        assert re.fullmatch(r"[A-Z]+-\d{3}", item.id)
        assert all((item.title, item.explanation, item.bad, item.good, item.source)), item.id
        assert item.bad != item.good
        assert not item.title.endswith(".")


def test_the_page_of_rules_is_up_to_date() -> None:
    page = (ROOT / "docs" / "findings.md").read_text("utf-8")
    script = runpy.run_path(str(ROOT / "scripts" / "update-findings-docs.py"))
    assert script["render"](page) == page, "run python scripts/update-findings-docs.py"
    assert all(f"### {item.id}\n" in page for item in RULES)
