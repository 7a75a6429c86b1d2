"""Write the rules in docs/findings.md anew from those in the code: `python scripts/update-findings-docs.py`.

They stand between `<!-- rules: NAME -->` and `<!-- end -->`, NAME being the command that looks for them.
"""

import re
from pathlib import Path

from runtimeimg.bundle import rules as bundled
from runtimeimg.check import rules as checked
from runtimeimg.findings.markdown import rules_to_markdown
from runtimeimg.selection import lintrules
from runtimeimg.selection.nfd import lint

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
PART = re.compile(r"(<!-- rules: ([a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
RULES = {
    "check": checked.RULES,
    "index lint": lintrules.RULES,
    "index compat validate": lint.RULES,
    "bundle check": bundled.RULES,
}


def render(page: str) -> str:
    """Return `page` with its rules as the code has them now."""
    return PART.sub(lambda found: f"{found[1]}\n{rules_to_markdown(RULES[found[2]])}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
