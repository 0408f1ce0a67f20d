"""What an image may measure, and how much one account may keep. Each limit has a problem code of its own."""

from internal.clients.images import IMAGE_LIMIT

MAX_BYTES = IMAGE_LIMIT  # of an uploaded file: image_too_large
MAX_PIXELS = 40_000_000  # width x height: too_many_pixels
MAX_FRAMES = 200  # of an animation: too_many_frames
MAX_ANIMATION_PIXELS = 100_000_000  # width x height x frames, which is what decoding costs: too_many_pixels
MAX_WEBP_CANVAS = 8_300_000  # width x height of an animated WebP, of which several are in memory: too_many_pixels

MAX_IMAGES = 500  # of one account: image_quota_exceeded
MAX_STORED_BYTES = 1024**3  # of one account's stored originals: image_quota_exceeded
