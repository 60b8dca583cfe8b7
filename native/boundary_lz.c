/* boundary_lz.c - the door to payload compression by itself, and the indexes that all planes share. */
#include <pthread.h>
#include <stdlib.h>

#include "boundary_lz.h"
#include "core/lz_policy.h"

struct oxi_lz {
    lz_policy policy;
    lz *codec;
};

static lz_indexes *shared;
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;

static void shared_make(void)
{
    shared = calloc(1, lz_indexes_bytes());
    if (shared)
        lz_indexes_init(shared);
}

const lz_indexes *lz_indexes_shared(void)
{
    pthread_once(&shared_once, shared_make);
    return shared;
}

uint32_t oxi_lz_digest(void) { return lz_digest(); }

const char *oxi_lz_name(uint32_t dictionary)
{
    if (dictionary >= LZ_KNOWN)
        return NULL;
    return dictionary ? lz_dictionary_of(dictionary)->name : "none";
}

const uint8_t *oxi_lz_text(uint32_t dictionary, uint32_t *len_out)
{
    if (dictionary >= LZ_KNOWN || !len_out)
        return NULL;
    *len_out = lz_dictionary_of(dictionary)->len;
    return lz_dictionary_of(dictionary)->text;
}

const char *oxi_lz_result_name(uint32_t result)
{
    return result < LZ_RESULTS ? lz_result_name((lz_result)result) : NULL;
}

oxi_lz *oxi_lz_new(const oxi_lz_rule *rules, uint32_t count)
{
    const lz_indexes *indexes = lz_indexes_shared();
    oxi_lz *h = calloc(1, sizeof *h);
    if (h)
        h->codec = calloc(1, lz_bytes());
    if (!indexes || !h || !h->codec || (count && !rules) || !lz_policy_set(&h->policy, rules, count)) {
        oxi_lz_free(h);
        return NULL;
    }
    lz_init(h->codec, indexes);
    return h;
}

void oxi_lz_free(oxi_lz *h)
{
    if (h)
        free(h->codec);
    free(h);
}

int oxi_lz_class(const oxi_lz *h, const uint8_t *packet, uint32_t len)
{
    return h && packet ? lz_class_of(&h->policy, packet, len) : OXI_E_ARG;
}

int oxi_lz_compress(oxi_lz *h, uint32_t level, uint32_t dictionary, uint32_t clear_bytes,
                    const uint8_t *packet, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *len_out)
{
    bool is_good = h && packet && out && len_out && level <= OXI_LZ_AGGRESSIVE && dictionary < LZ_KNOWN;
    if (!is_good || clear_bytes > len || (dictionary && level == OXI_LZ_LIGHT))
        return OXI_E_ARG;
    *len_out = lz_compress(h->codec, (lz_level)level, dictionary, clear_bytes, packet, len, out, cap);
    return OXI_OK;
}

int oxi_lz_restore(const uint8_t *item, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *len_out)
{
    if (!item || !out || !len_out || cap > OXI_MTU_MAX)
        return OXI_E_ARG;
    return (int)lz_decode(item, len, out, cap, len_out);
}
