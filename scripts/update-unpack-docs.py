"""Write the table of docs/unpacking.md anew: every hostile layer of the tests, and what umoci makes of it.

    python scripts/update-unpack-docs.py

as root, with umoci there. The table stands between `<!-- table -->` and `<!-- end -->`. Every unpacking has a folder of
its own, with a folder beside it that nothing may change; umoci has twenty seconds, and may write files of 256 MiB.
"""

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from runtimeimg.errors import RuntimeimgError  # noqa: E402
from runtimeimg.image import choose_platform  # noqa: E402
from runtimeimg.oci import Location  # noqa: E402
from runtimeimg.stores import StoreOptions, open_image  # noqa: E402
from runtimeimg.unpack import unpack  # noqa: E402
from tests.unpack import rawattacks  # noqa: E402
from tests.unpack.attacks import ATTACKS, Attack  # noqa: E402
from tests.unpack.layouts import write_blobs  # noqa: E402
from tests.unpack.trees import There, tree  # noqa: E402

assert rawattacks  # which adds its own to the list

PAGE = ROOT / "docs" / "unpacking.md"
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
SECONDS = 20
LARGEST = 256 << 20
CROSS = "\u2a2f"
"""What umoci marks its errors with."""


def main() -> None:
    """Unpack all and write the page."""
    lines: list[str] = []
    family = ""
    for attack in ATTACKS:
        if attack.family != family:
            family = attack.family
            lines += ["", f"**{family.capitalize()}**", "", "| layer | runtimeimg | umoci |", "| --- | --- | --- |"]
        ours, theirs = compared(attack)
        lines.append(f"| {attack.name} | {ours} | {theirs} |")
        print(lines[-1], flush=True)  # noqa: T201
    table = "\n".join(lines).strip() + "\n"
    PAGE.write_text(TABLE.sub(lambda found: found[1] + table + found[2], PAGE.read_text()))


def compared(attack: Attack) -> tuple[str, str]:
    """Return what the two make of an attack."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        outside = place / "canary"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        before = tree(outside)
        write_blobs(place / "images", attack.layers(str(outside).encode()))
        ours = our_answer(place)
        kept = tree(outside)
        theirs = their_answer(place, ours)
        assert kept == before, f"{attack.name}: we changed what is outside"
        if not outside.exists():
            theirs = "**removes what is outside**"
        elif tree(outside) != before:
            theirs = "**changes what is outside**"
        return ("the tree" if isinstance(ours, dict) else f"refused: {ours}"), theirs


def our_answer(place: Path) -> dict[str, There] | str:
    """Return the tree, or what the error says."""
    try:
        unpack(
            choose_platform(open_image(Location.parse(f"oci:{place}/images:1"), StoreOptions()), None), place / "root"
        )
    except RuntimeimgError as error:
        return shown(str(error).rpartition(": ")[2] if "entry" in str(error) else str(error).partition("': ")[2])
    return tree(place / "root")


def their_answer(place: Path, ours: dict[str, There] | str) -> str:
    """Return what umoci does, beside our answer."""
    command = ["umoci", "raw", "unpack", "--image", f"{place}/images:1", str(place / "theirs")]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS, preexec_fn=limit
        )
    except subprocess.TimeoutExpired:
        return f"goes on after {SECONDS} seconds"
    if done.returncode < 0:
        return f"ends by signal {-done.returncode}"
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if CROSS in line] or done.stderr.splitlines()[-1:] or ["?"]
        return f"refused: {shown(said[0].rpartition('unpack layer: ')[2].strip(f' {CROSS}'))}"
    return beside(ours, tree(place / "theirs")) if (place / "theirs").exists() else "nothing"


def beside(ours: dict[str, There] | str, theirs: dict[str, There]) -> str:
    """Return how another tree differs from ours; times of directories that no entry says are when umoci made them."""
    if isinstance(ours, str):
        return "a tree"
    implied = {name for name, there in ours.items() if there.kind == "d" and there.time == 0}
    same = {name: there._replace(time=0) if name in implied else there for name, there in theirs.items()}
    if same == ours:
        return "the tree"
    names = sorted(name for name in ours.keys() | same.keys() if ours.get(name) != same.get(name))
    one, other = ours.get(names[0]), same.get(names[0])
    what = "is there" if one is None else "is not there"
    if one is not None and other is not None:
        what = "has another " + ", ".join(key for key in There._fields if getattr(one, key) != getattr(other, key))
    return f"another tree: `{shown(names[0] or '/')}` {what}"


def shown(text: str) -> str:
    """Return text for a cell."""
    text = re.sub(rf"{tempfile.gettempdir()}/[\w/.-]*", "...", text).encode("ascii", "backslashreplace").decode()
    text = re.sub(r"[\x00-\x1f|]", "?", text)
    return text if len(text) <= 110 else text[:107] + "..."


if __name__ == "__main__":
    main()
