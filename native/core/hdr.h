/* hdr.h - header compression with acknowledged references (PROTOCOL.md section 9).
 *
 * A compressor and a restorer each keep a context per flow: the bytes of its header that never change, and a
 * few *candidates*, which are the fields of headers that travelled before. A header is coded as the
 * difference to a candidate of which the other side has acknowledged the datagram, so neither loss nor
 * reordering can make the two disagree. Pure: memory, acknowledgements and the hash key are arguments. */
#ifndef OXI_HDR_H
#define OXI_HDR_H
#include "base.h"
#include "limits.h"
#include "replay.h"

enum {
    HDR_FLOWS_MAX = 383,   /* 127 flow ids of one byte, 256 of two */
    HDR_FLOWS_DEFAULT = 128,
    HDR_CODED_MAX = 288,   /* room that hdr_compress() needs: flow id, set-up, header, SACK */
    HDR_ITEM_FIRST = 0x80  /* the first byte of a header-compressed packet, and all above */
};

typedef enum {
    HDR_IP, HDR_UDP, HDR_RTP, HDR_TCP, HDR_ICMP, HDR_ESP, HDR_PROFILES
} hdr_profile;

typedef enum { HDR_WHOLE, HDR_SETUP, HDR_BASE, HDR_EXTENDED, HDR_KINDS } hdr_kind;

typedef enum {
    HDR_OK,
    HDR_TRUNCATED,         /* the item ends inside the coded header */
    HDR_UNKNOWN_FLOW,      /* no set-up of this flow id was seen */
    HDR_UNKNOWN_REFERENCE, /* the candidate it refers to was never here, or is no longer */
    HDR_BAD_FORM,          /* no compressor writes this */
    HDR_TOO_LONG,          /* the packet would not fit its length field, or the room given */
    HDR_VERDICTS
} hdr_verdict;

typedef struct hdr_result {
    uint8_t profile;       /* hdr_profile */
    uint8_t kind;          /* hdr_kind */
    uint16_t flow;
    uint16_t flow_bytes;   /* flow id, 1 or 2 */
    uint16_t coded_bytes;  /* flow id and coded header */
    uint16_t header_bytes; /* of the packet: what the coded bytes stand for; of a whole one what was seen */
} hdr_result;

typedef struct hdr_tx hdr_tx;
typedef struct hdr_rx hdr_rx;

/* Memory for `flows` contexts, 1..HDR_FLOWS_MAX; aligned to 64 bytes by the caller. */
size_t hdr_tx_bytes(uint32_t flows);
size_t hdr_rx_bytes(uint32_t flows);
/* hash_key: random, so that no inside host can aim at a bucket. */
hdr_tx *hdr_tx_init(void *memory, uint32_t flows, uint64_t hash_key);
hdr_rx *hdr_rx_init(void *memory, uint32_t flows);

/* Code the header of a packet that travels at (path, pn). acked: OXI_PATHS_MAX windows of acknowledged
 * packet numbers. out: HDR_CODED_MAX bytes. True: out holds coded_bytes, and data + header_bytes follows as
 * it is. False: the packet goes whole; the result tells profile and header_bytes all the same. What is coded
 * has to travel in that datagram: an acknowledgement of a datagram without it would be taken for its own. */
bool hdr_compress(hdr_tx *tx, const replay *acked, uint32_t path, uint64_t pn, const uint8_t *data,
                  uint32_t len, uint8_t *out, hdr_result *result);

/* Restore the header of an item received at (path, pn) into out. The payload is what follows coded_bytes of
 * the item; header and payload fit cap together. Each item of a datagram that will be acknowledged has to
 * come here: where there is no room for its packet, with cap 0. Otherwise later ones refer to what is not
 * there. */
hdr_verdict hdr_restore(hdr_rx *rx, uint32_t path, uint64_t pn, const uint8_t *item, uint32_t item_len,
                        uint8_t *out, uint32_t cap, hdr_result *result);

const char *hdr_profile_name(uint32_t profile); /* NULL: no such profile */
const char *hdr_verdict_name(uint32_t verdict); /* NULL: no such verdict */
#endif
