/* link-conf.c - reads what a direction shall do from words like "rate=10M delay=5ms loss=0.01".
 * One table holds every key, its help and its reader. */
#include "link.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>


bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value > max)
        return false;
    *out = value;
    return true;
}

/* A number that is not negative, and the text behind it. */
static bool parse_number(const char *text, double *out, const char **unit)
{
    char *end;
    if (*text != '.' && (*text < '0' || *text > '9'))
        return false;
    *out = strtod(text, &end);
    *unit = end;
    return end != text && *out >= 0 && *out < 1e18;
}

/* "20ms" and so on; a bare number is refused, except 0. */
bool parse_duration_ns(const char *text, uint64_t *out)
{
    static const struct { const char *unit; double ns; } units[] =
        {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}};
    double value;
    const char *unit;
    if (!parse_number(text, &value, &unit))
        return false;
    *out = 0;
    if (value == 0 && *unit == 0)
        return true;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].unit) && value * units[i].ns < 1e18) {
            *out = (uint64_t)(value * units[i].ns + 0.5);
            return true;
        }
    return false;
}

static bool parse_chance(const char *text, chance *out)
{
    double value;
    const char *unit;
    if (!parse_number(text, &value, &unit))
        return false;
    if (!strcmp(unit, "%"))
        value /= 100;
    else if (*unit)
        return false;
    if (value > 1)
        return false;
    *out = value >= 1 ? CHANCE_ALWAYS : (chance)(value * 0x1p64);
    return true;
}

/* Cuts the text at the next slash; returns what is before, NULL at the end. */
static char *next_part(char **rest)
{
    char *part = *rest;
    if (!part)
        return NULL;
    char *slash = strchr(part, '/');
    *rest = slash ? slash + 1 : NULL;
    if (slash)
        *slash = 0;
    return part;
}

static bool set_rate(struct dir_conf *c, char *text)
{
    double value;
    const char *unit;
    if (!parse_number(text, &value, &unit))
        return false;
    if (!strcmp(unit, "k"))
        value *= 1e3;
    else if (!strcmp(unit, "M"))
        value *= 1e6;
    else if (!strcmp(unit, "G"))
        value *= 1e9;
    else if (*unit)
        return false;
    c->rate_bps = (uint64_t)value;
    free(c->trace.opportunity_ns);
    c->trace = (struct trace){0};
    return value <= 1e12;
}

static bool read_trace(FILE *file, struct trace *trace)
{
    char line[64];
    size_t room = 0;
    uint64_t ms, last_ns = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line)
            continue;
        if (!parse_u64(line, UINT32_MAX, &ms) || ms * 1000000u < last_ns)
            return false;
        if (trace->count == room) {
            room = room ? room * 2 : 4096;
            uint64_t *grown = realloc(trace->opportunity_ns, room * sizeof *grown);
            if (!grown)
                return false;
            trace->opportunity_ns = grown;
        }
        last_ns = ms * 1000000u;
        trace->opportunity_ns[trace->count++] = last_ns;
    }
    trace->period_ns = last_ns;
    return last_ns > 0 && !ferror(file);
}

static bool set_trace(struct dir_conf *c, char *text)
{
    struct trace trace = {0};
    FILE *file = fopen(text, "r");
    bool good = file && read_trace(file, &trace);
    if (file)
        fclose(file);
    if (!good) {
        free(trace.opportunity_ns);
        return false;
    }
    free(c->trace.opportunity_ns);
    c->trace = trace;
    c->rate_bps = 0;
    return true;
}

static bool set_delay(struct dir_conf *c, char *text) { return parse_duration_ns(text, &c->delay_ns); }

static bool set_jitter(struct dir_conf *c, char *text)
{
    char *rest = text, *span = next_part(&rest), *order = next_part(&rest);
    c->jitter_reorders = order && !strcmp(order, "reorders");
    return parse_duration_ns(span, &c->jitter_ns) && (!order || c->jitter_reorders) && !rest;
}

