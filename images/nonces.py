"""The signed calls that the images role has let in: its SIGNATURE_NONCES."""

from images.models import SignatureNonce
from internal.nonces import NonceStore

store = NonceStore(SignatureNonce)
first_use = store.first_use
