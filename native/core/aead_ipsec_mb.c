/* aead_ipsec_mb.c - the same through intel-ipsec-mb's direct calls, which cost less per packet.
 *
 * Built where the header is (x86_64), ready only where the shared library is: its entry points are looked up
 * when the daemon starts, so one build runs with and without. Both suites go this way. ChaCha20-Poly1305
 * gains least: with version 1.3 and AVX2 it takes two thirds of OpenSSL 3.0's time at 64 bytes, 0.9 at 1,400,
 * the same at some 2,400, and a fifth more at 9,000 (tests/bench); paths of 1,500 bytes are what most have.
 *
 * Threads: one manager for the process. After it is made the direct calls only read function pointers from
 * it, and keep all their state in the context they are given: threads with keys of their own do not mix. The
 * one thing they share is a last-error word of the library, which each call sets to 0 and nobody reads here;
 * its cache line goes back and forth between the cores that seal, tens of nanoseconds a call at worst.
 *
 * Registers: the library, built with SAFE_DATA as Debian does, wipes what held key material and ends with
 * vzeroupper where it used wide registers, so that the SSE code around it pays nothing. */
#include "aead_library.h"

#ifndef OXI_HAVE_IPSEC_MB
#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#define OXI_HAVE_IPSEC_MB 1
#else
#define OXI_HAVE_IPSEC_MB 0
#endif
#endif

#if OXI_HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#if IMB_VERSION_NUM >= 0x20000 /* its manager is opaque and its direct calls have other names */
#undef OXI_HAVE_IPSEC_MB
#define OXI_HAVE_IPSEC_MB 0
#endif
#endif

#if OXI_HAVE_IPSEC_MB
#include <stdlib.h>

enum { ALIGNMENT = 64 }; /* of gcm_key_data, by the library's header */

typedef struct context {
    struct gcm_key_data gcm;
    uint8_t key[OXI_KEY_BYTES]; /* ChaCha20 has no schedule */
    union {
        struct gcm_context_data gcm;
        struct chacha20_poly1305_context_data chacha;
    } packet; /* here and not on the stack: it holds the packet's one-time key; wiped with the rest */
} context;

static IMB_MGR *manager;
static const char *version = "";

/* In a time that does not depend on where they differ. */
static bool tags_are_equal(const uint8_t *a, const uint8_t *b)
{
    uint8_t differs = 0;
    for (size_t i = 0; i < TAG_BYTES; i++)
        differs |= (uint8_t)(a[i] ^ b[i]);
    return *(volatile uint8_t *)&differs == 0;
}

static bool ipsec_mb_key(void **ctx, uint8_t suite, const uint8_t *key, bool is_seal)
{
    (void)is_seal;
    OXI_ASSERT(manager != NULL);
    if (!*ctx)
        *ctx = aligned_alloc(ALIGNMENT, (sizeof(context) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    context *c = *ctx;
    if (!c)
        return false;
    explicit_bzero(c, sizeof *c);
    if (suite == OXI_SUITE_AES256GCM)
        manager->gcm256_pre(key, &c->gcm);
    else
        memcpy(c->key, key, sizeof c->key);
    return true;
}

static void ipsec_mb_forget(void *ctx) { explicit_bzero(ctx, sizeof(context)); }

static void ipsec_mb_free(void *ctx)
{
    explicit_bzero(ctx, sizeof(context));
    free(ctx);
}

static bool ipsec_mb_seal(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                          uint8_t *data, size_t len)
{
    context *c = ctx;
    if (suite == OXI_SUITE_AES256GCM) {
        manager->gcm256_enc(&c->gcm, &c->packet.gcm, data, data, len, n->bytes, aad, aad_len, data + len,
                            TAG_BYTES);
        return true;
    }
    manager->chacha20_poly1305_init(c->key, &c->packet.chacha, n->bytes, aad, aad_len);
    manager->chacha20_poly1305_enc_update(c->key, &c->packet.chacha, data, data, len);
    manager->chacha20_poly1305_finalize(&c->packet.chacha, data + len, TAG_BYTES);
    return true;
}

static bool ipsec_mb_open(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                          uint8_t *data, size_t len)
{
    context *c = ctx;
    uint8_t tag[TAG_BYTES];
    if (suite == OXI_SUITE_AES256GCM) {
        manager->gcm256_dec(&c->gcm, &c->packet.gcm, data, data, len, n->bytes, aad, aad_len, tag, TAG_BYTES);
    } else {
        manager->chacha20_poly1305_init(c->key, &c->packet.chacha, n->bytes, aad, aad_len);
        manager->chacha20_poly1305_dec_update(c->key, &c->packet.chacha, data, data, len);
        manager->chacha20_poly1305_finalize(&c->packet.chacha, tag, TAG_BYTES);
    }
    bool is_authentic = tags_are_equal(tag, data + len);
    explicit_bzero(tag, sizeof tag); /* the right tag of a forged packet is nobody's business */
    return is_authentic;
}

/* Major and minor version must be those of the header. The soname promises more, and the manager is only ever
 * appended to; but gcm_key_data has grown between versions, and the library would write beyond ours. */
static bool layout_fits(unsigned found) { return found >> 8 == IMB_VERSION_NUM >> 8; }

const char *aead_ipsec_mb_start(aead_symbol_fn *symbol)
{
    static_assert(sizeof(void *) == sizeof(void (*)(void)), "dlsym() gives functions as pointers to void");
    __typeof__(&imb_get_version) get_version = (__typeof__(get_version))symbol("imb_get_version");
    __typeof__(&imb_get_version_str) get_text = (__typeof__(get_text))symbol("imb_get_version_str");
    __typeof__(&alloc_mb_mgr) manager_new = (__typeof__(manager_new))symbol("alloc_mb_mgr");
    __typeof__(&init_mb_mgr_auto) manager_init = (__typeof__(manager_init))symbol("init_mb_mgr_auto");
    __typeof__(&free_mb_mgr) manager_free = (__typeof__(manager_free))symbol("free_mb_mgr");
    __typeof__(&imb_get_errno) get_errno = (__typeof__(get_errno))symbol("imb_get_errno");
    if (!get_version || !get_text || !manager_new || !manager_init || !manager_free || !get_errno)
        return "the library lacks a function that is looked for";
    if (!layout_fits(get_version()))
        return "the library is of another version than the header that this was built with";
    IMB_MGR *made = manager_new(0);
    if (!made)
        return "the library has no memory for its manager";
    IMB_ARCH arch = IMB_ARCH_NONE;
    manager_init(made, &arch);
    const char *why = NULL;
    if (arch == IMB_ARCH_NONE || !(made->features & IMB_FEATURE_AESNI))
        why = "this processor has no AES instructions";
    else if (get_errno(made) != 0)
        why = "the library's own self-test failed";
    if (why) {
        manager_free(made);
        return why;
    }
    manager = made;
    version = get_text();
    return NULL;
}

const char *aead_ipsec_mb_version(void) { return version; }

const aead_library AEAD_IPSEC_MB = { .name = "ipsec-mb",
                                     .key = ipsec_mb_key,
                                     .forget = ipsec_mb_forget,
                                     .free = ipsec_mb_free,
                                     .seal = ipsec_mb_seal,
                                     .open = ipsec_mb_open };
#else

const char *aead_ipsec_mb_start(aead_symbol_fn *symbol)
{
    (void)symbol;
    return "not built in: there was no intel-ipsec-mb.h, or the processor is not x86_64";
}

const char *aead_ipsec_mb_version(void) { return ""; }

const aead_library AEAD_IPSEC_MB = { .name = "ipsec-mb" };
#endif
