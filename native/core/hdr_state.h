/* hdr_state.h - what compressor and restorer keep, and the steps their files share. */
#ifndef OXI_HDR_STATE_H
#define OXI_HDR_STATE_H
#include "bytes.h"
#include "hdr.h"

/* Specification (PROTOCOL.md section 9). */
enum {
    HDR_FIXED_MAX = 160, /* bytes of header that one context covers */
    HDR_LEVELS = 3,      /* IP headers in one chain */
    HDR_PARTS_MAX = 15,  /* IP and extension headers in one chain */
    HDR_SLOTS = 4,       /* a short reference names the low two bits of a candidate's number */
    HDR_KEPT = 6,        /* candidates that a restorer keeps at least: those with the highest numbers */
    HDR_AHEAD = HDR_KEPT - 1, /* so a reference has at most so many candidates after it */
    HDR_STEP = 8,        /* a short distance of 8, 16 or 24 makes the packet a candidate */
    HDR_BIAS_UNIT = 4,
    HDR_BIASED_AHEAD = 3,
    HDR_SHORT_MAX = 30,  /* of a short distance; 31: one byte of distance follows */
    HDR_LONG = 31,
    HDR_SACK_MAX = 4
};
/* First byte of the coded header: extended, slot of the reference, short distance; or one of these. */
enum { FORM_EXTENDED = 0x80, FORM_SLOT_SHIFT = 5, FORM_DISTANCE = 0x1f, FORM_SETUP = 0x00,
       FORM_EXACT = 0x20 };
/* General mask of an extended form. */
enum { G_CANDIDATE = 0x80, G_IPID = 0x40, G_TOS_TTL = 0x20, G_CHECKSUM = 0x10, G_STRIDE = 0x08, G_BIAS = 0x04,
       G_FLAGS = 0x02, G_NONE = 0x01 };
/* Mask of RTP: below 0x80 it is a jump of the time stamp, in strides; 0: the general mask follows. */
enum { R_LONG = 0x80, R_MARKER = 0x40, R_RESIDUAL = 0x20, R_JUMP = 0x10, R_CANDIDATE = 0x08, R_NONE = 0x06,
       R_GENERAL = 0x01, R_CANDIDATE_AHEAD = 2 };
/* Mask of TCP. */
enum { T_SEQ = 0x80, T_ACK = 0x40, T_WINDOW = 0x20, T_STAMP = 0x10, T_ECHO = 0x08, T_PSH = 0x04,
       T_SACK = 0x02, T_GENERAL = 0x01 };
typedef enum { ID_CONSTANT, ID_COUNTS, ID_SWAPPED, ID_CARRIED, ID_DELTA, ID_MODES } hdr_id_mode;
typedef enum { SUM_COMPUTED, SUM_CARRIED, SUM_CONSTANT, SUM_MODES } hdr_sum_mode;

/* Where things lie in a header. Two headers of one flow have the same one. */
typedef struct hdr_shape {
    uint8_t profile;
    uint8_t parts;        /* IP and extension headers */
    uint8_t levels;       /* IP headers */
    uint8_t v6_levels;    /* a bit for each */
    uint8_t ip_at[HDR_LEVELS];
    uint8_t l4_at;        /* equals header_bytes for HDR_IP */
    uint8_t stamps_at;    /* TCP: TSval; 0: none */
    uint8_t header_bytes; /* without a trailing SACK */
    uint8_t protocol;     /* of what follows the IP headers */
    uint8_t is_fragment;
} hdr_shape;

/* The fields that change, as a candidate keeps them. */
typedef struct hdr_fields {
    uint32_t seq;         /* TCP, RTP, ESP, ICMP */
    uint32_t ack;         /* TCP; RTP: time stamp */
    uint32_t stamp;       /* TCP: TSval */
    uint32_t echo;        /* TCP: TSecr */
    uint32_t stride;      /* TCP: bytes, RTP: time stamp units, for a distance of 1 */
    uint16_t window;
    uint16_t urgent;
    uint16_t checksum;
    uint16_t id[HDR_LEVELS];
    uint8_t tos[HDR_LEVELS];
    uint8_t ttl[HDR_LEVELS];
    uint8_t id_mode[HDR_LEVELS];
    uint8_t sum_mode;
    uint8_t flags;        /* TCP, byte 13 */
    uint8_t reserved;     /* TCP, low half of byte 12 */
    uint8_t bias;         /* what a distance coded against this one is short of, in HDR_BIAS_UNIT */
} hdr_fields;

/* What a packet has that no other refers to. */
typedef struct hdr_once {
    uint8_t marker;       /* RTP, 0x80 or 0 */
    uint8_t sack_count;
    uint32_t sack[2 * HDR_SACK_MAX];
} hdr_once;

typedef struct hdr_header {
    hdr_shape shape;
    hdr_fields now;
    hdr_once once;
    uint32_t header_bytes; /* with SACK */
    uint8_t fixed[HDR_FIXED_MAX]; /* the header, without a trailing SACK, fields that change being 0 */
} hdr_header;

