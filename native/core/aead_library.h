/* aead_library.h - what a crypto library must do to stand behind aead.h, the two that do, and their check.
 *
 * For those who choose a library and make keys with it; a stage sees aead.h alone. */
#ifndef OXI_AEAD_LIBRARY_H
#define OXI_AEAD_LIBRARY_H
#include "aead.h"

struct aead_library {
    const char *name;
    /* Take a key into *ctx, made when NULL. */
    bool (*key)(void **ctx, uint8_t suite, const uint8_t *key, bool is_seal);
    void (*forget)(void *ctx); /* wipes */
    void (*free)(void *ctx);   /* wipes */
    bool (*seal)(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data,
                 size_t len);
    /* False: not authentic; what is in data then is for aead_open() to wipe. */
    bool (*open)(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data,
                 size_t len);
};

extern const aead_library AEAD_OPENSSL;
extern const aead_library AEAD_IPSEC_MB; /* of no use before aead_ipsec_mb_start() said so */

/* The address of an exported name; NULL: there is none. */
typedef void *aead_symbol_fn(const char *name);
/* Make intel-ipsec-mb ready, from the shared library that `symbol` looks into; once, before any key is made.
 * NULL: it is. Else why not, in words. */
const char *aead_ipsec_mb_start(aead_symbol_fn *symbol);
const char *aead_ipsec_mb_version(void); /* "1.3.0"; "" before it is ready */
const char *aead_openssl_version(void);

/* A published test case; plain and sealed (with its tag) in place of one another. */
typedef struct aead_vector {
    const char *name;
    uint8_t suite;
    uint8_t key[OXI_KEY_BYTES];
    uint8_t nonce[NONCE_BYTES];
    uint8_t aad[20];
    uint8_t aad_len;
    uint8_t len;
    uint8_t plain[114];
    uint8_t sealed[114 + TAG_BYTES];
} aead_vector;

enum { AEAD_VECTORS_COUNT = 3 };
extern const aead_vector AEAD_VECTORS[AEAD_VECTORS_COUNT];

/* Whether a library does what the vectors say, refuses what was changed, and (reference not NULL) agrees with
 * the reference at lengths where implementations change their ways. NULL: all good. Else what is not. */
const char *aead_check(const aead_library *library, const aead_library *reference, const aead_vector *vectors,
                       uint32_t count);
#endif
