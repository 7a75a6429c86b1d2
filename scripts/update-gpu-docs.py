r"""Run the commands of docs/gpu-image.md and docs/indexes.md and write what they print into the pages.

    python scripts/update-gpu-docs.py

A registry must answer on 127.0.0.1:5000 (scripts/services start). The files of the page are the `yaml` blocks that
begin with a name. A line of a `console` block that begins with `$` is a command, to which the next line belongs where
it ends in a backslash; what follows is what it printed.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = [Path(__file__).parents[1] / "docs" / name for name in ("gpu-image.md", "indexes.md")]
REGISTRY, REAL = "images.example", "127.0.0.1:5000"  # as long as each other: tables stay aligned
FILES = re.compile(r"```yaml\n# (\S+)\n(.*?)```", re.DOTALL)
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^\$ (?:.*\\\n)*.*\n", re.MULTILINE)
AGAIN = re.compile(r"^(docker://\S+) is unchanged$", re.MULTILINE)  # there from the last time
MATRIX = re.compile(r"(<!-- matrix -->\n).*?(<!-- end -->)", re.DOTALL)


def render(page: str, folder: Path, registry: str = REAL) -> str:
    """Return the page with what its commands print when they are run in `folder`, against a registry."""
    for program in ("generic", "gpu"):
        (folder / program).mkdir()
        (folder / program / "model").write_text(f"#!/bin/sh\necho {program}\n")
        (folder / program / "model").chmod(0o755)
        os.utime(folder / program / "model", (1, 1))
        os.utime(folder / program, (1, 1))
    for name, text in FILES.findall(page):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace(REGISTRY, registry))
    printed = ""

    def block(match: re.Match[str]) -> str:
        nonlocal printed
        lines = []
        for command in COMMAND.findall(match[1]):
            printed = run(command.removeprefix("$ "), folder, registry)
            lines.append(command + printed)
        return "```console\n" + "".join(lines) + "```"

    page = CONSOLE.sub(block, page)
    return MATRIX.sub(lambda match: match[1] + "\n" + printed + "\n" + match[2], page)


def run(command: str, folder: Path, registry: str) -> str:
    """Run one command and return what it printed, both outputs, with the page's name of the registry."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        ["bash", "-c", command.replace(REGISTRY, registry)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command}ended with {done.returncode}:\n{done.stdout}")
    printed = re.sub(r" +$", "", done.stdout, flags=re.MULTILINE).replace(registry, REGISTRY)
    return AGAIN.sub(r"wrote \1", printed)


def main() -> None:
    """Write the pages."""
    for page in PAGES:
        with tempfile.TemporaryDirectory(prefix="runtimeimg-page-") as folder:
            page.write_text(render(page.read_text("utf-8"), Path(folder)), "utf-8")


if __name__ == "__main__":
    main()
