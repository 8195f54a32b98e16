"""A golden case is plain files: a C program of less than 100 lines reads one and checks a layer norm of its own.

This compiles `06_check_an_op_in_c.c` with the C compiler `cc` (or $CC) and runs it, once as it stands and once with a
mistake that is often made: the variance divided by width - 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from minibert.golden import case

SOURCE = Path(__file__).with_suffix(".c")
compiler = os.environ.get("CC") or shutil.which("cc")
if compiler is None or sys.byteorder != "little":
    print("skipped: it needs a C compiler (cc) and a little-endian machine")
    sys.exit()


def checked(source: str) -> subprocess.CompletedProcess:
    """The outcome of the program against the shipped case of a layer norm."""
    with tempfile.TemporaryDirectory() as folder:
        program, file = Path(folder) / "check", Path(folder) / "check.c"
        file.write_text(source, encoding="utf-8")
        warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *warnings, "-O2", "-o", program, file, "-lm"], check=True)
        command = [program, case.folder() / "ops" / "layer_norm"]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


source = SOURCE.read_text(encoding="utf-8")
right = checked(source)
print(textwrap.fill(f"as it stands: {right.stdout.strip()}", 79, subsequent_indent="  "))
assert right.returncode == 0, right

wrong = checked(source.replace("* (x[i] - mean) / width", "* (x[i] - mean) / (width - 1)"))
print(textwrap.fill(f"over width - 1: {wrong.stdout.strip()}", 79, subsequent_indent="  "))
assert wrong.returncode == 1, wrong
assert "cannot explain" in wrong.stdout
