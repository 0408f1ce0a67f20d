"""What is accepted as an image, and what is kept of it."""

from __future__ import annotations

import contextlib
import io
import time
import zlib
from dataclasses import dataclass

import pytest
from PIL import Image, ImageCms, ImageDraw

from images import colours, decoding, jpeg, libwebp, limits, png, stills, turns, webp
from internal import context
from internal.problems import ProblemError
from tests.images import marked, pictures
from tests.images.pictures import SECRET, animated, animation, corners, opened, photo, saved

FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


@dataclass
class Kept:
    """The bytes of what is stored."""

    result: decoding.Converted
    original: bytes
    avatar: bytes
    card: bytes


def convert(data: bytes) -> Kept:
    with decoding.converted(io.BytesIO(data)) as result:
        return Kept(result, result.original.file.read(), result.avatar.file.read(), result.card.file.read())


def refusal(data: bytes) -> tuple[str, str]:
    """Code and message, the same from the dry run and from storing."""
    with pytest.raises(ProblemError) as dry:
        decoding.check(io.BytesIO(data))
    with pytest.raises(ProblemError) as real:
        convert(data)
    assert dry.value.problem == real.value.problem
    (error,) = dry.value.problem.errors
    assert (error.field, error.code) == ("image", dry.value.problem.code)
    return error.code, error.message


