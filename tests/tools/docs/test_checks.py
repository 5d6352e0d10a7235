"""A broken site is seen: dead links, missing anchors, and whatever comes from elsewhere."""

import pytest

from tools.docs.checks import problems

GOOD = """<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://x.org/">
<h1 id="top">A</h1><a href="sub/b.html#part">b</a><a href="https://x.org">c</a><a href="#top">d</a>
<a href="sub/">e</a><img src="p%20q.png">"""
BAD = """<script src="https://x.org/a.js"></script><script src="//x.org/b.js"></script>
<a href="gone.html">a</a><a href="#gone">b</a><a href="b.html#gone">c</a><a href="../../up">d</a>
<img src="gone.png">"""


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_whole_site(tmp_path):
    write(tmp_path, index_dot_html=GOOD, a_dot_css="a { background: url(p.png) }")
    write(tmp_path, sub__b_dot_html='<p id="part">', sub__index_dot_html="")
    write(tmp_path, p_dot_png="")
    (tmp_path / "p q.png").touch()
    assert problems(tmp_path) == []


def test_what_is_broken(tmp_path):
    write(tmp_path, a_dot_html=BAD, b_dot_html="", c_dot_css="@import url('https://x.org/f')")
    assert problems(tmp_path) == [
        "a.html fetches https://x.org/a.js",
        "a.html fetches //x.org/b.js",
        "a.html: gone.html is not there",
        "a.html: #gone has no such anchor",
        "a.html: b.html#gone has no such anchor",
        "a.html: ../../up is not there",
        "a.html: gone.png is not there",
        "c.css fetches https://x.org/f",
    ]


@pytest.mark.parametrize(
    "element",
    [
        '<img srcset="a.css 1x, {} 2x">',
        '<video poster="{}"></video>',
        '<video src="{}"></video>',
        '<audio src="{}"></audio>',
        '<object data="{}"></object>',
        '<embed src="{}">',
        '<picture><source srcset="{} 2x"></picture>',
        '<svg><use href="{}"/><image xlink:href="a.css"/></svg>',
        '<svg><image xlink:href="{}"/></svg>',
        '<input type="image" src="{}">',
        '<div style="background: url({})"></div>',
        "<style>/* url(no) */ a {{ background: url('{}') }}</style>",
        '<style>@import "{}";</style>',
        '<link rel="preload" href="{}">',
    ],
)
def test_whatever_an_element_fetches_is_looked_at(tmp_path, element):
    write(tmp_path, a_dot_css="", index_dot_html=element.format("a.css"))
    assert problems(tmp_path) == []
    for address, words in (
        ("https://x.org/f", "index.html fetches https://x.org/f"),
        ("//x.org/f", "index.html fetches //x.org/f"),
        ("gone.f", "index.html: gone.f is not there"),
    ):
        write(tmp_path, index_dot_html=element.format(address))
        assert problems(tmp_path) == [words]


def test_style_sheets(tmp_path):
    good = '/* url(gone) */ a { background: url( "p.png" ), url(data:image/png;base64,AA) }'
    write(tmp_path, s__good_dot_css=good, s__p_dot_png="")
    assert problems(tmp_path) == []
    write(tmp_path, s__bad_dot_css='@import "//x.org/a"; a { background: url(gone.png) }')
    assert problems(tmp_path) == [
        "s/bad.css fetches //x.org/a",
        "s/bad.css: gone.png is not there",
    ]
