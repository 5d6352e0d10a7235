"""What tools and `help` see of the constructors."""

import inspect
import pydoc

import griffe
import pytest

from keras_mg import applications
from keras_mg.applications._records import NETWORKS

NAMES = sorted(NETWORKS)
SECTIONS = ("Args:", "Returns:", "Raises:", "Example:", "Reference:")


@pytest.fixture(scope="module")
def package():
    """The package as a documentation generator reads it: without importing it."""
    return griffe.load("keras_mg", docstring_parser="google", allow_inspection=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_static_reader_sees_every_parameter_and_the_docstring(package, name):
    static = package[f"applications.{name}"].final_target
    parameters = inspect.signature(getattr(applications, name)).parameters
    assert [p.name for p in static.parameters] == list(parameters)
    assert all(p.annotation is not None for p in static.parameters)
    assert static.docstring.value == inspect.getdoc(getattr(applications, name))
    (arguments,) = (part for part in static.docstring.parsed if part.kind.value == "parameters")
    assert {argument.name for argument in arguments.value} <= set(parameters)


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_every_argument_with_its_default(name):
    construct = getattr(applications, name)
    page = pydoc.plain(pydoc.render_doc(construct))
    for key, parameter in inspect.signature(construct).parameters.items():
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        assert f"{key}: {parameter.annotation!r}{default}" in page
        # Explained there, or among the arguments of all.
        own = f"\n        {key}: " in page
        assert own or f"\n- `{key}`: " in applications.__doc__, key
    assert all(f"\n    {section}" in page for section in SECTIONS)
    assert f"applications.{name}(" in page


def test_the_source_is_the_constructor():
    source = inspect.getsource(applications.RMG34)
    assert "def RMG34(" in source
    assert 'return _imagenet("RMG34", (3, 4, 6, 3), **locals())' in source
    assert applications.RMG34.__module__ == "keras_mg.applications.multigrid"


@pytest.mark.parametrize("name", NAMES)
def test_positions_and_defaults_are_those_of_keras_applications(name):
    parameters = inspect.signature(getattr(applications, name)).parameters
    shared = ["include_top", "weights", "input_tensor", "input_shape", "pooling"]
    shared += ["classifier_activation", "name"]
    if "outputs" not in parameters:
        shared.insert(-2, "classes")
    start = list(parameters).index("include_top")
    positional = [k for k, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional[start:] == shared
    stem = name.removeprefix("Seg")
    assert parameters["name"].default == (f"seg_{stem}" if stem != name else name).lower()
    form = NETWORKS[name].forms[0]
    assert parameters["outputs" if "outputs" in parameters else "classes"].default == form.classes
