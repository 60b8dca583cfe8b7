/* aead_openssl.c - AES-256-GCM and ChaCha20-Poly1305 through OpenSSL's EVP: everywhere, and the measure of
 * any other library. One context per key and direction; per packet only the nonce changes. */
#include <openssl/core_names.h>
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

/* The nonce of the next packet, and when opening the tag it must have. EVP_EncryptInit_ex() would look
 * parameters up by name that nobody wants to know, some 60 ns a packet; GCM takes a whole nonce as what TLS
 * calls the fixed part (length -1: all of it), and a tag in the same call. Where that is refused, the plain
 * way is taken. */
static bool packet_begin(EVP_CIPHER_CTX *ctx, uint8_t suite, const nonce *n, uint8_t *tag)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)n->bytes; /* read only, but OSSL_PARAM knows no const */
    if (suite == OXI_SUITE_AES256GCM) {
        const OSSL_PARAM params[] = {
            OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED, bytes, (size_t)-1),
            tag ? (OSSL_PARAM)OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, TAG_BYTES)
                : (OSSL_PARAM)OSSL_PARAM_END,
            OSSL_PARAM_END,
        };
        if (EVP_CIPHER_CTX_set_params(ctx, params) == 1)
            return true;
    }
    return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, n->bytes, -1) == 1 &&
           (!tag || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1);
}

static bool packet_run(EVP_CIPHER_CTX *ctx, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len)
{
    int out = 0;
    uint8_t none[TAG_BYTES];
    return EVP_CipherUpdate(ctx, NULL, &out, aad, (int)aad_len) == 1 &&
           EVP_CipherUpdate(ctx, data, &out, data, (int)len) == 1 && EVP_CipherFinal_ex(ctx, none, &out) == 1;
}

static bool openssl_seal(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                         uint8_t *data, size_t len)
{
    OSSL_PARAM tag[] = { OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, data + len, TAG_BYTES),
                         OSSL_PARAM_END };
    return packet_begin(ctx, suite, n, NULL) && packet_run(ctx, aad, aad_len, data, len) &&
           EVP_CIPHER_CTX_get_params(ctx, tag) == 1;
}

static bool openssl_open(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                         uint8_t *data, size_t len)
{
    return packet_begin(ctx, suite, n, data + len) && packet_run(ctx, aad, aad_len, data, len);
}

const char *aead_openssl_version(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }

const aead_library AEAD_OPENSSL = { .name = "openssl",
                                    .key = openssl_key,
                                    .forget = openssl_forget,
                                    .free = openssl_free,
                                    .seal = openssl_seal,
                                    .open = openssl_open };
