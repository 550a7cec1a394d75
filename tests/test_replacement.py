"""Files are replaced as a whole."""

import pytest

from fluxan.errors import FileError, OutputError
from fluxan.replacement import replacing, replacing_folder


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


def test_folders_appear_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "folder"
    with replacing_folder(path, marker="mark") as unfinished:
        (unfinished / "mark").write_text("first")
        assert not path.exists()
    with pytest.raises(OutputError, match="folder exists; choose another"), replacing_folder(path, marker="mark"):
        pass

    def interrupted():
        with replacing_folder(path, marker="mark", overwrite=True) as unfinished:
            (unfinished / "mark").write_text("sec")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (path / "mark").read_text() == "first"
    with replacing_folder(path, marker="mark", overwrite=True) as unfinished:
        (unfinished / "mark").write_text("second")
        assert (path / "mark").read_text() == "first"
    assert (path / "mark").read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_folders_of_others_are_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with (
        pytest.raises(OutputError, match="mine is not replaced: it has no mark"),
        replacing_folder(tmp_path / "mine", marker="mark", overwrite=True),
    ):
        pass
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"
    with (
        pytest.raises(FileError, match="the trajectory"),
        replacing_folder(tmp_path / "new", marker="mark"),
    ):
        raise FileError("the trajectory")
    with (
        pytest.raises(OutputError, match="new cannot be written: full"),
        replacing_folder(tmp_path / "new", marker="mark"),
    ):
        raise OSError(28, "full")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
