/* aead_door.c - the crypto libraries alone, for tests in Python: any key, nonce, length and header, which no
 * packet would have; libraries that are broken on purpose; start conditions that this host does not have.
 *
 * Headers and data end where a page ends behind which nothing may be touched, so that assembly code, which no
 * sanitizer sees into, can not read or write beyond. Built and loaded by aead_door.py. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../native/io/crypto.h"

#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#else
#define IMB_VERSION_NUM 0
#endif

enum { PAGE = 4096, DATA_ROOM = 4 * PAGE, AAD_ROOM = PAGE };

typedef struct door {
    aead aead;
    uint8_t *data_end;
    uint8_t *aad_end;
} door;

_Noreturn void oxi_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "bug at %s:%d: %s\n", file, line, what);
    abort();
}

/* The end of `room` bytes behind which a page is closed. */
static uint8_t *room_end(size_t room)
{
    uint8_t *at = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + room, PAGE, PROT_NONE) != 0)
        abort();
    return at + room;
}

const char *door_trouble(uint32_t library) { return crypto_trouble(library); }

door *door_new(uint32_t library, uint8_t suite, const uint8_t *key, bool is_seal)
{
    door *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->aead.library = crypto_library(library);
    d->data_end = room_end(DATA_ROOM);
    d->aad_end = room_end(AAD_ROOM);
    if (!d->aead.library || !aead_key(&d->aead, suite, key, is_seal))
        abort();
    return d;
}

void door_free(door *d)
{
    aead_free(&d->aead);
    munmap(d->data_end - DATA_ROOM, DATA_ROOM + PAGE);
    munmap(d->aad_end - AAD_ROOM, AAD_ROOM + PAGE);
    free(d);
}

void door_forget(door *d) { aead_forget(&d->aead); }

/* data: len bytes and room for, or with, the tag; what stands there afterwards is given back. */
bool door_run(door *d, bool is_open, const uint8_t *nonce_bytes, const uint8_t *aad, size_t aad_len,
              uint8_t *data, size_t len)
{
    uint8_t *own = d->data_end - len - TAG_BYTES, *own_aad = d->aad_end - aad_len;
    nonce n;
    memcpy(n.bytes, nonce_bytes, NONCE_BYTES);
    memcpy(own, data, len + TAG_BYTES);
    memcpy(own_aad, aad, aad_len);
    bool is_good = is_open ? aead_open(&d->aead, &n, own_aad, aad_len, own, len)
                           : aead_seal(&d->aead, &n, own_aad, aad_len, own, len);
    memcpy(data, own, len + TAG_BYTES);
    return is_good;
}

/* Whether the library's own memory holds these bytes. */
bool door_holds(const door *d, const uint8_t *bytes, size_t len)
{
    return d->aead.ctx && memmem(d->aead.ctx, malloc_usable_size(d->aead.ctx), bytes, len) != NULL;
}

/* ---- vectors with one bit changed ---- */

static aead_vector changed[AEAD_VECTORS_COUNT];

static const aead_vector *vectors_changed(uint32_t vector, uint32_t byte)
{
    memcpy(changed, AEAD_VECTORS, sizeof changed);
    if (vector < AEAD_VECTORS_COUNT)
        changed[vector].sealed[byte] ^= 1;
    return changed;
}

uint32_t door_sealed_bytes(uint32_t vector) { return AEAD_VECTORS[vector].len + TAG_BYTES; }

const char *door_check(uint32_t library, uint32_t vector, uint32_t byte)
{
    const aead_vector *vectors = vectors_changed(vector, byte);
    return aead_check(crypto_library(library), &AEAD_OPENSSL, vectors, AEAD_VECTORS_COUNT);
}

bool door_load(const char *file, uint32_t vector, uint32_t byte, char *trouble, size_t chars)
{
    return crypto_ipsec_mb_load(file, vectors_changed(vector, byte), trouble, chars);
}

/* ---- libraries with a fault ---- */

static bool seal_wrong_when_long(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                                 uint8_t *data, size_t len)
{
    bool is_good = AEAD_OPENSSL.seal(ctx, suite, n, aad, aad_len, data, len);
    data[len / 2] ^= len >= 768;
    return is_good;
}

static bool open_anything(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                          uint8_t *data, size_t len)
{
    (void)AEAD_OPENSSL.open(ctx, suite, n, aad, aad_len, data, len);
    return true;
}

