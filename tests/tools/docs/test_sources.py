"""The site's sources fit together: every page is in the menu, every link leads somewhere."""

import re

import pytest

from tests.support.markdown import broken_links
from tools.docs import notebooks, pages, staging
from tools.docs.staging import ROOT, move_links, place

MENU = re.findall(r"^ +- [^\n]*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
# What the build writes beside the pages that are files of the repository.
MADE = {"grids.md", "recipes_table.md", *(place(f"docs/notebooks/{path.name}")
        for path in notebooks.all_of_them())}  # fmt: skip


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    written = set(staging.stage(folder)) | set(pages.write_interface(folder))
    return folder, written


def test_every_page_is_in_the_menu_and_every_entry_a_page(staged):
    _, written = staged
    assert len(MENU) == len(set(MENU)) > 30
    assert set(MENU) == written | MADE, "mkdocs.yml, under `nav`, has an entry for each page"


def test_every_link_of_a_page_leads_to_a_page_or_a_file(staged):
    folder, _ = staged
    for name in MADE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert pages.write_recipes(folder) in MADE
    files = sorted(folder.rglob("*.md"))
    assert len(files) > 40
    broken = {
        path.relative_to(folder).as_posix(): found
        for path in files
        if (found := broken_links(path.read_text(encoding="utf-8"), path))
    }
    assert broken == {}


def test_the_home_page_is_the_readme(staged):
    folder, _ = staged
    home = (folder / "index.md").read_text(encoding="utf-8")
    assert "](weights.md)" in home
    assert "](cards/index.md)" in home
    assert "segmentation.png" in home
    assert (folder / "files/applications/multigrid/evidence/segment-digits").is_dir()


def test_every_public_name_has_its_place(staged):
    folder, _ = staged
    text = (folder / "api/layers.md").read_text(encoding="utf-8")
    assert "::: keras_mg.layers.MultigridConv\n" in text
    # A function in a file of its own name is asked for there.
    assert "::: keras_mg.layers.freeze_batch_norm.freeze_batch_norm\n" in text
    for room in pages.ROOMS:
        text = (folder / f"api/{room}.md").read_text(encoding="utf-8")
        for name, module in pages.public_names(room):
            if module != f"keras_mg.{room}":  # families are modules, not names
                assert re.search(rf"\.{name}$|`{name}`", text, re.M), name


def test_the_pages_are_of_all_that_is_public(staged):
    """Every folder and file of the package without an underscore has its page."""
    _, written = staged
    here = {path for path in (ROOT / "keras_mg").iterdir() if path.name[0] not in "_."}
    rooms = {p.name for p in here if (p / "__init__.py").is_file()} - {"cli"}  # help has its own
    files = {p.stem for p in here if p.suffix == ".py"}
    assert set(pages.ROOMS) == rooms
    assert set(pages.FILES) == files - {"deployment"}  # whose `deploy` stands on the first page
    assert {f"api/{name}.md" for name in rooms} <= written


def test_a_page_of_a_file_needs_nothing_that_it_imports(staged):
    folder, _ = staged
    text = (folder / "api/hub.md").read_text(encoding="utf-8")
    assert "Trunks as backbones of keras-hub" in text
    assert "::: keras_mg.hub.PyramidBackbone\n" in text


def test_what_follows_the_language_of_a_block_is_gone(staged):
    folder, _ = staged
    assert "```python slow" in (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert "```python\n" in (folder / "speed.md").read_text(encoding="utf-8")
    assert "```python slow" not in (folder / "speed.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("README.md", "index.md"),
        ("docs/weights.md", "weights.md"),
        ("docs/notebooks/segmentation.ipynb", "notebooks/segmentation.md"),
        ("applications/mgnet/README.md", "cards/mgnet.md"),
        ("applications/mgnet", "cards/mgnet.md"),
        ("applications", "cards/index.md"),
        ("applications/mgnet/digits", "files/applications/mgnet/digits/index.md"),
        ("examples/fine_tune.py", "examples/fine_tune.md"),
        ("LICENSE", "files/LICENSE.txt"),
    ],
)
def test_places(path, expected):
    assert place(path) == expected


def test_links_are_led_to_the_places():
    text = (
        "[a](../applications/mgnet/README.md#command) [b](https://b.org) [c](#d)\n"
        '<img alt="e" src="../examples/pictures/cifar10_test_0.png" width="9">\n'
        "```\n[f](../LICENSE)\n```\n"
    )
    moved, linked = move_links(text, "docs/weights.md")
    assert moved == (
        "[a](cards/mgnet.md#command) [b](https://b.org) [c](#d)\n"
        '<img alt="e" src="files/examples/pictures/cifar10_test_0.png" width="9">\n'
        "```\n[f](../LICENSE)\n```\n"
    )
    assert linked == {"applications/mgnet/README.md", "examples/pictures/cifar10_test_0.png"}
    with pytest.raises(ValueError, match=r"docs/weights.md links to ../../a, which is outside"):
        move_links("[a](../../a)", "docs/weights.md")


def test_the_readme_is_read_in_two_minutes():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").split("\n")
    assert len(lines) <= 150
    # The two commands and the demo's picture come first.
    assert lines[2:5] == ["```bash", *(line for line in lines if line.startswith("make "))]
    assert lines[7].startswith("![")


def test_every_family_has_a_picture():
    from keras_mg.applications import list_models, network_record

    drawn = {network_record(picture.call.partition("(")[0]).family for picture in pages.PICTURES}
    assert drawn == {network_record(name).family for name in list_models()}


def test_the_recipes_table_has_every_recipe():
    from keras_mg.recipes import list_recipes

    lines = pages.recipes_table().split("\n")
    assert [line.split("`")[1] for line in lines[2:]] == list_recipes()
    assert {line.count("|") for line in lines} == {8}
