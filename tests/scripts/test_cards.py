"""The families' model cards have the same headings, and name recipes that exist."""

import fnmatch
import re
from pathlib import Path

import pytest

from keras_mg.recipes import list_recipes

APPLICATIONS = Path(__file__).parents[2] / "applications"
FAMILIES = ["attributes", "igc", "mgnet", "multigrid", "resnet"]
HEADINGS = [
    "Claim and evidence",
    "Command",
    "Data and split",
    "Recipe",
    "Licence and origin of weights",
    "What differs from the paper",
]


def text_of(family):
    return (APPLICATIONS / family / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES)
def test_headings(family):
    found = [line[3:] for line in text_of(family).splitlines() if line.startswith("## ")]
    assert found == HEADINGS


@pytest.mark.parametrize("family", [*FAMILIES, "."])
def test_recipes(family):
    named = re.findall(r"keras-mg train (\w[\w-]*)", text_of(family))
    assert named
    assert set(named) <= set(list_recipes())


def test_every_family_is_listed():
    assert sorted(path.parent.name for path in APPLICATIONS.glob("*/README.md")) == FAMILIES
    for family in FAMILIES:
        assert f"]({family}/README.md)" in text_of(".")


def test_every_recipe_is_listed_under_a_card():
    listed = [word for line in text_of(".").splitlines() if line.startswith("| [")
              for word in re.findall("`([^`]+)`", line)]  # fmt: skip
    patterns = [word for word in listed if " " not in word]
    names = list_recipes()
    missing = [n for n in names if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    assert not missing
    assert all(any(fnmatch.fnmatchcase(n, p) for n in names) for p in patterns)