/* "100p", "64000B" or "50ms": each sets its own limit. */
static bool parse_limit(const char *text, uint64_t *packets, uint64_t *bytes, uint64_t *span_ns)
{
    char number[24];
    size_t len = strlen(text);
    if (!strcmp(text, "none")) {
        *packets = *bytes = *span_ns = 0;
        return true;
    }
    if (len < 2 || len > sizeof number)
        return false;
    memcpy(number, text, len - 1);
    number[len - 1] = 0;
    if (text[len - 1] == 'p')
        return parse_u64(number, HELD_MAX, packets);
    if (text[len - 1] == 'B')
        return parse_u64(number, 1u << 31, bytes);
    return parse_duration_ns(text, span_ns);
}

static bool set_queue(struct dir_conf *c, char *text)
{
    return parse_limit(text, &c->queue_packets, &c->queue_bytes, &c->queue_ns);
}

static bool set_ecn(struct dir_conf *c, char *text)
{
    return parse_limit(text, &c->ecn_packets, &c->ecn_bytes, &c->ecn_ns);
}

static bool set_loss(struct dir_conf *c, char *text) { return parse_chance(text, &c->loss); }

static bool set_ge(struct dir_conf *c, char *text)
{
    char *rest = text, *parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = next_part(&rest);
    c->ge_loss_good = c->ge_bad_ns = c->ge_good_ns = 0;
    if (!parts[2] || rest || !parse_chance(parts[2], &c->ge_loss_bad))
        return false;
    if (parts[3] && !parse_chance(parts[3], &c->ge_loss_good))
        return false;
    return parse_chance(parts[0], &c->ge_enter) && parse_chance(parts[1], &c->ge_leave);
}

static bool set_ge_time(struct dir_conf *c, char *text)
{
    char *rest = text, *parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = next_part(&rest);
    c->ge_loss_good = c->ge_enter = c->ge_leave = 0;
    if (!parts[2] || rest || !parse_chance(parts[2], &c->ge_loss_bad))
        return false;
    if (parts[3] && !parse_chance(parts[3], &c->ge_loss_good))
        return false;
    return parse_duration_ns(parts[0], &c->ge_bad_ns) && parse_duration_ns(parts[1], &c->ge_good_ns);
}

static bool set_reorder(struct dir_conf *c, char *text)
{
    char *rest = text, *share = next_part(&rest), *span = next_part(&rest);
    return span && !rest && parse_chance(share, &c->reorder) && parse_duration_ns(span, &c->reorder_ns);
}

static bool set_duplicate(struct dir_conf *c, char *text) { return parse_chance(text, &c->duplicate); }

static bool set_corrupt(struct dir_conf *c, char *text)
{
    char *rest = text, *share = next_part(&rest), *mode = next_part(&rest);
    c->corrupt_break = mode && !strcmp(mode, "break");
    return parse_chance(share, &c->corrupt) && (!mode || c->corrupt_break) && !rest;
}

static bool set_outage(struct dir_conf *c, char *text)
{
    char *rest = text, *part;
    c->outage_count = 0;
    if (!strcmp(text, "none"))
        return true;
    while ((part = next_part(&rest))) {
        char *dash = strchr(part, '-');
        if (!dash || c->outage_count == SCHEDULE_MAX)
            return false;
        *dash = 0;
        struct span *span = &c->outages[c->outage_count++];
        if (!parse_duration_ns(part, &span->start_ns) || !parse_duration_ns(dash + 1, &span->end_ns) ||
            span->end_ns < span->start_ns)
            return false;
    }
    return true;
}

static bool set_rebind(struct dir_conf *c, char *text)
{
    char *rest = text, *part;
    c->rebind_count = 0;
    if (!strcmp(text, "none"))
        return true;
    while ((part = next_part(&rest))) {
        uint64_t previous_ns = c->rebind_count ? c->rebinds_ns[c->rebind_count - 1] : 0;
        if (c->rebind_count == SCHEDULE_MAX || !parse_duration_ns(part, &c->rebinds_ns[c->rebind_count]) ||
            c->rebinds_ns[c->rebind_count++] < previous_ns)
            return false;
    }
    return true;
}

