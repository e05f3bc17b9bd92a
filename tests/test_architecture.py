"""The package's shape: which sub-package may import which, what is public, what importing it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scoregrain

ROOT = Path(scoregrain.__file__).parent
EVERYTHING = {
    "operators",
    "schedules",
    "models",
    "datasets",
    "noise",
    "geometry",
    "align",
    "diffusion",
    "metrics",
    "training",
    "report",
    "studies",
    "cli",
}
ARROWS = {
    "operators": set(),
    "schedules": set(),
    "models": set(),
    "datasets": {"operators"},
    "noise": {"operators"},
    "geometry": {"operators", "schedules", "models"},
    "align": {"operators", "geometry"},
    "diffusion": {"operators", "schedules", "noise"},
    "metrics": {"operators"},
    "training": {"models", "datasets", "diffusion", "align", "noise", "operators", "schedules"},
    "report": EVERYTHING - {"report", "studies", "cli"},
    "studies": EVERYTHING - {"studies", "cli"},
    "cli": EVERYTHING - {"cli"},
}


def imports(tree):
    """Every imported module name, ``if TYPE_CHECKING`` blocks apart."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def used_packages(file):
    """Sub-packages of scoregrain that a file imports."""
    for name in imports(ast.parse(file.read_text())):
        parts = name.split(".")
        if parts[0] == "scoregrain" and len(parts) > 1 and parts[1] in EVERYTHING:
            yield parts[1]


def test_every_sub_package_is_declared():
    assert {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"} == EVERYTHING


@pytest.mark.parametrize("package", sorted(ARROWS))
def test_arrows_point_one_way(package):
    for file in (ROOT / package).rglob("*.py"):
        forbidden = set(used_packages(file)) - ARROWS[package] - {package}
        assert not forbidden, f"{file.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}"


def test_the_arrow_test_sees_a_forbidden_import(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from scoregrain import geometry\n    import scoregrain.cli.main\n")
    assert set(used_packages(file)) == {"geometry", "cli"}


def test_no_public_name_is_a_sub_package():
    assert not set(scoregrain.__all__) & EVERYTHING


def test_every_public_name_exists_and_is_documented():
    for name in scoregrain.__all__:
        value = getattr(scoregrain, name)
        assert value.__doc__, name
        assert value.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scoregrain.nothing  # noqa: B018


def test_only_public_names_are_listed():
    assert dir(scoregrain) == sorted([*scoregrain.__all__, "__version__"])


def test_type_checkers_see_the_same_names_as_users():
    """The TYPE_CHECKING block of __init__ names exactly what is exported lazily."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen == set(scoregrain.__all__)


def test_importing_loads_no_heavy_library():
    """`import scoregrain` adds nothing but itself to `import torch`."""
    code = (
        "import sys, torch; before = set(sys.modules); import scoregrain; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['scoregrain']"


def test_no_file_and_no_function_is_long():
    """ARCHITECTURE 2: files below 500 lines, functions below 60."""
    for file in ROOT.rglob("*.py"):
        text = file.read_text()
        assert len(text.splitlines()) < 500, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert node.end_lineno - first.lineno <= 60, f"{file}: {node.name}"
