"""Label Studio's brush code against its description, published streams, and a naive reader."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.annotation_tools import blob, drawn_masks
from vitrail.data.formats.labelstudio_rle import decode, encode
from vitrail.errors import DataError
from vitrail.result.masks import Masks


def packed(bits: str) -> bytes:
    """Bits written as text, with spaces between codes, the last byte filled up with zeros."""
    plain = bits.replace(" ", "")
    plain += "0" * (-len(plain) % 8)
    return bytes(int(plain[i : i + 8], 2) for i in range(0, len(plain), 8))


def header(words: int, word: int = 8, sizes=(3, 4, 8, 16)) -> str:
    return f"{words:032b} {word - 1:05b} " + "".join(f"{size - 1:04b}" for size in sizes)


def naive(data: bytes) -> list[int]:
    """All words of a stream, read bit by bit as the README of @thi.ng/rle-pack describes it."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    words: list[int] = []
    while len(words) < total:
        repeated = take(1)
        count = take(sizes[take(2)]) + 1
        if repeated:
            words += [take(word)] * count
        else:
            words += [take(word) for _ in range(count)]
    return words


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, tuple[int, int]]:
    """A stream of random codes, repeats and literals, of an image of up to 8 x 8 px."""
    height, width = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    total = 4 * height * width
    word = draw(st.sampled_from([8, 8, 8, 1, 5, 16, 32]))
    sizes = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    bits, done = header(total, word, sizes), 0
    values = st.one_of(st.just(0), st.integers(0, 2**word - 1))
    while done < total:
        kind = draw(st.integers(0, 3))
        count = draw(st.integers(1, min(1 << sizes[kind], total - done)))
        repeated = draw(st.booleans())
        words = [draw(values) for _ in range(1 if repeated else count)]
        bits += f"{int(repeated)}{kind:02b}{count - 1:0{sizes[kind]}b}"
        bits += "".join(f"{value:0{word}b}" for value in words)
        done += count
    return packed(bits), (height, width)


@given(streams(), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_any_stream_is_read_as_described(stream, opacity):
    data, size = stream
    alpha = np.array(naive(data)).reshape(*size, 4)[..., 3]
    mask = decode(data, size, "here", opacity=opacity)
    np.testing.assert_array_equal(mask.dense()[0], alpha >= opacity)


@given(drawn_masks())
@settings(max_examples=150, deadline=None)
def test_any_mask_is_written_as_described(mask):
    data = encode(mask)
    words = np.array(naive(data)).reshape(*mask.size, 4)
    np.testing.assert_array_equal(words, np.repeat(mask.dense()[0, ..., None] * 255, 4, axis=2))
    assert decode(data, mask.size, "here") == mask


@given(drawn_masks())
@settings(max_examples=100, deadline=None)
def test_the_shortest_code_is_taken_for_each_run(mask):
    """As label-studio-sdk's ``encode_rle`` does, so that both write the same bytes."""
    bits = header(4 * mask.dense().size)
    for value, group in groupby(np.repeat(mask.dense().ravel() * 255, 4).tolist()):
        count = len(list(group))
        kind = next(kind for kind, size in enumerate((3, 4, 8, 16)) if count <= 1 << size)
        bits += f"1{kind:02b}{count - 1:0{(3, 4, 8, 16)[kind]}b}{value:08b}"
    assert encode(mask) == packed(bits)


def test_an_example_computed_by_hand():
    """The example of the README of @thi.ng/rle-pack: 1024 bytes that pack into 30."""
    runs = [(5, 1), (4, 2), (3, 3), (2, 4), (1, 5), (2, 4), (3, 3), (4, 2), (5, 1)]
    bits = header(1024) + " 111 0000000111111111 00000000"  # 512 zeros
    for count, value in runs:
        bits += f" {'000' if count == 1 else '100'} {count - 1:03b} {value:08b}"
    bits += f" 111 {1024 - 512 - 29 - 1:016b} 00000000"
    data = packed(bits)
    assert len(data) == 30
    expected = np.zeros(1024, int)
    expected[512:541] = np.repeat([v for _, v in runs], [n for n, _ in runs])
    assert naive(data) == expected.tolist()
    alpha = expected.reshape(16, 16, 4)[..., 3]
    for opacity in (1, 3):
        mask = decode(data, (16, 16), "here", opacity=opacity)
        np.testing.assert_array_equal(mask.dense()[0], alpha >= opacity)


def test_an_exported_stream_begins_as_ours():
    """The first bytes of a brush of Label Studio on an image of 3332 x 2527 px.

    From the public data set alkzar90/cell_benchmark (label_JSON.json), whose stroke begins far
    below the upper edge: nothing but runs of 65536 zeros.
    """
    published = "2,1,233,240,57,27,255,255,255,0,255,255,224,31,255,252,3,255,255,128,127,255,240"
    published += ",15,255,254,1,255,255,192,63,255,248,7,255,255,0,255,255,224,31,255,252,3,255,255"
    dense = np.zeros((1, 2527, 3332), bool)
    dense[0, 2000:2010, 50:60] = True
    mask = Masks.from_dense(dense)
    data = encode(mask)
    assert list(data[:46]) == [int(byte) for byte in published.split(",")]
    assert decode(data, mask.size, "here") == mask


def test_runs_longer_than_a_code_are_split():
    mask = Masks.from_dense(np.ones((1, 256, 256), bool))
    data = encode(mask)
    assert data == packed(header(4 * 65536) + " 111 1111111111111111 11111111" * 4)
    assert decode(data, mask.size, "here") == mask


def test_soft_edges_count_from_an_opacity_on():
    alpha = [0, 1, 127, 255]
    literal = "".join(f"{value:08b}" * 4 for value in alpha)
    data = packed(header(16) + " 010 00001111" + literal)
    found = [decode(data, (1, 4), "here", opacity=n).areas()[0] for n in (1, 2, 128, 255)]
    assert found == [3, 2, 1, 1]


@pytest.mark.parametrize("cut", [0, 3, 6, 8, 20])
def test_streams_that_are_cut_short_are_told(cut):
    data = encode(blob((20, 30)))[:cut]
    with pytest.raises(DataError, match="here: the brush"):
        decode(data, (20, 30), "here")


def test_literals_that_are_cut_short_are_told():
    data = packed(header(16) + " 010 00001111" + "1" * 20)
    with pytest.raises(DataError, match="ends after 0 of 16 bytes"):
        decode(data, (1, 4), "here")


def test_a_stream_that_claims_a_huge_image_is_not_decoded():
    data = packed(header(2**32 - 4) + " 111 1111111111111111 11111111")
    with pytest.raises(DataError, match="claims 4,294,967,292 bytes, expected 80"):
        decode(data, (4, 5), "here")