PNG = saved(photo(), "PNG")
JPEG = saved(photo(), "JPEG")
WEBP = saved(photo(), "WEBP")
GIF = animated("GIF", animation(), duration=100)
WIDE_WEBP = animated("WEBP", animation(), duration=50).replace((47).to_bytes(3, "little"), b"\x00\x40\x00", 1)
LONG_GIF = animated("GIF", [Image.new("L", (2, 2), n % 256) for n in range(201)], duration=20)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        pytest.param(b"", "not_an_image", "The file is empty.", id="empty"),
        pytest.param(b"hello, this is text", "not_an_image", "text", id="text"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image", "SVG", id="svg"),
        pytest.param(b'<?xml version="1.0"?>\n<svg/>', "not_an_image", "SVG", id="svg behind an XML declaration"),
        pytest.param(b"%PDF-1.7\n", "not_an_image", "PDF", id="pdf"),
        pytest.param(b"\0\0\0\x1cftypheic\0\0\0\0", "not_an_image", "HEIC", id="heic"),
        pytest.param(saved(photo(), "BMP"), "not_an_image", "PNG, JPEG, WebP or GIF", id="bmp"),
        pytest.param(saved(photo(), "TIFF"), "not_an_image", "PNG, JPEG, WebP or GIF", id="tiff"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", "not_an_image", "PNG, JPEG, WebP or GIF", id="wave"),
        pytest.param(PNG[: len(PNG) // 2], "not_an_image", "damaged or incomplete", id="half a PNG"),
        pytest.param(PNG[:20], "not_an_image", "damaged or incomplete", id="the first bytes of a PNG"),
        pytest.param(JPEG[: len(JPEG) // 2], "not_an_image", "damaged or incomplete", id="half a JPEG"),
        pytest.param(WEBP[: len(WEBP) // 2], "not_an_image", "damaged or incomplete", id="half a WebP"),
        pytest.param(GIF[: len(GIF) // 2], "not_an_image", "damaged or incomplete", id="half a GIF"),
        pytest.param(GIF[:-1], "not_an_image", "damaged or incomplete", id="a GIF without its end"),
        pytest.param(pictures.png_header(50_000, 50_000), "too_many_pixels", "50,000 by 50,000", id="bomb"),
        pytest.param(pictures.png_header(50_000, 50_000)[:30], "too_many_pixels", "40 million", id="bomb, cut off"),
        pytest.param(pictures.png_header(8001, 5000), "too_many_pixels", "8,001 by 5,000", id="just over the limit"),
        pytest.param(pictures.webp_canvas(16_000, 16_000), "too_many_pixels", "16,000 by 16,000", id="WebP canvas"),
        pytest.param(WIDE_WEBP, "not_an_image", "damaged", id="a WebP canvas wider than any picture"),
        pytest.param(LONG_GIF, "too_many_frames", "200 frames", id="201 frames"),
    ],
)
def test_bad_files_are_refused_with_a_code_and_a_helpful_message(data: bytes, code: str, words: str) -> None:
    got_code, message = refusal(data)

    assert got_code == code
    assert words in message


def test_a_png_whose_palette_is_missing_is_damaged() -> None:
    data = saved(corners(mode="P"), "PNG")
    at = data.index(b"PLTE") - 4
    size = int.from_bytes(data[at : at + 4], "big")

    assert refusal(data[:at] + data[at + size + 12 :])[0] == "not_an_image"


def test_a_header_that_claims_2500_megapixels_is_refused_at_once() -> None:
    started = time.monotonic()

    refusal(pictures.png_header(50_000, 50_000))

    assert time.monotonic() - started < 0.2


def test_frames_that_add_up_to_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANIMATION_PIXELS", 48 * 32 * 4 - 1)

    for name in ("GIF", "WEBP"):
        code, message = refusal(animated(name, animation(), duration=100))

        assert code == "too_many_pixels"
        assert "48 by 32, 4 frames" in message


def test_what_is_exactly_as_large_as_it_may_be_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FRAMES", 4)
    monkeypatch.setattr(limits, "MAX_PIXELS", 48 * 32)
    monkeypatch.setattr(limits, "MAX_WEBP_CANVAS", 48 * 32)
    monkeypatch.setattr(limits, "MAX_ANIMATION_PIXELS", 48 * 32 * 4)

    for name in ("GIF", "WEBP"):
        assert convert(animated(name, animation(4), duration=100)).result.animated
        assert refusal(animated(name, animation(5), duration=100))[0] == "too_many_frames"
        assert refusal(animated(name, animation(2, (49, 32)), duration=100))[0] == "too_many_pixels"
    for name in FORMATS:
        assert convert(saved(photo(48, 32), name)).result.width == 48
        assert refusal(saved(photo(48, 33), name))[0] == "too_many_pixels"


@pytest.mark.parametrize("filler", [b"\x21\xfe\x00" * 50_000, b"\x21\xfe" + b"\x01x" * 2_000_000 + b"\x00"])
def test_a_gif_that_is_mostly_filler_costs_no_time(filler: bytes) -> None:
    data = saved(corners(), "GIF")
    started = time.monotonic()

    with contextlib.suppress(ProblemError):
        decoding.check(io.BytesIO(data[:-1] + filler + b";"))

    assert time.monotonic() - started < 1.5


SCANS = saved(photo(), "JPEG", progressive=True)
END = SCANS.rindex(b"\xff\xd9")
NOTE = marked.segment(0xE1, b"Exif\0\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(pictures.with_scans(SCANS, 100), "more than 100 scans", id="scans"),
        pytest.param(marked.jpeg_with(JPEG, b"\xff\xef\0\2" * 2_600_000), "parts", id="empty segments"),
        pytest.param(marked.jpeg_with(JPEG, NOTE * 1_000_000), "parts", id="notes that add up"),
        pytest.param(JPEG[:2] + JPEG[-2:] + NOTE * 1000 + JPEG[2:], "parts", id="segments behind an early end"),
        pytest.param(SCANS[:END] + NOTE * 1000 + SCANS[END:], "parts", id="segments behind the scans"),
        pytest.param(marked.jpeg_with(JPEG, b"\xff" * 100_001), "parts", id="padding"),
        pytest.param(marked.jpeg_with(JPEG, NOTE + bytes(100_001)), "parts", id="filler"),
        pytest.param(b"\xff\xd8\xff" + b"\0" * 200_000, "parts", id="nothing but filler"),
        pytest.param(marked.png_with(PNG, marked.chunk(b"prVt", b"") * 860_000), "parts", id="empty chunks"),
        pytest.param(marked.png_with(PNG, marked.chunk(b"prVt", b"") * 501, before=b"IEND"), "parts", id="at the end"),
        pytest.param(marked.png_with(PNG, marked.chunk(b"IDAT", b"") * 20_001), "parts", id="empty pixel chunks"),
    ],
)
def test_a_file_of_too_many_parts_is_refused_before_pillow_opens_it(
    data: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(Image, "open", lambda file, **_: seen.append(file))

    code, message = refusal(data)

    assert code == "not_an_image"
    assert words in message
    assert not seen


def test_texts_of_a_png_that_add_up_to_too_much_are_refused() -> None:
    text = b"\0\1\0\0\0" + zlib.compress(b"a" * 1_000_000 + "\N{FISH}".encode())
    texts = [marked.chunk(b"iTXt", b"%d" % number + text) for number in range(9)]

    assert convert(marked.png_with(PNG, *texts[:8]))
    assert refusal(marked.png_with(PNG, *texts))[0] == "not_an_image"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SCANS, id="progressive"),
        pytest.param(saved(photo(), "JPEG", progressive=True, restart_marker_blocks=1), id="restarts"),
        pytest.param(saved(photo().convert("CMYK"), "JPEG", progressive=True, restart_marker_rows=1), id="18 scans"),
        pytest.param(pictures.with_scans(SCANS, 90), id="100 scans"),
        pytest.param(saved(photo(), "JPEG", icc_profile=bytes(1_000_000)), id="a profile in 16 segments"),
        pytest.param(marked.jpeg_with(JPEG, *[marked.segment(0xE2, bytes(65_533))] * 155), id="10 MB of notes"),
        pytest.param(marked.jpeg_with(JPEG, b"\xff" * 5000), id="some padding"),
        pytest.param(JPEG + NOTE * 5000, id="segments behind the end"),
        pytest.param(pictures.png_in_pieces(PNG, 10), id="pixels in small pieces"),
        pytest.param(marked.png_with(PNG, *[marked.chunk(b"tEXt", b"a\0b")] * 400), id="many texts"),
    ],
)
def test_a_file_of_many_parts_is_accepted(data: bytes) -> None:
    kept = convert(data)

    assert opened(kept.original).size == (320, 200)


def test_scans_and_segments_are_counted_as_libjpeg_meets_them() -> None:
    data = saved(photo().convert("CMYK"), "JPEG", progressive=True, restart_marker_blocks=1)
    # A marker within a segment is none, and neither is one behind the end.
    data = marked.jpeg_with(data, marked.segment(0xE5, b"\xff\xda\0\x08" * 500)) + SCANS * 100

    assert jpeg.scans(io.BytesIO(data)) == 18
    assert jpeg.scans(io.BytesIO(JPEG)) == 1
    assert jpeg.scans(io.BytesIO(b"\xff\xd8\xff")) == 0


def test_a_jpeg_of_many_scans_is_not_begun_when_there_is_no_time_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    in_role = turns.in_role

    def noted(*, alone: bool, seconds: float) -> contextlib.AbstractContextManager[None]:
        asked.append(seconds)
        return in_role(alone=alone, seconds=seconds)

    monkeypatch.setattr(turns, "in_role", noted)
    for data in (SCANS, pictures.with_scans(SCANS, 90)):
        convert(data)

    assert asked[1] - asked[0] == pytest.approx(90 * 320 * 200 * decoding.SECONDS_A_PIXEL_OF_A_SCAN)


def test_as_many_pieces_of_pixels_as_there_may_be_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures.png_in_pieces(PNG, 10)
    monkeypatch.setattr(png, "MOST_PIXEL_CHUNKS", data.count(b"IDAT"))
    convert(data)

    monkeypatch.setattr(png, "MOST_PIXEL_CHUNKS", data.count(b"IDAT") - 1)
    assert "parts" in refusal(data)[1]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_stored_in_the_same_format_with_avatar_and_card(name: str) -> None:
    kept = convert(saved(photo(1000, 700), name))

    kind = kept.result.kind
    assert kind == decoding.KINDS[name]
    assert (kept.result.width, kept.result.height, kept.result.animated) == (1000, 700, False)
    assert (opened(kept.original).format, opened(kept.original).size) == (name, (1000, 700))
    assert (opened(kept.avatar).format, opened(kept.avatar).size) == ("WEBP", (256, 256))
    assert (opened(kept.card).format, opened(kept.card).size) == ("WEBP", (640, 448))
    assert kept.result.original.size == len(kept.original)


@pytest.mark.parametrize(
    ("size", "card"), [((64, 48), (64, 48)), ((640, 10), (640, 10)), ((3000, 1), (640, 1)), ((1, 1), (1, 1))]
)
def test_a_card_is_never_larger_than_the_picture_and_an_avatar_always_a_square(
    size: tuple[int, int], card: tuple[int, int]
) -> None:
    kept = convert(saved(photo(*size), "PNG"))

    assert opened(kept.card).size == card
    assert opened(kept.avatar).size == (256, 256)


def test_an_avatar_shows_the_middle_of_the_picture() -> None:
    wide = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(wide).rectangle((300, 0, 599, 299), fill="red")

    avatar = opened(convert(saved(wide, "PNG")).avatar).convert("RGB")

    for point in ((4, 4), (251, 251), (128, 128)):
        red, green, blue = avatar.getpixel(point)
        assert red > 230
        assert max(green, blue) < 40


def with_everything(name: str) -> bytes:
    """A picture with every kind of metadata that the format knows, and something behind its end."""
    secret = SECRET.encode()
    match name:
        case "JPEG":
            data = saved(photo(), name, exif=pictures.exif(), xmp=pictures.xmp(), comment=secret)
            iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(secret).to_bytes(4, "big") + secret
            data = data[:2] + b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc + data[2:]
        case "PNG":
            data = saved(photo(), name, exif=pictures.exif(), pnginfo=pictures.png_text())
        case "WEBP":
            data = saved(photo(), name, exif=pictures.exif(), xmp=pictures.xmp())
        case _:
            data = pictures.with_gif_blocks(saved(photo(), name, comment=secret))
    assert secret in data
    return data + secret


@pytest.mark.parametrize("name", FORMATS)
def test_no_metadata_comes_through_in_any_stored_file(name: str) -> None:
    kept = convert(with_everything(name))

    for data in (kept.original, kept.avatar, kept.card):
        assert SECRET.encode() not in data
        image = opened(data)
        image.load()
        assert dict(image.getexif()) == {}
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop", "XML:com.adobe.xmp"} & set(image.info)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_applied(name: str, orientation: int) -> None:
    upright = corners(80, 48)
    turned_back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    as_shot = upright if turned_back is None else upright.transpose(turned_back)

    kept = convert(saved(as_shot, name, exif=pictures.exif(orientation)))

    assert (kept.result.width, kept.result.height) == (80, 48)
    stored = opened(kept.original).convert("RGB")
    for point in ((20, 12), (60, 12), (60, 36), (20, 36)):
        expected, got = upright.getpixel(point), stored.getpixel(point)
        assert max(abs(a - b) for a, b in zip(expected, got, strict=True)) < 60


@pytest.mark.parametrize(
    ("name", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("JPEG", "RGB")],
)
def test_colours_of_another_profile_are_kept_right(name: str, mode: str) -> None:
    red = Image.new("RGB", (64, 64), (255, 0, 0)).convert(mode)

    kept = convert(saved(red, name, icc_profile=pictures.swapped_profile()))

    for data in (kept.original, kept.avatar, kept.card):
        assert "icc_profile" not in opened(data).info
        r, g, b = opened(data).convert("RGB").getpixel((32, 32))
        assert b > 240
        assert max(r, g) < 40


@pytest.mark.parametrize(("name", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("WEBP", "RGBA")])
def test_colours_of_adobe_rgb_become_those_that_the_formulas_give(name: str, mode: str) -> None:
    palette = [(r, g, b) for r in range(0, 256, 15) for g in range(0, 256, 15) for b in range(0, 256, 15)]
    picture = Image.new("RGB", (len(palette), 1))
    picture.putdata(palette)
    options = {"lossless": True} if name == "WEBP" else {}

    kept = convert(saved(picture.convert(mode), name, icc_profile=pictures.adobe_profile(), **options))

    assert SECRET.encode() not in kept.original
    stored = list(opened(kept.original).convert("RGB").get_flattened_data())
    for colour, got in zip(palette, stored, strict=True):
        expected = pictures.adobe_in_srgb(colour)
        assert max(abs(a - b) for a, b in zip(expected, got, strict=True)) <= 3, (colour, expected, got)


@pytest.mark.parametrize("name", ["sRGB-elle-V2-g10.icc", "sRGB", "sRGB IEC61966-2.1"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_that_only_calls_itself_srgb_is_not_taken_for_it(name: str, mode: str) -> None:
    grey = Image.new("L", (32, 32), 55).convert(mode)  # 21.6 % of the light, which sRGB has at 128

    kept = convert(saved(grey, "PNG", icc_profile=pictures.linear_profile(name)))

    assert all(abs(value - 128) <= 3 for value in opened(kept.original).convert("RGB").getpixel((5, 5)))


@pytest.mark.parametrize("name", ["sRGB", "unnn"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_picture_in_srgb_keeps_its_exact_pixels(name: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))
    monkeypatch.setattr(colours, "_mapped", lambda *_: pytest.fail("converted"))
    picture = photo().convert(mode)

    kept = convert(saved(picture, "PNG", icc_profile=profile))

    assert opened(kept.original).mode == mode
    assert opened(kept.original).convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()


def test_colours_are_the_same_however_many_strips_a_picture_is_worked_in(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(photo(120, 90).convert("RGBA"), "PNG", icc_profile=pictures.adobe_profile())
    whole = convert(data).original
    monkeypatch.setattr(colours, "STRIP_PIXELS", 120 * 7)

    assert convert(data).original == whole


def test_a_lossless_webp_too_large_to_be_encoded_again_becomes_a_png_of_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stills, "MOST_EXACT_WEBP_PIXELS", 320 * 200 - 1)
    picture = photo()

    kept = convert(saved(picture, "WEBP", lossless=True))

    assert kept.result.kind == decoding.KINDS["PNG"]
    assert opened(kept.original).format == "PNG"
    assert opened(kept.original).convert("RGB").tobytes() == picture.tobytes()


def test_an_opaque_lossy_webp_stays_one_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "MOST_EXACT_WEBP_PIXELS", 1)

    kept = convert(saved(photo(), "WEBP"))

    assert (kept.result.kind, opened(kept.original).format) == (decoding.KINDS["WEBP"], "WEBP")


def test_a_lossy_webp_that_its_format_has_no_room_for_becomes_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save

    def without_room(image: Image.Image, target: object, format: str, **options: object) -> None:  # noqa: A002
        if format == "WEBP" and options.get("quality") == stills.WEBP_LOSSY_OPTIONS["quality"]:
            raise ValueError("encoding error 6")
        save(image, target, format=format, **options)  # type: ignore[arg-type]

    data = saved(photo(), "WEBP")
    monkeypatch.setattr(Image.Image, "save", without_room)

    kept = convert(data)

    assert kept.result.kind == decoding.KINDS["JPEG"]
    assert opened(kept.original).format == "JPEG"


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_decoded_to_the_same_pixels_as_pillow_decodes_it(lossless: bool, transparent: bool) -> None:
    picture = photo().convert("RGBA")
    if transparent:
        picture.putalpha(Image.radial_gradient("L").resize(picture.size))
    data = saved(picture, "WEBP", lossless=lossless)
    header = webp.parse(io.BytesIO(data))
    assert header is not None
    assert header.transparent == transparent

    decoded = libwebp.decoded(data, picture.size, transparent=header.transparent)

    assert decoded is not None
    assert decoded.convert("RGBA").tobytes() == opened(data).convert("RGBA").tobytes()


def test_a_webp_is_accepted_where_libwebp_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libwebp, "_decoder", lambda: None)
    picture = corners(80, 48)

    kept = convert(saved(picture.transpose(Image.Transpose.ROTATE_90), "WEBP", lossless=True, exif=pictures.exif(6)))

    assert opened(kept.original).convert("RGB").tobytes() == picture.tobytes()


def test_a_canvas_of_an_animated_webp_that_is_too_large_is_refused_with_its_own_words() -> None:
    size = (3000, 2767)
    frames = [Image.new("RGB", size, colour) for colour in ("red", "blue")]

    code, message = refusal(animated("WEBP", frames, duration=50, method=0))

    assert code == "too_many_pixels"
    assert "3,000 by 2,767" in message
    assert "8.3 million pixels in a frame" in message


def test_transparency_survives_a_change_of_colours() -> None:
    glass = Image.new("RGBA", (32, 32), (255, 0, 0, 90))

    kept = convert(saved(glass, "PNG", icc_profile=pictures.swapped_profile()))

    assert opened(kept.original).getpixel((5, 5))[3] == 90


def test_a_profile_that_is_none_or_fits_another_kind_of_picture_changes_nothing() -> None:
    for profile in (b"this is no profile", pictures.swapped_profile()):
        kept = convert(saved(Image.new("L", (16, 16), 77), "PNG", icc_profile=profile))

        assert opened(kept.original).getpixel((3, 3)) == 77


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_keeps_its_exact_pixels_in_every_mode(mode: str) -> None:
    picture = corners(mode=mode)

    kept = convert(saved(picture, "PNG"))

    assert opened(kept.original).convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()
    assert kept.result.original.size == len(kept.original)


def test_a_transparent_colour_of_a_palette_stays_transparent() -> None:
    picture = corners(mode="P")
    hole = picture.getpixel((0, 0))

    kept = convert(saved(picture, "PNG", transparency=hole))

    assert opened(kept.original).convert("RGBA").getpixel((0, 0))[3] == 0
    assert opened(kept.card).convert("RGBA").getpixel((2, 2))[3] < 30


def test_greys_of_16_bits_are_scaled_and_not_cut_off() -> None:
    kept = convert(saved(Image.new("I;16", (32, 32), 0x8000), "PNG"))

    assert opened(kept.original).getpixel((3, 3)) in {127, 128}


def test_a_lossless_webp_stays_lossless() -> None:
    picture = photo()

    kept = convert(saved(picture, "WEBP", lossless=True))

    assert opened(kept.original).convert("RGB").tobytes() == picture.tobytes()


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    kept = convert(saved(corners(mode="CMYK"), "JPEG"))

    assert opened(kept.original).mode == "RGB"


def test_a_jpeg_costs_no_more_bytes_than_before_however_it_was_compressed() -> None:
    for quality in (30, 75, 95):
        data = saved(photo(800, 600), "JPEG", quality=quality)

        assert len(convert(data).original) < 1.1 * len(data)


@pytest.mark.parametrize("quality", [1, 20, 49, 50, 75, 92, 98, 100])
def test_a_jpeg_of_a_usual_encoder_keeps_its_quantization(quality: int) -> None:
    data = saved(photo(), "JPEG", quality=quality)

    kept = opened(convert(data).original)

    assert kept.quantization == opened(data).quantization  # type: ignore[attr-defined]


def test_words_in_a_quantization_table_are_not_stored() -> None:
    table = (SECRET.encode() * 6)[:64]
    data = saved(photo(), "JPEG", qtables=[list(table), list(table)])
    at = data.index(b"\xff\xdb") + 5
    data = data[:at] + table + data[at + 64 :]  # in the file's own order

    kept = convert(data)

    assert SECRET.encode() in data
    assert SECRET.encode() not in kept.original


def test_a_jpeg_of_several_pictures_becomes_its_first() -> None:
    data = saved(photo(), "MPO", save_all=True, append_images=[corners(320, 200)])

    kept = convert(data)

    assert (opened(kept.original).format, kept.result.animated) == ("JPEG", False)


def test_an_animated_png_becomes_its_first_frame() -> None:
    frames = animation()

    kept = convert(animated("PNG", frames, duration=100))

    assert not kept.result.animated
    assert pictures.frames_of(kept.original) == [frames[0].convert("RGBA").tobytes()]


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_a_gif_keeps_every_pixel_of_its_frames_their_times_and_its_loop(disposal: int) -> None:
    data = animated("GIF", animation(), duration=[40, 200, 70, 1000], loop=3, disposal=disposal)

    kept = convert(pictures.with_gif_blocks(data))

    assert kept.result.animated
    assert pictures.frames_of(kept.original) == pictures.frames_of(data)
    assert pictures.durations_of(kept.original) == [40, 200, 70, 1000]
    assert opened(kept.original).info["loop"] == 3


def test_a_gif_keeps_what_is_transparent() -> None:
    frames = []
    for number in range(3):
        frame = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
        ImageDraw.Draw(frame).ellipse((number * 5, 2, number * 5 + 10, 12), fill=(200, 30, 30, 255))
        frames.append(frame)
    data = animated("GIF", frames, duration=50, disposal=2)

    kept = convert(data)

    assert pictures.frames_of(kept.original) == pictures.frames_of(data)
    assert opened(kept.avatar).convert("RGBA").getpixel((250, 250))[3] == 0


def test_a_gif_that_plays_once_still_plays_once() -> None:
    kept = convert(animated("GIF", animation(), duration=50))

    assert "loop" not in opened(kept.original).info


@pytest.mark.parametrize("lossless", [True, False])
def test_an_animated_webp_keeps_its_frames_their_times_and_its_loop(lossless: bool) -> None:
    data = animated("WEBP", animation(), duration=[40, 200, 70, 1000], loop=3, lossless=lossless)

    kept = convert(data)

    assert kept.result.animated
    assert pictures.durations_of(kept.original) == [40, 200, 70, 1000]
    assert opened(kept.original).info["loop"] == 3
    before, after = pictures.frames_of(data), pictures.frames_of(kept.original)
    assert len(after) == 4
    if lossless:
        assert after == before


def test_who_waits_longer_than_the_deadline_for_a_turn_hears_that_the_service_is_busy() -> None:
    with turns._slot, context.deadline_of(0.05), pytest.raises(ProblemError) as refused:
        convert(PNG)

    assert (refused.value.problem.code, refused.value.problem.status) == ("busy", 503)
    assert convert(PNG)


def test_work_stops_when_the_deadline_has_passed_and_the_turn_is_given_back() -> None:
    for data in (PNG, GIF, animated("WEBP", animation(), duration=50)):
        with context.deadline_of(0), pytest.raises(ProblemError) as refused:
            convert(data)

        assert refused.value.problem.status == 503
        assert convert(data)
