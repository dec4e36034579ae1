from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.dataset.recipe import Recipe
from fused_clip.dataset.tar_samples import Archive, Sample, find_archives, image_of, samples
from fused_clip.support.errors import InputError
from tests.dataset.tars import pack


def grouped(path: Path) -> list[tuple[str, list[str]]]:
    return [(one.key, list(one.members)) for one in samples(Archive(path, "a/", "dataset.path"))]


def named(path: str | None, test_path: str | None = None, **options: object) -> list[list[str]]:
    recipe = Recipe.model_validate({"name": "mine", "path": path, **options})
    return [[archive.prefix for archive in part] for part in find_archives(recipe, test_path)]


def make(folder: Path, *names: str) -> Path:
    for name in names:
        pack(folder / name, {})
    return folder


def test_members_in_a_row_with_one_key_are_a_sample(tmp_path):
    names = ["1.JPG", "1.cls", "x.y/2.seg.png", "x.y/2.jpg", "._3.jpg", "__MACOSX/4.jpg", "readme", "5.jpg"]
    path = pack(tmp_path / "a.tar", dict.fromkeys(names, b""))
    assert grouped(path) == [("1", ["jpg", "cls"]), ("x.y/2", ["seg.png", "jpg"]), ("5", ["jpg"])]


def test_an_ignored_file_does_not_split_a_sample(tmp_path):
    path = pack(tmp_path / "a.tar", dict.fromkeys(["1.jpg", ".DS_Store", "note", "1.cls"], b""))
    assert grouped(path) == [("1", ["jpg", "cls"])]


keys = st.sampled_from(["1", "2", "a/1", "3"])
extensions = st.sampled_from(["jpg", "cls", "JPG", "seg.png"])


@given(st.lists(st.tuples(keys, extensions), max_size=10))
def test_a_repeated_member_or_key_is_refused_and_nothing_else(tmp_path_factory, files):
    path = pack(
        tmp_path_factory.mktemp("tar") / "a.tar", [(f"{key}.{extension}", b"") for key, extension in files]
    )
    runs = [key for place, (key, _) in enumerate(files) if place == 0 or files[place - 1][0] != key]
    lower = [(key, extension.lower()) for key, extension in files]
    if len(set(runs)) == len(runs) and len(set(lower)) == len(lower):
        assert [key for key, _ in grouped(path)] == runs
    else:
        with pytest.raises(InputError, match=r"dataset\.path: must have the members of a sample in a row"):
            grouped(path)


def sample(*extensions: str, size: int = 1) -> Sample:
    from fused_clip.dataset.tar_members import Member

    files = {extension: Member(f"1.{extension}", 0, size) for extension in extensions}
    return Sample(Archive(Path("a.tar"), "a/", "dataset.path"), "1", files)


@pytest.mark.parametrize(
    ("extensions", "column", "found"),
    [
        (("cls", "webp"), "image", "1.webp"),
        (("seg.png", "jpg"), "image", "1.jpg"),
        (("png", "jpg"), "JPG", "1.jpg"),
        (("png", "jpg"), "jpeg;jpg;png", "1.jpg"),
        (("seg.png", "jpg"), "seg.png", "1.seg.png"),
        (("bin", "cls"), "bin", "1.bin"),
    ],
)
def test_the_image_is_the_one_asked_for(extensions, column, found):
    image = image_of(sample(*extensions), column)
    assert not isinstance(image, str)
    assert image.name == found


def test_a_sample_without_an_image_says_what_it_has():
    assert image_of(sample("cls", "json"), "image") == "it has no image, but cls, json"
    assert image_of(sample("jpg"), "png") == "it has no image, but jpg"
    assert image_of(sample("jpg", size=3 << 30), "image") == "it has more than 2,147,483,648 bytes"


def test_several_images_are_a_choice():
    with pytest.raises(InputError, match=r"must choose one of the images of sample a/1 \(jpg, png\)"):
        image_of(sample("png", "jpg"), "image")


def test_a_folder_a_file_a_glob_and_braces_name_archives(tmp_path):
    make(tmp_path, "000.tar", "001.tar", "002.tar", "x.txt", ".hidden.tar")
    assert named(str(tmp_path)) == [["000/", "001/", "002/"]]
    assert named(str(tmp_path / "001.tar")) == [["001/"]]
    assert named(f"{tmp_path}/0*[12].tar") == [["001/", "002/"]]
    assert named(f"{tmp_path}/{{000..002}}.tar") == [["000/", "001/", "002/"]]
    assert named(f"{tmp_path}/{{002..001}}.tar") == [["002/", "001/"]]
    assert named(f"{tmp_path}/{{002,000}}.tar") == [["002/", "000/"]]


def test_the_last_braces_count_fastest_and_numbers_keep_their_width(tmp_path):
    make(tmp_path, *(f"{a}-{b}.tar" for a in "xy" for b in ("8", "9", "10")))
    expected = [f"{a}-{b}/" for a in "xy" for b in ("8", "9", "10")]
    assert named(f"{tmp_path}/{{x,y}}-{{8..10}}.tar") == [expected]
    with pytest.raises(InputError, match=r"2 of 3 tar files are not there: .*/x-08\.tar; .*/x-09\.tar"):
        named(f"{tmp_path}/x-{{08..10}}.tar")


def test_names_start_below_the_folder_that_all_share(tmp_path):
    make(tmp_path, "train/0.tar", "test/0.tar")
    assert named(f"{tmp_path}/train", f"{tmp_path}/test") == [["train/0/"], ["test/0/"]]
    assert named(f"{tmp_path}/train", f"{tmp_path}/test", from_split="test") == [["test/0/"]]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, r"dataset\.path: must name tar files, got None"),
        ("{place}/absent.tar", r"dataset\.path: 1 of 1 tar files are not there: .*absent\.tar"),
        ("{place}/*.png", r"dataset\.path: 1 of 1 tar files are not there: .*/\*\.png"),
        ("{place}/00{{0..9}}.tar", r"7 of 10 tar files are not there: .*/003\.tar; .*; and 2 more"),
        ("{place}/{{one}}.tar", r"must have a range {{000\.\.009}} or a list {{a,b}} in braces"),
        ("{place}/{{0..9999999999}}.tar", r"must name at most 1,000,000 tar files"),
        ("{place}/empty", r"must contain a tar file \(\.tar\)"),
        ("{place}/{{000,000}}.tar", r"each tar file may stand once; 1 do not: .*000\.tar"),
    ],
)
def test_archives_that_are_not_there_are_named(tmp_path, path, message):
    make(tmp_path, "000.tar", "001.tar", "002.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message.replace("{{", r"\{").replace("}}", r"\}")):
        named(path and path.format(place=tmp_path))


def test_one_archive_in_both_parts_is_refused(tmp_path):
    make(tmp_path, "000.tar")
    with pytest.raises(InputError, match=r"each tar file may stand once"):
        named(f"{tmp_path}/000.tar", f"{tmp_path}/../{tmp_path.name}/000.tar")


def test_a_link_out_of_the_folder_is_refused_unless_allowed(tmp_path):
    make(tmp_path, "in/000.tar", "out/001.tar")
    (tmp_path / "in" / "001.tar").symlink_to(tmp_path / "out" / "001.tar")
    with pytest.raises(InputError, match=r"dataset\.path: must be inside .*outside_root"):
        named(f"{tmp_path}/in")
    assert named(f"{tmp_path}/in", outside_root=True) == [["000/", "001/"]]