static bool set_nat_port(struct dir_conf *c, char *text)
{
    uint64_t value;
    bool good = parse_u64(text, UINT16_MAX, &value);
    c->nat_port = (uint16_t)(good ? value : 0);
    return good;
}

static bool set_mtu(struct dir_conf *c, char *text)
{
    uint64_t value;
    bool good = parse_u64(text, PACKET_MAX, &value);
    c->mtu_bytes = (uint32_t)(good ? value : 0);
    return good;
}

static bool set_ptb(struct dir_conf *c, char *text)
{
    c->ptb = !strcmp(text, "yes");
    return c->ptb || !strcmp(text, "no");
}

static bool set_block(struct dir_conf *c, char *text)
{
    char *rest = text, *mask = next_part(&rest), *value = next_part(&rest), *end;
    c->block = false;
    if (!strcmp(mask, "none"))
        return !value;
    if (!value || rest || strlen(mask) != 2 || strlen(value) != 2)
        return false;
    c->block_mask = (uint8_t)strtoul(mask, &end, 16);
    if (*end)
        return false;
    c->block_value = (uint8_t)strtoul(value, &end, 16);
    c->block = !*end && !(c->block_value & ~c->block_mask);
    return c->block;
}

static const struct {
    const char *key;
    bool (*set)(struct dir_conf *, char *);
    const char *form, *help;
} keys[] = {
    {"rate", set_rate, "BITS[k|M|G]", "bottleneck in bits of IP packets per second; 0: none"},
    {"trace", set_trace, "FILE", "bottleneck by mahimahi delivery opportunities (in place of rate)"},
    {"delay", set_delay, "TIME", "one way"},
    {"jitter", set_jitter, "TIME[/reorders]", "up to so much more, uniformly; by default nothing overtakes"},
    {"queue", set_queue, "Np|NB|TIME|none", "before the bottleneck; give several for several limits"},
    {"ecn", set_ecn, "Np|NB|TIME|none", "mark ECN-capable packets while the queue is longer"},
    {"loss", set_loss, "P", "independent loss (0.01 or 1%)"},
    {"ge", set_ge, "ENTER/LEAVE/BAD[/GOOD]", "Gilbert-Elliott: chances per packet, loss in each state"},
    {"ge-time", set_ge_time, "BADTIME/GOODTIME/BAD[/GOOD]", "the same by time: mean length of each state"},
    {"reorder", set_reorder, "P/TIME", "so much later than its turn"},
    {"duplicate", set_duplicate, "P", "twice"},
    {"corrupt", set_corrupt, "P[/break]", "one bit behind the UDP header; break: leave the checksum wrong"},
    {"outage", set_outage, "FROM-TO[/FROM-TO]..|none", "down, counted from the origin"},
    {"mtu", set_mtu, "BYTES", "larger packets are dropped; 0: no limit"},
    {"ptb", set_ptb, "yes|no", "answer those with ICMP packet too big"},
    {"rebind", set_rebind, "TIME[/TIME]..|none", "a to b: the NAT before a takes new ports at these times"},
    {"nat-port", set_nat_port, "PORT", "a to b: only UDP to this port passes the NAT; 0: all UDP"},
    {"block", set_block, "MASK/VALUE|none", "drop UDP whose first payload byte & MASK is VALUE (hex)"},
};

void conf_help(void)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        printf("  %s=%s\n        %s\n", keys[i].key, keys[i].form, keys[i].help);
}

/* Changes `words`.  The error names the word; what came before it has been applied. */
const char *conf_apply(struct dir_conf *conf, char *words)
{
    static char message[160];
    char *rest = words, *word;
    while ((word = strsep(&rest, " ,\n"))) {
        if (!*word)
            continue;
        snprintf(message, sizeof message, "bad setting: %.120s", word);
        char *equals = strchr(word, '=');
        if (!equals)
            return message;
        *equals = 0;
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && strcmp(keys[i].key, word))
            i++;
        if (i == sizeof keys / sizeof *keys || !keys[i].set(conf, equals + 1))
            return message;
    }
    if (conf->ge_loss_bad && !conf->ge_enter && !conf->ge_bad_ns)
        return "ge and ge-time need a bad state";
    return NULL;
}
