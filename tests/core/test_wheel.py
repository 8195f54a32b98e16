"""What is installed is what is here: a built wheel holds every module, page and golden case."""

import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("pip", "setuptools", "wheel")  # all three, since setuptools writes wheels by itself only from 70.1 on


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel built from a copy of this checkout, and its folder; nothing is asked of the network."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"builds a wheel without the network: needs {' and '.join(missing)} installed")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("minibert", "reference"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "pytest_minibert.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", out]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, source], capture_output=True, text=True, timeout=600
    )
    assert not built.returncode, built.stdout + built.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        archive.extractall(out / "installed")
        return set(archive.namelist()), out / "installed"


def test_a_wheel_holds_every_module_page_and_golden_case(wheel):
    names, _ = wheel
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minibert").rglob("*.py")}
    reference = {
        f"minibert/{path.relative_to(ROOT).as_posix()}"
        for kind in ("*.py", "*.md", "*.json", "*.safetensors")
        for path in (ROOT / "reference").rglob(kind)
    }
    assert len(package) > 100
    assert len(reference) > 300
    assert sorted((package | reference | {"pytest_minibert.py"}) - names) == []


def test_what_is_installed_runs_the_readme_s_first_command(wheel):
    """From the unpacked wheel alone, away from the checkout; and prints the pages that README names."""
    _, folder = wheel
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"^    python -m pip install \. && minibert (.*)$", readme, re.MULTILINE)[1].split()
    pages = sorted(set(re.findall(r"reference/[\w/]+\.(?:md|py)", readme)))
    assert len(pages) > 4
    program = "import sys; from minibert import cli; sys.exit(cli.main(sys.argv[1:]))"

    def run(*words):
        ran = subprocess.run([sys.executable, "-c", program, *words], cwd=folder, capture_output=True, timeout=120)
        assert ran.stderr == b""
        return ran.returncode, ran.stdout.decode("utf-8")

    code, printed = run(*first)
    assert code == 1
    assert "the mistake is A04" in printed
    for page in pages:
        assert run("docs", page) == (0, (ROOT / page).read_text(encoding="utf-8"))
    assert run("spec", "OP-ATT-2")[0] == 0


def test_what_is_installed_finds_its_families_and_its_pages(wheel):
    """From the unpacked wheel alone, away from the checkout."""
    _, folder = wheel
    program = (
        "import minibert, sys; from minibert import families, gradcheck; from pathlib import Path;"
        "spec = Path(gradcheck.doubles().__file__).parent / 'spec';"
        "assert Path(minibert.__file__).is_relative_to(sys.argv[1]), minibert.__file__;"
        "print(*families.names()); print(*(path.stem for path in sorted(spec.glob('*.md'))))"
    )
    command = [sys.executable, "-c", program, str(folder)]
    found = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120).stdout
    families, pages = (line.split() for line in found.splitlines())
    assert families == sorted(path.stem for path in (ROOT / "minibert" / "families").glob("[a-z]*.py"))
    assert pages == sorted(path.stem for path in (ROOT / "reference" / "spec").glob("*.md"))
