/* crypto.c - which crypto libraries this process can seal and open with: finds them and checks them, once.
 *
 * OpenSSL is linked, and the measure of the other: where it fails its check nothing is trusted, and no plane
 * is made. intel-ipsec-mb is looked up by name, so that a host without it runs the same build; where it is
 * missing or fails its check, OpenSSL does the work and crypto_trouble() says why. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "crypto.h"

enum { TROUBLE_CHARS = 200 };

static const char IPSEC_MB_FILE[] = "libIPSec_MB.so.1"; /* 1: the layout that aead_ipsec_mb.c knows */

static pthread_once_t openssl_looked = PTHREAD_ONCE_INIT;
static pthread_once_t ipsec_mb_looked = PTHREAD_ONCE_INIT;
static char openssl_trouble[TROUBLE_CHARS]; /* "": none */
static char ipsec_mb_trouble[TROUBLE_CHARS];
static void *loaded; /* what symbol_of() looks into; stays, as code of it is called from now on */

static void *symbol_of(const char *name) { return dlsym(loaded, name); }

bool crypto_ipsec_mb_load(const char *file, const aead_vector *vectors, char *trouble, size_t chars)
{
    if (!AEAD_IPSEC_MB.seal) {
        snprintf(trouble, chars, "not built in");
        return false;
    }
    loaded = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!loaded) {
        const char *why = dlerror();
        snprintf(trouble, chars, "%s", why ? why : file);
        return false;
    }
    const char *why = aead_ipsec_mb_start(symbol_of);
    if (why) {
        snprintf(trouble, chars, "%s: %s", file, why);
        return false;
    }
    why = aead_check(&AEAD_IPSEC_MB, &AEAD_OPENSSL, vectors, AEAD_VECTORS_COUNT);
    if (why)
        snprintf(trouble, chars, "%s: self-check failed: %s", file, why);
    return why == NULL;
}

static void openssl_look(void)
{
    const char *why = aead_check(&AEAD_OPENSSL, NULL, AEAD_VECTORS, AEAD_VECTORS_COUNT);
    if (why)
        snprintf(openssl_trouble, sizeof openssl_trouble, "self-check failed: %s", why);
}

static void ipsec_mb_look(void)
{
    if (crypto_trouble(OXI_AEAD_OPENSSL))
        snprintf(ipsec_mb_trouble, sizeof ipsec_mb_trouble, "openssl, which it is checked against, failed");
    else
        crypto_ipsec_mb_load(IPSEC_MB_FILE, AEAD_VECTORS, ipsec_mb_trouble, sizeof ipsec_mb_trouble);
}

const char *crypto_trouble(uint32_t library)
{
    bool is_openssl = library == OXI_AEAD_OPENSSL;
    pthread_once(is_openssl ? &openssl_looked : &ipsec_mb_looked, is_openssl ? openssl_look : ipsec_mb_look);
    const char *why = is_openssl ? openssl_trouble : ipsec_mb_trouble;
    return why[0] ? why : NULL;
}

const aead_library *crypto_library(uint32_t wanted)
{
    if (wanted != OXI_AEAD_OPENSSL && !crypto_trouble(OXI_AEAD_IPSEC_MB))
        return &AEAD_IPSEC_MB;
    if (wanted != OXI_AEAD_IPSEC_MB && !crypto_trouble(OXI_AEAD_OPENSSL))
        return &AEAD_OPENSSL;
    return NULL;
}
