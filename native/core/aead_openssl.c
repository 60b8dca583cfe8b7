/* aead_openssl.c - AES-256-GCM and ChaCha20-Poly1305 through OpenSSL's EVP: everywhere, and the measure of
 * any other library. One context per key and direction; per packet only the nonce changes. */
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "aead_library.h"

static const EVP_CIPHER *cipher_of(uint8_t suite)
{
    return suite == OXI_SUITE_AES256GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
}

static bool openssl_key(void **ctx, uint8_t suite, const uint8_t *key, bool is_seal)
{
    if (!*ctx)
        *ctx = EVP_CIPHER_CTX_new();
    if (!*ctx)
        return false;
    int ok = is_seal ? EVP_EncryptInit_ex(*ctx, cipher_of(suite), NULL, key, NULL)
                     : EVP_DecryptInit_ex(*ctx, cipher_of(suite), NULL, key, NULL);
    return ok == 1;
}

static void openssl_forget(void *ctx) { EVP_CIPHER_CTX_reset(ctx); }

static void openssl_free(void *ctx) { EVP_CIPHER_CTX_free(ctx); }

static bool openssl_seal(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                         uint8_t *data, size_t len)
{
    (void)suite;
    int out = 0;
    return EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, n->bytes) == 1 &&
           EVP_EncryptUpdate(ctx, NULL, &out, aad, (int)aad_len) == 1 &&
           EVP_EncryptUpdate(ctx, data, &out, data, (int)len) == 1 &&
           EVP_EncryptFinal_ex(ctx, data + len, &out) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, data + len) == 1;
}

static bool openssl_open(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                         uint8_t *data, size_t len)
{
    (void)suite;
    int out = 0;
    uint8_t none[TAG_BYTES];
    return EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, n->bytes) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, data + len) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &out, aad, (int)aad_len) == 1 &&
           EVP_DecryptUpdate(ctx, data, &out, data, (int)len) == 1 &&
           EVP_DecryptFinal_ex(ctx, none, &out) == 1;
}

const char *aead_openssl_version(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }

const aead_library AEAD_OPENSSL = { .name = "openssl",
                                    .key = openssl_key,
                                    .forget = openssl_forget,
                                    .free = openssl_free,
                                    .seal = openssl_seal,
                                    .open = openssl_open };
