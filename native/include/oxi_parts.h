/* oxi_parts.h - parts of the packet path by themselves, without a plane: for tools, tests and training.
 *
 * The second half of the boundary (oxi.h includes it, and says how it is to be written). */
#ifndef OXI_PARTS_H
#define OXI_PARTS_H
#include "oxi.h"
/* cffi: begin */
/* Header compression by itself: a compressor, a restorer and the windows of what is acknowledged between
 * them, without a plane.  For `oxidized headers` and tests; the plane has its own. */
typedef struct oxi_hdr oxi_hdr;

enum {
    OXI_HDR_CODED_MAX = 288,      /* room for one coded header */
    OXI_HDR_FLOWS_MAX = 383,
    OXI_HDR_WHOLE = 0, OXI_HDR_SETUP = 1, OXI_HDR_BASE = 2, OXI_HDR_EXTENDED = 3,
    OXI_HDR_SEND = 0, OXI_HDR_ARRIVE = 1, OXI_HDR_ACK = 2
};

typedef struct oxi_hdr_row {
    uint8_t  profile;             /* oxi_hdr_profile_name() */
    uint8_t  kind;                /* OXI_HDR_WHOLE..EXTENDED */
    uint8_t  verdict;             /* of the restorer: oxi_hdr_verdict_name() */
    uint8_t  has_arrived;
    uint16_t flow;
    uint16_t flow_bytes;
    uint16_t coded_bytes;         /* with the flow id */
    uint16_t header_bytes;        /* of the packet */
    uint32_t restored_bytes;      /* of the whole packet; 0: nothing was restored */
    uint32_t compress_ns;
    uint32_t restore_ns;
} oxi_hdr_row;

typedef struct oxi_hdr_event {
    uint8_t  kind;                /* OXI_HDR_SEND, ARRIVE: of `packet`; ACK: of pn */
    uint8_t  path;
    uint16_t reserved;
    uint32_t packet;
    uint64_t pn;
} oxi_hdr_event;

const char *oxi_hdr_profile_name(uint32_t profile); /* NULL: no such profile */
const char *oxi_hdr_verdict_name(uint32_t verdict); /* NULL: no such verdict; 0 is good */
oxi_hdr *oxi_hdr_new(uint32_t flows, uint64_t hash_key); /* NULL: bad number, or no memory */
void oxi_hdr_free(oxi_hdr *h);
int oxi_hdr_ack(oxi_hdr *h, uint32_t path, uint64_t pn);
/* 1: out has row->coded_bytes, which stand for the first row->header_bytes; 0: the packet goes whole */
int oxi_hdr_compress(oxi_hdr *h, uint32_t path, uint64_t pn, const uint8_t *data, uint32_t len, uint8_t *out,
        oxi_hdr_row *row);
/* The whole packet into out; returns the verdict. */
int oxi_hdr_restore(oxi_hdr *h, uint32_t path, uint64_t pn, const uint8_t *item, uint32_t len, uint8_t *out,
        uint32_t cap, oxi_hdr_row *row);
/* Packet i is data[starts[i]..starts[i + 1]]; events in the order of time; what is restored goes to the same
 * place of `restored`.  rows: one for each packet. */
int oxi_hdr_run(oxi_hdr *h, const uint8_t *data, const uint64_t *starts, uint32_t packets,
        const oxi_hdr_event *events, uint32_t count, uint8_t *restored, oxi_hdr_row *rows);

/* Payload compression by itself, for tests and tools: what the packet path does to one packet.  The
 * dictionaries are numbered 1..; 0 is none. */
uint32_t oxi_lz_digest(void);                 /* of all dictionaries: peers must agree on it */
const char *oxi_lz_name(uint32_t dictionary); /* "none", "sip", ...; NULL past the last */
const uint8_t *oxi_lz_text(uint32_t dictionary, uint32_t *len_out); /* NULL past the last, and for 0 */
const char *oxi_lz_result_name(uint32_t result); /* of oxi_lz_restore(); NULL past the last */

/* NULL: no memory or bad rules (more than OXI_LZ_RULES_MAX, one twice, no such dictionary) */
oxi_lz *oxi_lz_new(const oxi_lz_rule *rules, uint32_t count);
void oxi_lz_free(oxi_lz *lz);
/* the dictionary for a whole inner packet, or OXI_LZ_REFUSED: its ports have no rule */
int oxi_lz_class(const oxi_lz *lz, const uint8_t *packet, uint32_t len);
/* The packet as an item whose first clear_bytes are not compressed; len_out 0: it does not get smaller. */
int oxi_lz_compress(oxi_lz *lz, uint32_t level, uint32_t dictionary, uint32_t clear_bytes,
        const uint8_t *packet, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *len_out);
/* Returns what became of the item: 0 (len_out bytes in out) or why it is dropped, see above. */
int oxi_lz_restore(const uint8_t *item, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *len_out);

/* The repair code by itself: one end of a code stream, which holds the latest OXI_RLC_HELD contents that it
 * was told or has found, makes repairs of them and takes repairs.  For tests.  A result is a number of
 * oxi_rlc_result_name(). */
typedef struct oxi_rlc oxi_rlc;
enum { OXI_RLC_CONTENT_MAX = 1536, OXI_RLC_WINDOW_MAX = 255, OXI_RLC_FRAME_ROOM = 1543, OXI_RLC_HELD = 1024 };

const char *oxi_gf256_trouble(uint32_t library); /* why one of OXI_GF256_* can not be used; NULL: it can */
/* dest += coefficient * src, len bytes: a multiple of 32, 64 or more */
int oxi_gf256_mul_add(uint32_t library, uint8_t *dest, const uint8_t *src, uint32_t coefficient,
        uint32_t len);
int oxi_gf256_inverse(uint32_t element);
const char *oxi_rlc_result_name(uint32_t result); /* NULL past the last */
int oxi_rlc_coefficient(uint32_t seed, uint32_t sequence);
uint64_t oxi_rlc_expand(uint64_t newest, uint32_t low); /* low: 16 bits */
oxi_rlc *oxi_rlc_new(uint32_t library); /* NULL: that library can not be used, or no memory */
void oxi_rlc_free(oxi_rlc *r);
/* A content: sent, or received.  Returns the decoder's result. */
int oxi_rlc_known(oxi_rlc *r, uint64_t sequence, uint32_t pn, const uint8_t *content, uint32_t len);
/* The body of a REPAIR frame over `count` contents up to `newest`, all of which are held (else OXI_E_ABSENT).
 * out: OXI_RLC_FRAME_ROOM bytes. */
int oxi_rlc_repair(oxi_rlc *r, uint32_t seed, uint64_t newest, uint32_t count, uint8_t *out,
        uint32_t *len_out);
/* Such a body; its number is taken near `newest`.  Returns the result. */
int oxi_rlc_add(oxi_rlc *r, uint32_t seed, uint64_t newest, const uint8_t *body, uint32_t len,
        uint64_t now_ns);
/* 1: the next content that the last call of the two above has found; 0: no more.  out: OXI_RLC_CONTENT_MAX */
int oxi_rlc_next(oxi_rlc *r, uint64_t *sequence_out, uint32_t *pn_out, uint8_t *out, uint32_t *len_out);
int oxi_rlc_expire(oxi_rlc *r, uint64_t now_ns, uint64_t age_ns); /* how many were given up */
int oxi_rlc_state_read(const oxi_rlc *r, uint32_t *unknowns_out, uint32_t *equations_out);
/* cffi: end */
#endif
