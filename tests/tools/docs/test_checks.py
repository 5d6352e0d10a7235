"""A broken site is seen: dead links, missing anchors, and whatever comes from elsewhere."""

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
