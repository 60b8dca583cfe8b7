/* session.c - starting, rekeying and ending sessions. */
#include "session.h"

uint32_t session_index_pick(const session_table *t, uint32_t random24)
{
    uint32_t random = random24 / t->workers;
    uint32_t base = random - random % t->count;
    if ((base + t->count) * t->workers > INDEX_MAX)
        base = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t slot = (random + i) % t->count;
        uint32_t index = (base + slot) * t->workers + t->worker;
        if (t->slots[slot].rx_index == 0 && index != 0)
            return index;
    }
    return 0;
}

static bool epoch_make(session *s, uint64_t now_ns, uint32_t epoch, const uint8_t *rx_key,
                       const uint8_t *tx_key)
{
    epoch_keys *k = &s->keys[epoch % OXI_EPOCHS];
    k->is_live = aead_key(&k->rx, s->suite, rx_key, false) && aead_key(&k->tx, s->suite, tx_key, true);
    k->epoch = epoch;
    k->made_ns = now_ns;
    k->tx_packets = 0;
    return k->is_live;
}

static void epoch_forget(epoch_keys *k)
{
    aead_forget(&k->rx);
    aead_forget(&k->tx);
    k->is_live = false;
}

session *session_start(session_table *t, uint64_t now_ns, uint32_t peer, const oxi_session *conf)
{
    session *s = session_slot(t, conf->rx_index);
    if (s->rx_index != 0)
        return NULL;
    s->tx_index = conf->tx_index;
    s->peer = peer;
    s->serial = ++t->started;
    s->suite = conf->suite;
    s->may_send = conf->may_send;
    s->may_bundle = conf->may_bundle;
    s->tx_flows = conf->tx_flows;
    s->rx_flows = conf->rx_flows;
    s->tx_payload = conf->tx_payload;
    s->rx_payload = conf->rx_payload;
    s->was_heard = false;
    s->is_repaired = false;
    s->send_epoch = s->newest_epoch = 0;
    s->expires_ns = NEVER_NS;
    memset(s->paths, 0, sizeof s->paths);
    if (!epoch_make(s, now_ns, 0, conf->rx_key, conf->tx_key)) {
        session_end(s);
        return NULL;
    }
    s->rx_index = conf->rx_index;
    return s;
}

int session_epoch_add(session *s, uint64_t now_ns, uint32_t epoch, const uint8_t *rx_key,
                      const uint8_t *tx_key)
{
    /* The key that this one pushes out must not be the one that sends. */
    if (epoch != s->newest_epoch + 1 || epoch - s->send_epoch > 1)
        return OXI_E_ARG;
    if (!epoch_make(s, now_ns, epoch, rx_key, tx_key))
        return OXI_E_CRYPTO;
    if (epoch >= 2)
        epoch_forget(&s->keys[(epoch - 2) % OXI_EPOCHS]);
    s->newest_epoch = epoch;
    return OXI_OK;
}

void session_end(session *s)
{
    for (uint32_t i = 0; i < OXI_EPOCHS; i++)
        epoch_forget(&s->keys[i]);
    s->rx_index = 0;
}