/* Where an extended form differs from what is predicted. */
typedef struct hdr_difference {
    uint8_t general;      /* G_* */
    uint8_t own;          /* R_* or T_* of the profile */
    uint8_t is_extended;
    uint32_t jump;        /* RTP: in strides, or the residual */
} hdr_difference;

/* ---- hdr_chain.c ---- */
/* The chain of headers at the front of a packet, each checked as far as the restorer would have to infer it;
 * it ends before the first that does not hold. False: not even one IP header. */
bool hdr_chain_parse(const uint8_t *data, uint32_t len, bool may_be_rtp, hdr_header *h);
void hdr_chain_write(const hdr_header *h, writer *w);
hdr_verdict hdr_chain_read(reader *r, hdr_header *h);
/* The whole header of a packet with this payload. False: too long for its length fields, or for cap. */
bool hdr_chain_build(const hdr_shape *shape, const uint8_t *fixed, const hdr_fields *f, const hdr_once *once,
                     const uint8_t *payload, uint32_t payload_bytes, uint8_t *out, uint32_t cap);
uint32_t hdr_sack_bytes(const hdr_once *once); /* with the padding in front */

/* ---- hdr_ip.c: TOS, TTL, identification, and the transport checksum, which all profiles share ---- */
void hdr_ip_take(const hdr_shape *s, uint8_t *fixed, hdr_fields *f);
void hdr_ip_put(const hdr_shape *s, const hdr_fields *f, uint32_t total_bytes, uint8_t *out);
void hdr_ip_predict(const hdr_shape *s, const hdr_fields *ref, uint32_t distance, hdr_fields *out);
uint8_t hdr_ip_differ(const hdr_shape *s, const hdr_fields *now, const hdr_fields *predicted);
void hdr_general_write(const hdr_shape *s, uint8_t mask, const hdr_fields *now, writer *w);
hdr_verdict hdr_general_read(const hdr_shape *s, uint8_t mask, reader *r, hdr_fields *out);
/* What is carried in each packet because its mode says so. */
void hdr_carried_write(const hdr_shape *s, uint8_t mask, const hdr_fields *now, const hdr_fields *predicted,
                       writer *w);
void hdr_carried_read(const hdr_shape *s, uint8_t mask, reader *r, hdr_fields *out);

/* ---- hdr_udp_rtp.c, hdr_tcp.c, hdr_icmp_esp.c ---- */
bool hdr_rtp_fits(const uint8_t *udp, uint32_t udp_bytes);
uint32_t hdr_rtp_bytes(const uint8_t *rtp); /* with the list of contributing sources */
void hdr_rtp_take(uint8_t *rtp, hdr_fields *f, hdr_once *once);
void hdr_rtp_put(const hdr_fields *f, const hdr_once *once, uint8_t *rtp);
void hdr_rtp_differ(const hdr_fields *now, const hdr_fields *ref, const hdr_once *once, uint32_t distance,
                    uint32_t stride, hdr_difference *d);
void hdr_rtp_write(const hdr_difference *d, writer *w);
hdr_verdict hdr_rtp_read(reader *r, hdr_difference *d, hdr_once *once);
void hdr_rtp_apply(const hdr_difference *d, const hdr_fields *ref, uint32_t distance, hdr_fields *out);
uint32_t hdr_rtp_stride_guess(const uint8_t *udp);
uint32_t hdr_rtp_source(const uint8_t *udp);
bool hdr_rtp_is_voice(const uint8_t *udp, uint8_t tos);

void hdr_tcp_options(const uint8_t *tcp, uint32_t tcp_bytes, hdr_header *h);
void hdr_tcp_take(const hdr_shape *s, uint8_t *fixed, hdr_fields *f);
void hdr_tcp_put(const hdr_shape *s, const hdr_fields *f, const hdr_once *once, uint8_t *out);
void hdr_tcp_differ(const hdr_fields *now, const hdr_fields *ref, const hdr_once *once, uint32_t distance,
                    uint32_t stride, hdr_difference *d);
void hdr_tcp_write(const hdr_difference *d, const hdr_fields *now, const hdr_fields *ref, uint32_t distance,
                   const hdr_once *once, writer *w);
hdr_verdict hdr_tcp_read(uint8_t mask, reader *r, const hdr_fields *ref, hdr_fields *out, hdr_once *once);
void hdr_sack_write(const hdr_once *once, uint32_t ack, writer *w);
hdr_verdict hdr_sack_read(reader *r, uint32_t ack, hdr_once *once);

uint32_t hdr_counter_bytes(uint8_t profile); /* ICMP echo and ESP: header bytes */
bool hdr_icmp_fits(const uint8_t *icmp, uint32_t icmp_bytes, bool is_v6);
void hdr_counter_take(uint8_t profile, uint8_t *l4, hdr_fields *f);
void hdr_counter_put(uint8_t profile, const hdr_fields *f, uint8_t *l4);
#endif
