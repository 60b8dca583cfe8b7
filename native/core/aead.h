/* aead.h - authenticated encryption by OpenSSL; the only file pair that knows the library. */
#ifndef OXI_AEAD_H
#define OXI_AEAD_H
#include "base.h"
#include "limits.h"

typedef struct aead {
    void *ctx;      /* EVP_CIPHER_CTX, kept between keys; NULL until the first key */
    uint8_t suite;  /* of the key in ctx; 0: none */
} aead;

typedef struct nonce {
    uint8_t bytes[NONCE_BYTES];
} nonce;

/* Take a key for one direction. key: 32 bytes, borrowed. False: the library refused. */
bool aead_key(aead *a, uint8_t suite, const uint8_t *key, bool is_seal);
/* Forget the key; the context stays for the next one. */
void aead_forget(aead *a);
void aead_free(aead *a);

/* Nonce: 32-bit path id, 64-bit packet number (PROTOCOL.md section 2). */
nonce aead_nonce(uint8_t path, uint64_t pn);

/* In place; data has TAG_BYTES of room behind len for the tag. */
bool aead_seal(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len);
/* In place; the tag lies behind len. False: not authentic, data is then garbage. */
bool aead_open(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len);
#endif
