/* crypto.h - the crypto libraries of this process: found and checked at first use, then only read. */
#ifndef OXI_CRYPTO_H
#define OXI_CRYPTO_H
#include "../core/aead_library.h"

/* The library for one of OXI_AEAD_*; NULL: none can be used. OXI_AEAD_OPENSSL never loads the other. */
const aead_library *crypto_library(uint32_t wanted);
/* Why one of OXI_AEAD_OPENSSL, OXI_AEAD_IPSEC_MB can not be used here; NULL: it can. */
const char *crypto_trouble(uint32_t library);
/* Load intel-ipsec-mb from `file`, and check it against `vectors` (AEAD_VECTORS_COUNT) and OpenSSL. False:
 * not to be used, and why stands in trouble. Once in a process; crypto_library() does it by itself. */
bool crypto_ipsec_mb_load(const char *file, const aead_vector *vectors, char *trouble, size_t chars);
#endif
