/* field.c - which library this process computes in GF(2^8) with: finds ISA-L and checks it, once.
 *
 * It is looked up by name, so that a host without it runs the same build; where it is missing or computes
 * anything else than gf256_mul() does, the portable code does the work and field_trouble() says why. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "../include/oxi.h"
#include "field.h"

enum { TROUBLE_CHARS = 200 };

static const char ISAL_FILE[] = "libisal.so.2";

static pthread_once_t looked = PTHREAD_ONCE_INIT;
static char trouble[TROUBLE_CHARS]; /* "": none */
static void *loaded;                /* stays, as code of it is called from now on */

static void *symbol_of(const char *name) { return dlsym(loaded, name); }

static void look(void)
{
    loaded = dlopen(ISAL_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!loaded) {
        const char *why = dlerror();
        snprintf(trouble, sizeof trouble, "%s", why ? why : ISAL_FILE);
        return;
    }
    const char *why = gf256_isal_start(symbol_of);
    if (why) {
        snprintf(trouble, sizeof trouble, "%s: %s", ISAL_FILE, why);
        return;
    }
    why = gf256_check(&GF256_ISAL);
    if (why)
        snprintf(trouble, sizeof trouble, "%s: self-check failed: %s", ISAL_FILE, why);
}

const char *field_trouble(uint32_t library)
{
    if (library != OXI_GF256_ISAL)
        return NULL;
    pthread_once(&looked, look);
    return trouble[0] ? trouble : NULL;
}

const gf256_library *field_library(uint32_t wanted)
{
    if (wanted != OXI_GF256_PORTABLE && !field_trouble(OXI_GF256_ISAL))
        return &GF256_ISAL;
    return wanted == OXI_GF256_ISAL ? NULL : &GF256_PORTABLE;
}
