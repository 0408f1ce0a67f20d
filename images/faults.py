"""What can be wrong with an uploaded file, as problems that name the field `image`."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from images import limits
from internal.context import current_deadline
from internal.problems import Problem, ProblemError, image_fault

ACCEPTED = "PNG, JPEG, WebP or GIF"


def not_an_image(message: str) -> ProblemError:
    """The file is none of the accepted formats, or cannot be decoded."""
    return ProblemError(image_fault("not_an_image", message))


def damaged() -> ProblemError:
    """The file starts as an image and does not end as one."""
    return not_an_image("The image is damaged or incomplete: it cannot be decoded to its end.")


def too_many_scans(most: int) -> ProblemError:
    """The JPEG would have to be gone over too often."""
    return not_an_image(f"The JPEG is built up in more than {most} scans. Save it as an ordinary JPEG first.")


def too_many_parts() -> ProblemError:
    """The file is cut into more pieces, or padded more, than any program does."""
    return not_an_image("The image consists of far more parts than a picture needs. Save it anew first.")


def image_too_large() -> ProblemError:
    """The file has too many bytes."""
    megabytes = limits.MAX_BYTES // 1024**2
    message = f"The file is larger than {megabytes} MB. Choose a smaller one."
    return ProblemError(image_fault("image_too_large", message))


def too_many_pixels(width: int | None = None, height: int | None = None) -> ProblemError:
    """The image is larger than it may be; its size in pixels is named where it is known."""
    size = "" if width is None else f" ({width:,} by {height:,})"
    message = f"The image{size} has more than {limits.MAX_PIXELS // 1_000_000} million pixels. Scale it down first."
    return ProblemError(image_fault("too_many_pixels", message))


def too_many_animated_pixels(width: int, height: int, frames: int) -> ProblemError:
    """The frames of the animation add up to more than it may have."""
    most = limits.MAX_ANIMATION_PIXELS // 1_000_000
    message = (
        f"The animation ({width:,} by {height:,}, {frames} frames) has more than {most} million pixels in all. "
        "Scale it down or shorten it first."
    )
    return ProblemError(image_fault("too_many_pixels", message))


def too_large_a_canvas(width: int, height: int) -> ProblemError:
    """The canvas of an animated WebP is larger than it may be."""
    most = limits.MAX_WEBP_CANVAS / 1_000_000
    message = (
        f"The animated WebP ({width:,} by {height:,}) has more than {most:g} million pixels in a frame. "
        "Scale it down first."
    )
    return ProblemError(image_fault("too_many_pixels", message))


def too_many_frames() -> ProblemError:
    """The animation is too long."""
    message = f"The animation has more than {limits.MAX_FRAMES} frames. Shorten it first."
    return ProblemError(image_fault("too_many_frames", message))


def quota_exceeded(message: str) -> ProblemError:
    """The account keeps as much as it may."""
    return ProblemError(image_fault("image_quota_exceeded", message))


def busy() -> ProblemError:
    """Other images took all the time there was for this one."""
    detail = "Too many images are being read at the moment. Try again in a few seconds."
    return ProblemError(Problem("busy", detail, retry_after=5))


def deadline_exceeded(detail: str) -> ProblemError:
    """Nobody waits for this answer any more, or will have stopped before it is there."""
    return ProblemError(Problem("deadline_exceeded", detail, retry_after=5))


def check_deadline() -> None:
    """Raises deadline_exceeded when the time for the image is over."""
    if current_deadline().remaining() <= 0:
        raise deadline_exceeded("The image took too long to read. Try again later, or choose a smaller one.")


@contextmanager
def named() -> Iterator[None]:
    """Turns whatever decoding raises into the problem that it stands for.

    Pillow's parsers raise nearly any exception on damaged input. Only an OSError with a number is not about the file's
    content: the disk could not be read.

    Raises:
        ProblemError: not_an_image, too_many_pixels, or whichever was raised inside.
    """
    try:
        yield
    except ProblemError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many_pixels() from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise damaged() from error
    except Exception as error:
        raise damaged() from error
