"""How long ``import vitrail`` and ``vitrail --help`` take, against bare Python.

    python benchmarks/startup.py

Targets: the import at most 0.2 s over ``python -c pass``, the help under 0.5 s in all.
"""

from __future__ import annotations

import subprocess
import sys

from _timing import compare


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> bool:
    imported, bare = compare(lambda: run("-c", "import vitrail"), lambda: run("-c", "pass"), 11)
    extra = imported - bare
    print(
        f"import vitrail {imported:.3f} s, bare Python {bare:.3f} s, ratio {imported / bare:.2f}x"
    )
    print(f"  over bare {extra:.3f} s  target <= 0.2 s: {'PASS' if extra <= 0.2 else 'MISS'}")
    helped, bare = compare(lambda: run("-m", "vitrail", "--help"), lambda: run("-c", "pass"), 11)
    print(f"vitrail --help {helped:.3f} s, bare Python {bare:.3f} s, ratio {helped / bare:.2f}x")
    print(f"  in all {helped:.3f} s  target < 0.5 s: {'PASS' if helped < 0.5 else 'MISS'}")
    return extra <= 0.2 and helped < 0.5


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
