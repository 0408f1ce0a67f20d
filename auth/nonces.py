"""The signed calls that the auth role has let in: its SIGNATURE_NONCES."""

from auth.models import SignatureNonce
from internal.nonces import NonceStore

store = NonceStore(SignatureNonce)
first_use = store.first_use
