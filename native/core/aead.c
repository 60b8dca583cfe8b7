/* aead.c - the nonce, and the way to the library that holds a key.
 *
 * Per packet nothing is allocated: the library keeps one context per key and direction, in which only the
 * nonce changes. What holds of every library, whatever it leaves behind, is done here. */
#include "aead.h"

#include "aead_library.h"
#include "bytes.h"

bool aead_key(aead *a, uint8_t suite, const uint8_t *key, bool is_seal)
{
    a->suite = a->library->key(&a->ctx, suite, key, is_seal) ? suite : 0;
    return a->suite != 0;
}

void aead_forget(aead *a)
{
    if (a->ctx)
        a->library->forget(a->ctx);
    a->suite = 0;
}

void aead_free(aead *a)
{
    if (a->ctx)
        a->library->free(a->ctx);
    a->ctx = NULL;
    a->suite = 0;
}

nonce aead_nonce(uint8_t path, uint64_t pn)
{
    nonce n;
    store_be32(n.bytes, path);
    store_be64(n.bytes + 4, pn);
    return n;
}

bool aead_seal(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len)
{
    return a->suite && a->library->seal(a->ctx, a->suite, n, aad, aad_len, data, len);
}

bool aead_open(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len)
{
    if (a->suite && a->library->open(a->ctx, a->suite, n, aad, aad_len, data, len))
        return true;
    /* Both libraries decrypt before they know: what nobody vouches for is not left for anybody to read. */
    memset(data, 0, len);
    return false;
}
