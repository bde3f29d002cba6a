"""The public surface: exactly these names, found without loading anything heavy."""

import subprocess
import sys

import pytest

import vitrail
from vitrail import errors

PUBLIC = {
    "EdgeResult",
    "Image",
    "InstanceResult",
    "Learner",
    "RegionResult",
    "Result",
    "Segmenter",
    "SemanticResult",
    "VitrailError",
    "__version__",
    "list_models",
    "load",
    "read_image",
    "refine",
    "train",
}


def test_the_surface_is_what_it_is() -> None:
    assert set(vitrail.__all__) == PUBLIC == set(dir(vitrail))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_resolves(name: str) -> None:
    value = getattr(vitrail, name)
    assert value is getattr(vitrail, name)
    if name != "__version__":
        assert value.__doc__


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = vitrail.lod


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys; import vitrail; "
        "print(sorted({'torch', 'numpy', 'cv2', 'PIL', 'pydantic'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_classical_methods_do_not_wait_for_torch() -> None:
    code = (
        "import sys, numpy, vitrail; "
        "vitrail.load('kmeans', k=2)(numpy.arange(300, dtype='uint8').reshape(10, 10, 3)); "
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_every_error_is_a_vitrail_error_and_a_builtin_one() -> None:
    raised = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    for error in raised:
        assert issubclass(error, errors.VitrailError)
        assert error.__name__ in (errors.__doc__ or "")
        assert error.__doc__
        if error is not errors.VitrailError:
            assert issubclass(error, OSError | ValueError | LookupError | ImportError)


def test_nearest_names() -> None:
    assert errors.nearest("kmean", ["kmeans", "otsu"]) == "did you mean 'kmeans'?"
    assert errors.nearest("zzz", ["b", "a"]) == "known names: a, b"
