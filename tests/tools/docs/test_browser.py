"""The page that runs the network in the browser gives what Keras gives: in a real Chromium."""

import base64
import functools
import http.server
import json
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tools.docs import browser
from tools.docs.staging import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TOLERANCE = 1e-4  # of the largest value of an output, at least of 1


def test_the_model_has_every_grid_of_every_layer():
    model, places = browser.grids_model()
    assert len(places) == len(model.outputs)
    for place, output in zip(places, model.outputs, strict=True):
        assert output.shape[1] == output.shape[2] == 64 // 2 ** place["grid"]
    assert places[-1] == {"layer": "maps", "grid": 0}
    assert {place["grid"] for place in places if place["layer"] == "block1_layer1"} == {0, 1, 2, 3}
    image = np.random.default_rng(0).random((1, 64, 64, 1), "float32")
    maps = browser.network().predict(image, verbose=0)
    np.testing.assert_allclose(model.predict(image, verbose=0)[-1], maps, atol=1e-6)


def test_the_digits_are_whole_and_the_network_knows_them(tmp_path):
    browser.write_digits(tmp_path)
    record = json.loads((tmp_path / "digits.json").read_text())
    side, digits = record["side"], record["digits"]
    assert [d["label"] for d in digits] == sorted([*range(10)] * browser.DIGITS_PER_CLASS)
    glyphs = np.stack(
        [np.frombuffer(base64.b64decode(d["pixels"]), "uint8").reshape(side, side) for d in digits]
    )
    edge = np.concatenate([glyphs[:, [0, -1]].reshape(-1), glyphs[:, :, [0, -1]].reshape(-1)])
    assert edge.max() < 8  # nothing is cut off
    assert glyphs.max(axis=(1, 2)).min() > 200
    # At half their size, alone on a canvas.
    canvases = np.zeros((len(digits), 64, 64, 1), "float32")
    half = glyphs.reshape(-1, side // 2, 2, side // 2, 2).mean((2, 4)) / 255
    begin = 32 - side // 4
    canvases[:, begin : begin + side // 2, begin : begin + side // 2, 0] = half
    found = browser.network().predict(canvases, verbose=0).sum((1, 2)).argmax(-1)
    assert np.mean(found == [d["label"] for d in digits]) > 0.9
    assert (tmp_path / "digits.json").stat().st_size < 200_000


def test_the_runtime_is_pinned_by_hash_and_names_no_host():
    lock = json.loads((ROOT / "docs/try/package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((ROOT / "docs/try/package.json").read_text(encoding="utf-8"))
    assert wanted["dependencies"] == lock["packages"][""]["dependencies"]
    for name, package in lock["packages"].items():
        if name:
            assert package["integrity"].startswith("sha512-")
            assert "resolved" not in package  # npm asks the registry that it is told


def _write_page_alone(folder):
    """The body of docs/try.md as a page, with what it loads."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnx")
    try:
        browser.write(folder, ROOT / "build" / "docs" / "npm")
    except browser.FetchError as error:
        pytest.skip(str(error))
    for name in ("try.js", "try.css"):
        shutil.copyfile(ROOT / "docs" / "try" / name, folder / "try" / name)
    text = (ROOT / "docs" / "try.md").read_text(encoding="utf-8")
    body = text[text.index("<link rel") : text.index("The digits are from")]
    head = (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    (folder / "try.html").write_text(f"{head}<title>t</title>{body}", encoding="utf-8")


@pytest.fixture(scope="module", params=["site", "page alone"])
def address(request, tmp_path_factory):
    """Where the page is served: as `make docs` has built it, and without the site around it."""
    if request.param == "site":
        folder = ROOT / "build" / "docs" / "site"
        if not (folder / "try.html").is_file():
            pytest.skip("the site is not built: make docs")
    else:
        folder = tmp_path_factory.mktemp("site")
        _write_page_alone(folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/try.html"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox it starts in containers, too; it sees our own page alone.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(chromium, address, request):
    """The page in a window, once its first canvas is computed; errors and foreign requests fail."""
    context = chromium.new_context(**getattr(request, "param", {}))
    page = context.new_page()
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith(("http://127.0.0.1:", "data:", "blob:")) else
        complaints.append(r.url),
    )  # fmt: skip
    page.goto(address)
    page.wait_for_selector("#try-scatter:enabled", timeout=120_000)
    settle(page)
    yield page
    context.close()
    # A browser asks for an icon, which a folder of files has not.
    assert [c for c in complaints if "404" not in c] == []


def settle(page):
    """Wait until the network has seen what stands on the canvas."""
    page.wait_for_function("window.tryIt.idle() && document.querySelector('#try').dataset.runs > 0",
                           timeout=120_000)  # fmt: skip


def read(page):
    """The canvas, and the outputs in their order."""
    ink = np.array(page.evaluate("Array.from(window.tryIt.ink)"), "float32").reshape(1, 64, 64, 1)
    found = page.evaluate(
        "window.tryIt.outputs().map((o) => [o.side, o.channels, Array.from(o.data)])"
    )
    return ink, [
        np.array(data, "float32").reshape(1, side, side, channels) for side, channels, data in found
    ]


def compare(page, model):
    """Compare all outputs with Keras's, and return the canvas and the maps."""
    ink, outputs = read(page)
    expected = [np.asarray(each) for each in model.predict(ink, verbose=0)]
    assert len(outputs) == len(expected)
    for made, wanted in zip(outputs, expected, strict=True):
        assert made.shape == wanted.shape
        assert np.abs(made - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(made, wanted, atol=TOLERANCE)  # the maps, by themselves
    return ink, made


@pytest.fixture(scope="module")
def keras_model():
    return browser.grids_model()[0]


@pytest.mark.slow
def test_scattered_digits_are_found_as_keras_finds_them(page, keras_model):
    ink, maps = compare(page, keras_model)
    assert (ink > 0.3).sum() > 100
    # Nearly all of the ink belongs to some digit.
    assert (maps[ink[..., 0] > 0.5] > 0.5).any(-1).mean() > 0.8
    shown = page.locator("#try-legend .found").all_inner_texts()
    present = [i for i in range(10) if (maps[..., i] >= 0.5).any()]
    assert [int(text.split()[0][0]) for text in shown] == present
    before = ink
    page.click("#try-scatter")
    page.wait_for_function("document.querySelector('#try').dataset.runs > 1", timeout=120_000)
    settle(page)
    ink, _ = compare(page, keras_model)
    assert not np.array_equal(ink, before)


@pytest.mark.slow
def test_a_drawn_digit_is_found_as_keras_finds_it(page, keras_model):
    page.click("#try-clear")
    settle(page)
    ink, maps = compare(page, keras_model)
    assert ink.max() == 0
    assert maps.max() < 0.5
    box = page.locator("#try-canvas").bounding_box()

    def at(row, column):
        return box["x"] + box["width"] * column / 64, box["y"] + box["height"] * row / 64

    # A nought.
    points = [(32 + 9 * np.sin(a), 32 + 6 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 24)]

    def stroke():
        page.mouse.move(*at(*points[0]))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*at(*point))
        page.mouse.up()

    stroke()
    settle(page)
    ink, maps = compare(page, keras_model)
    assert ink[0, 32, 38, 0] > 0.5
    assert ink[0, 32, 32, 0] == 0
    assert maps[0].sum((0, 1)).argmax() == 0
    # Rubbed out again, along the same way.
    page.click("#try-erase")
    stroke()
    settle(page)
    ink, _ = compare(page, keras_model)
    assert ink.max() < 0.5


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.slow
@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_on_a_phone(page, keras_model):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.tap("#try-clear")
    page.tap("#try-canvas")
    settle(page)
    ink, _ = compare(page, keras_model)
    assert ink[0, 31:33, 31:33, 0].min() > 0.5
    # A grid's channels are shown when it is tapped.
    page.tap("#try-grids button[title^='block2_layer1, 16']")
    assert page.locator("#try-channels canvas").count() == 16
    assert page.inner_text("#try-detail-name") == "block2_layer1, 16×16"  # noqa: RUF001


def test_the_script_reads_what_is_exported(tmp_path):
    """Names that the page's script and the record share."""
    script = Path(ROOT / "docs/try/try.js").read_text(encoding="utf-8")
    assert set(re.findall(r"\brecord\.(\w+)", script)) == {"input", "outputs", "palette"}
    assert set(re.findall(r'(?<!")\bdigits\.(\w+)', script)) == {"side", "frame", "digits"}
