/* compress.h - inner packets as shorter items, and back (compress.c). */
#ifndef OXI_COMPRESS_H
#define OXI_COMPRESS_H
#include "hdr.h"
#include "lz.h"
#include "lz_policy.h"
#include "oracle.h"

/* How many packets may still be compressed: headers cost some 300 ns at both ends together. */
typedef struct compress_budget {
    uint64_t slot;           /* of COMPRESS_SLOT_NS */
    uint32_t packets;        /* whose headers were compressed in this slot */
    uint32_t seen_packets;   /* all that were sent in this slot */
    uint32_t before_packets; /* and in the one before */
} compress_budget;

/* What of the two ends of a session belongs to header compression. */
typedef struct header_contexts {
    hdr_tx *tx;
    hdr_rx *rx;
    void *tx_memory;
    void *rx_memory;
    uint32_t tx_index; /* receiver index of the session they are of; 0: of none */
    uint32_t rx_index;
} header_contexts;

typedef struct compressor {
    lz_policy policy;
    oracle oracle;
    lz *lz;               /* NULL: payloads go as they are */
    uint8_t *scratch;     /* OXI_DATAGRAM_MAX */
    uint8_t *restored;    /* the same */
    void *contexts;       /* of all peers */
    compress_budget budget;
    oxi_compression_stats stats;
} compressor;
#endif
