/* classify.c - every packet on its way out gets the class of its flow, which decides how long it may wait and
 * how what is lost of it is repaired. */
#include "l4.h"
#include "stages.h"

/* What repair must know of a TCP packet. What TCP sends again it has heard the loss of, and has slowed down
 * for; an acknowledgement alone is not missed; behind what ends with PSH nothing may follow. */
static void tcp_look(const flow_table *flows, pkt *p)
{
    l4_view v;
    const uint8_t *data = pkt_data(p);
    if (!l4_parse(data, p->len, &v) || v.protocol != L4_TCP || v.is_fragment)
        return;
    flow *f = flows->last; /* what can be parsed has a flow */
    const uint8_t *tcp = data + v.ip_bytes;
    uint32_t payload = p->len - v.ip_bytes - v.l4_bytes;
    p->is_pushed = (tcp[13] & (TCP_PSH | TCP_FIN | TCP_SYN)) != 0;
    p->is_bare = payload == 0 && !p->is_pushed && !(tcp[13] & TCP_RST);
    if (payload == 0)
        return;
    uint32_t end = load_be32(tcp + 4) + payload;
    p->is_resent = f->tcp_next != 0 && !(tcp[13] & TCP_SYN) && (int32_t)(end - f->tcp_next) <= 0;
    if (!p->is_resent)
        f->tcp_next = end;
}

void classify_batch(dp *d, batch *b)
{
    uint32_t packets[OXI_CLASSES] = { 0 };
    uint32_t changes = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        p->traffic_class = (uint8_t)flows_note(&d->flows, d->conf.hash_key, p, b->now_ns, &changes);
        packets[p->traffic_class]++;
        if (d->repair.conf.mode != OXI_REPAIR_OFF)
            tcp_look(&d->flows, p);
    }
    for (uint32_t c = 0; c < OXI_CLASSES; c++)
        if (packets[c] > 0)
            COUNT_ADD(d->stats.class_packets[c], packets[c]);
    if (changes > 0)
        COUNT_ADD(d->stats.class_changes, changes);
}