static bool open_whatever_header(void *ctx, uint8_t suite, const nonce *n, const uint8_t *aad, size_t aad_len,
                                 uint8_t *data, size_t len)
{
    static const uint8_t first = 0xfe; /* takes the header's first byte for granted */
    uint8_t own[sizeof((aead_vector *)NULL)->aad];
    memcpy(own, aad, aad_len);
    if (aad_len == sizeof own)
        own[0] = first;
    return AEAD_OPENSSL.open(ctx, suite, n, own, aad_len, data, len);
}

static bool key_refused(void **ctx, uint8_t suite, const uint8_t *key, bool is_seal)
{
    (void)ctx, (void)suite, (void)key, (void)is_seal;
    return false;
}

enum { WRONG_WHEN_LONG, OPENS_ANYTHING, OPENS_WHATEVER_HEADER, REFUSES_KEYS };

const char *door_check_faulty(uint32_t fault)
{
    aead_library faulty = AEAD_OPENSSL;
    faulty.seal = fault == WRONG_WHEN_LONG ? seal_wrong_when_long : faulty.seal;
    faulty.open = fault == OPENS_ANYTHING          ? open_anything
                  : fault == OPENS_WHATEVER_HEADER ? open_whatever_header
                                                   : faulty.open;
    faulty.key = fault == REFUSES_KEYS ? key_refused : faulty.key;
    return aead_check(&faulty, &AEAD_OPENSSL, AEAD_VECTORS, AEAD_VECTORS_COUNT);
}

/* ---- a shared library that is not as expected ---- */

static struct {
    const char *missing;
    unsigned version;
    uint32_t arch;
    int error;
    bool has_memory;
    uint32_t freed;
    uint64_t manager[2]; /* flags and features, the first fields of the true one */
} fake;

static unsigned fake_version(void) { return fake.version; }
static const char *fake_text(void) { return "fake"; }
static void *fake_new(uint64_t flags) { return (void)flags, fake.has_memory ? fake.manager : NULL; }
static void fake_init(void *manager, uint32_t *arch)
{
    ((uint64_t *)manager)[1] = fake.arch == 1 ? 0 : 1u << 1; /* AESNI */
    *arch = fake.arch;
}
static void fake_free(void *manager) { (void)manager, fake.freed++; }
static int fake_errno(void *manager) { return (void)manager, fake.error; }

static void *fake_symbol(const char *name)
{
    static const struct {
        const char *name;
        void *function;
    } rows[] = { { "imb_get_version", (void *)fake_version }, { "imb_get_version_str", (void *)fake_text },
                 { "alloc_mb_mgr", (void *)fake_new },        { "init_mb_mgr_auto", (void *)fake_init },
                 { "free_mb_mgr", (void *)fake_free },        { "imb_get_errno", (void *)fake_errno } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(name, rows[i].name) == 0 && (!fake.missing || strcmp(name, fake.missing) != 0))
            return rows[i].function;
    return NULL;
}

unsigned door_header_version(void) { return IMB_VERSION_NUM; }

/* Why a library like this is not used; NULL would mean that it is. */
const char *door_start(const char *missing, unsigned version, uint32_t arch, int error, bool has_memory)
{
    memset(&fake, 0, sizeof fake);
    fake.missing = missing;
    fake.version = version;
    fake.arch = arch;
    fake.error = error;
    fake.has_memory = has_memory;
    return aead_ipsec_mb_start(fake_symbol);
}

/* ---- the shared library as on an older processor ---- */

static void *as_file;
static void (*as_init)(void *manager);

static void init_as(void *manager, uint32_t *arch)
{
    as_init(manager);
    *arch = 2; /* one of those that are good */
}

static void *symbol_as(const char *name)
{
    return strcmp(name, "init_mb_mgr_auto") == 0 ? (void *)init_as : dlsym(as_file, name);
}

/* From now on new keys are made with the code for one kind of processor, by the name of its function. */
const char *door_start_as(const char *file, const char *init)
{
    as_file = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    *(void **)&as_init = as_file ? dlsym(as_file, init) : NULL;
    return as_init ? aead_ipsec_mb_start(symbol_as) : "no such file or function";
}

uint32_t door_managers_freed(void) { return fake.freed; }
