/* aead.h - authenticated encryption: one key for one direction, whichever library does the work.
 *
 * Two libraries stand behind it (aead_library.h) and agree bit for bit, also in what is left behind after a
 * refusal. An `aead` belongs to one thread at a time; two of them share nothing that is written. */
#ifndef OXI_AEAD_H
#define OXI_AEAD_H
#include "base.h"
#include "limits.h"

typedef struct aead_library aead_library;

typedef struct aead {
    const aead_library *library; /* set by whoever makes the aead */
    void *ctx;                   /* the library's, kept between keys; NULL until the first key */
    uint8_t suite;               /* of the key in ctx; 0: none */
} aead;

typedef struct nonce {
    uint8_t bytes[NONCE_BYTES];
} nonce;

/* Take a key for one direction. key: 32 bytes, borrowed. False: the library refused, or no memory. */
bool aead_key(aead *a, uint8_t suite, const uint8_t *key, bool is_seal);
/* Wipe the key; the memory stays for the next one. */
void aead_forget(aead *a);
void aead_free(aead *a); /* and its memory */

/* Nonce: 32-bit path id, 64-bit packet number (PROTOCOL.md section 2). */
nonce aead_nonce(uint8_t path, uint64_t pn);

/* In place; data has TAG_BYTES of room behind len for the tag. */
bool aead_seal(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len);
/* In place; the tag lies behind len. False: not authentic, and data is all zero. */
bool aead_open(aead *a, const nonce *n, const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len);
#endif
