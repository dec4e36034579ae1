"""Which uploads are answered."""

from fused_clip.app import uploads as limits
from fused_clip.app.uploads import Upload, accept


def named(*names: str) -> list[Upload]:
    return [Upload.of(name, name.encode("utf-8", "surrogatepass")) for name in names]


def test_a_file_is_tried_whatever_its_name_and_a_folder_gives_its_images() -> None:
    folder = named(
        "photos/a.jpg", "photos/.DS_Store", "photos/.hidden.png", "photos/notes.txt", "photos/b/c.PNG"
    )
    found = accept(named("page.html", "b.svg"), folder)
    assert [upload.name for upload in found.uploads] == [
        "page.html",
        "b.svg",
        "photos/a.jpg",
        "photos/b/c.PNG",
    ]
    assert (found.other_files, found.too_many) == (3, 0)


def test_images_beyond_the_most_are_counted_and_not_read() -> None:
    def unread() -> bytes:
        raise AssertionError("an image was read")

    many = [Upload(f"{n}.png", b"", unread) for n in range(limits.MOST_IMAGES + 7)]
    found = accept(many[:10], many[10:])
    assert found.uploads == tuple(many[: limits.MOST_IMAGES])
    assert found.too_many == 7


def test_equal_contents_have_one_key_and_others_another() -> None:
    first, second, third = (
        Upload.of(name, content) for name, content in (("a", b"1"), ("b", b"1"), ("a", b"2"))
    )
    assert first.key == second.key != third.key
    assert first.read() == b"1"


def test_a_name_that_is_no_text_can_be_written() -> None:
    (kept,) = accept(named("\udcff.png"), []).uploads
    assert kept.name.encode() == rb"\udcff.png"
