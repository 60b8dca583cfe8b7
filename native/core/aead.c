/* aead.c - AES-256-GCM and ChaCha20-Poly1305 through OpenSSL's EVP. One context per key and
 * direction; per packet only the nonce changes, so nothing is allocated per packet. */
#include "aead.h"

#include <openssl/evp.h>

#include "bytes.h"

static const EVP_CIPHER *cipher_of(uint8_t suite)
{
    return suite == OXI_SUITE_AES256GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
}

bool aead_key(aead *a, uint8_t suite, const uint8_t *key, bool is_seal)
{
    if (!a->ctx)
        a->ctx = EVP_CIPHER_CTX_new();
    if (!a->ctx)
        return false;
    int ok = is_seal ? EVP_EncryptInit_ex(a->ctx, cipher_of(suite), NULL, key, NULL)
                     : EVP_DecryptInit_ex(a->ctx, cipher_of(suite), NULL, key, NULL);
    a->suite = ok == 1 ? suite : 0;
    return ok == 1;
}

void aead_forget(aead *a)
{
    if (a->ctx)
        EVP_CIPHER_CTX_reset(a->ctx);
    a->suite = 0;
}

void aead_free(aead *a)
{
    EVP_CIPHER_CTX_free(a->ctx);
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
    EVP_CIPHER_CTX *ctx = a->ctx;
    int out = 0;
    return a->suite && EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, n->bytes) == 1 &&
           EVP_EncryptUpdate(ctx, NULL, &out, aad, (int)aad_len) == 1 &&
           EVP_EncryptUpdate(ctx, data, &out, data, (int)len) == 1 &&
           EVP_EncryptFinal_ex(ctx, data + len, &out) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, data + len) == 1;
}

bool aead_open(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len)
{
    EVP_CIPHER_CTX *ctx = a->ctx;
    int out = 0;
    uint8_t none[TAG_BYTES];
    return a->suite && EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, n->bytes) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, data + len) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &out, aad, (int)aad_len) == 1 &&
           EVP_DecryptUpdate(ctx, data, &out, data, (int)len) == 1 &&
           EVP_DecryptFinal_ex(ctx, none, &out) == 1;
}
