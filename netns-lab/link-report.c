/* link-report.c - the counters as one JSON object (schema oxidized.link/1), on one line. */
#include "link.h"
#include <inttypes.h>

#define DROP_NAME(name, text) text,
static const char *const drop_names[DROPS] = { DROP_LIST(DROP_NAME) };
#undef DROP_NAME

static void report_direction(FILE *out, const struct direction *d)
{
    const struct counters *c = &d->count;
    const struct { const char *name; uint64_t value; } fields[] = {
        {"in_packets", c->in.packets}, {"in_bytes", c->in.bytes},
        {"out_packets", c->out.packets}, {"out_bytes", c->out.bytes},
        {"held_packets", d->heap_len}, {"held_bytes", d->held_bytes},
        {"duplicated_packets", c->duplicated.packets}, {"duplicated_bytes", c->duplicated.bytes},
        {"reordered_packets", c->reordered}, {"corrupted_packets", c->corrupted},
        {"corrupted_checksum_bad_packets", c->corrupted_checksum_bad}, {"ce_marked_packets", c->ce_marked},
        {"nat_rewritten_packets", c->nat_rewritten}, {"icmp_made_packets", c->icmp_made},
        {"queue_max_packets", c->queue_max_packets}, {"queue_max_bytes", c->queue_max_bytes},
        {"late_max_ns", c->late_ns_max},
    };
    fputc('{', out);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        fprintf(out, "\"%s\":%" PRIu64 ",", fields[i].name, fields[i].value);
    fputs("\"drops\":{", out);
    for (int i = 0; i < DROPS; i++)
        fprintf(out, "%s\"%s\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", i ? "," : "", drop_names[i],
                c->drops[i].packets, c->drops[i].bytes);
    fputs("}}", out);
}

/* `extra`: further members, each ending with a comma, or "". */
void report_json(FILE *out, const struct link *link, uint64_t now_ns, const char *extra)
{
    fprintf(out, "{\"schema\":\"oxidized.link/1\",\"seed\":%" PRIu64 ",\"origin_ns\":%" PRIu64, link->seed,
            link->origin_ns);
    fprintf(out, ",\"now_ns\":%" PRIu64 ",%s\"ab\":", now_ns, extra);
    report_direction(out, &link->dirs[DIR_AB]);
    fputs(",\"ba\":", out);
    report_direction(out, &link->dirs[DIR_BA]);
    fputs("}\n", out);
    fflush(out);
}
