from pathlib import Path

import pytest

from experiments.site_links import main


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "a.html").write_text(
        '<a href="sub/b.html#here">b</a> <a href="https://elsewhere.org/x">x</a> <img src="sub/c%20d.png">'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.html").write_text(
        '<h1 id="here">B</h1> <a href="#here">up</a> <a href="../a.html">a</a>'
    )
    (tmp_path / "sub/c d.png").touch()
    return tmp_path


def test_a_site_whose_links_lead_somewhere_passes(site: Path) -> None:
    assert main([str(site)]) == 0


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('<a href="gone.html">g</a>', "a.html: links to gone.html, which is not there"),
        (
            '<a href="sub/b.html#there">g</a>',
            "a.html: links to sub/b.html#there, and that page has no such anchor",
        ),
        ('<a href="#there">g</a>', "a.html: links to #there, and that page has no such anchor"),
        ('<img src="gone.png">', "a.html: links to gone.png, which is not there"),
        ('<script src="https://cdn.org/x.js"></script>', "a.html: loads https://cdn.org/x.js from elsewhere"),
    ],
)
def test_a_wrong_link_is_named(site: Path, added: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with (site / "a.html").open("a") as file:
        file.write(added)
    assert main([str(site)]) == 1
    assert capsys.readouterr().out.splitlines() == [said]


def test_a_folder_without_pages_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "make docs-site" in capsys.readouterr().err
