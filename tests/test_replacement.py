"""Files are replaced as a whole."""

import pytest

from fluxan.errors import OutputError
from fluxan.replacement import replacing


def test_the_new_file_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with replacing(path, parents=True) as unfinished:
        unfinished.write_text("first")
        assert not path.exists()
    with replacing(path) as unfinished:
        unfinished.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_file(tmp_path, interruption):
    path = tmp_path / "file.txt"
    path.write_text("first")

    def interrupted():
        with replacing(path) as unfinished:
            unfinished.write_text("sec")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_failures_are_told(tmp_path):
    with (
        pytest.raises(OutputError, match=r"missing/file\.txt cannot be written: No such file"),
        replacing(tmp_path / "missing" / "file.txt") as unfinished,
    ):
        unfinished.write_text("")
    with (
        pytest.raises(OutputError, match="a library's reason"),
        replacing(tmp_path / "file.txt", failures=(RuntimeError,)),
    ):
        raise RuntimeError("a library's reason")
