"""The catalogue says only what can be so."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from vitrail.data.catalogue import CATALOGUE, Archive, Entry, find
from vitrail.data.formats import formats
from vitrail.errors import ParameterError, UnknownNameError

ARCHIVES = sorted(
    {
        archive.name: archive for e in CATALOGUE for part in e.parts for archive in part.archives
    }.items()
)


def test_the_six() -> None:
    assert {entry.name for entry in CATALOGUE} == {
        "coco-2017",
        "voc-2012",
        "open-images-v6",
        "cityscapes",
        "camvid",
        "oxford-iiit-pet",
    }


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_entry(entry: Entry) -> None:
    assert entry.format in formats()
    names = [part.name for part in entry.parts]
    assert len(set(names)) == len(names)
    assert set(entry.default) <= set(names)
    assert entry.licence and entry.citation and entry.terms_url.startswith("http")
    by_hand = any(archive.url is None for part in entry.parts for archive in part.archives)
    assert by_hand == bool(entry.login)
    files = {}
    for part in entry.parts:
        for archive in part.archives:
            assert files.setdefault(archive.name, archive) == archive, "one name, two files"


@pytest.mark.parametrize(
    "archive", [one for _, one in ARCHIVES], ids=[name for name, _ in ARCHIVES]
)
def test_archive(archive: Archive) -> None:
    assert re.fullmatch(r"[\w.-]+", archive.name)
    address = archive.url or archive.page or ""
    assert urlsplit(address).scheme in ("http", "https") and urlsplit(address).hostname
    if archive.url:
        assert archive.url.endswith("/" + archive.name)
    assert archive.sha256 is None or re.fullmatch("[0-9a-f]{64}", archive.sha256)
    assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5)
    published = bool(archive.size or archive.checksums)
    assert published == (archive.source != "not published"), "numbers have a source"
    # What comes unencrypted, and is large, is checked by more than its length where that is known.
    if archive.size and archive.url:
        assert archive.sha256


def test_numbers_agree_with_torchvision() -> None:
    """MD5 as torchvision's own classes have them, read from the installed version."""
    from torchvision.datasets import OxfordIIITPet
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = dict(ARCHIVES)
    pets = {url.rpartition("/")[2]: (url, md5) for url, md5 in OxfordIIITPet._RESOURCES}
    for name, (url, md5) in pets.items():
        assert (known[name].url, known[name].md5) == (url, md5)
    voc = DATASET_YEAR_DICT["2012"]
    archive = known[voc["filename"]]
    assert (archive.url, archive.md5) == (voc["url"], voc["md5"])


def test_find() -> None:
    assert find("camvid").format == "camvid"
    with pytest.raises(UnknownNameError, match="did you mean 'coco-2017'"):
        find("coco")
    with pytest.raises(ParameterError, match=r"no part 'trian'; did you mean 'train'"):
        find("coco-2017").part("trian")


def test_size_of_a_part() -> None:
    assert find("coco-2017").part("annotations").size == 252_907_541
    assert find("camvid").part("all").size is None
