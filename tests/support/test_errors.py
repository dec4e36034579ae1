"""Errors of parts: those of other packages become one line, ours stay what they are."""

import pytest
from sklearn.cluster import KMeans

from fused_clip.method.fusion import mean
from fused_clip.support.errors import InputError, part_errors


def test_an_error_of_another_package_is_a_line() -> None:
    with (
        pytest.raises(
            InputError, match=r"^text: tests\..*own failed \(ZeroDivisionError: division by zero\)"
        ),
        part_errors("text", own),
    ):
        own()


def own() -> float:
    return 1 / 0


def test_scikit_learn_names_its_parameter() -> None:
    message = r"^clusterer\.tol: must be a float .*, got 'x'$"
    with pytest.raises(InputError, match=message), part_errors("clusterer", KMeans()):
        KMeans(tol="x").fit([[0.0], [1.0]])


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError(), InputError("a", "b")])
def test_errors_of_files_memory_and_input_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, part_errors("text", own):
        raise error
    assert caught.value is error


def test_errors_of_this_package_pass() -> None:
    with pytest.raises(KeyError), part_errors("fusion", mean):
        raise KeyError
