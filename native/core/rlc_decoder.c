/* rlc_decoder.c - Gauss and Jordan's elimination, one equation at a time.
 *
 * Columns are what is missing, rows are equations, kept in reduced echelon form: each row has a pivot column
 * with coefficient 1 that no other row has, so a row with nothing beside its pivot is a symbol. A row's
 * coefficients lie in front of its bytes: one mul_add does both. Bytes behind a row's padded length are zero,
 * so rows of different lengths add up as they are. Rows are at most as many as columns. */
#include <assert.h>

#include "rlc_decoder.h"

enum {
    COLUMNS = RLC_UNKNOWNS_MAX,
    ROWS = COLUMNS + 2, /* one that comes in, and the same scaled */
    ROW_BYTES = COLUMNS + RLC_SYMBOL_ROOM,
    NO_COLUMN = COLUMNS
};

static_assert(COLUMNS % GF256_STEP == 0, "coefficients and bytes together have a padded length");
static_assert(COLUMNS == 32, "a set of columns is a word");

typedef struct row {
    bool is_live;
    uint32_t pivot;
    uint32_t len;      /* of the longest symbol in it */
    uint64_t sequence; /* of the symbol that it has become */
    _Alignas(64) uint8_t bytes[ROW_BYTES]; /* most additions are to one and from another */
} row;

struct rlc_decoder {
    uint32_t columns; /* the set of those in use */
    uint64_t sequences[COLUMNS];
    uint64_t born_ns[COLUMNS];
    uint32_t found[COLUMNS]; /* rows that have become symbols, the oldest first; free from the next call on */
    uint32_t found_count, found_next;
    row rows[ROWS];
};

size_t rlc_decoder_bytes(void) { return sizeof(rlc_decoder); }

void rlc_decoder_reset(rlc_decoder *d)
{
    d->columns = d->found_count = d->found_next = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        d->rows[i].is_live = false;
}

rlc_decoder *rlc_decoder_init(void *memory)
{
    rlc_decoder *d = memory;
    rlc_decoder_reset(d);
    return d;
}


bool rlc_decoder_next(rlc_decoder *d, rlc_content *out)
{
    if (d->found_next == d->found_count)
        return false;
    const row *r = &d->rows[d->found[d->found_next++]];
    const uint8_t *symbol = r->bytes + COLUMNS;
    *out = (rlc_content){ .sequence = r->sequence, .bytes = symbol + RLC_SYMBOL_HEAD };
    bool is_good = rlc_symbol_read(symbol, r->len, &out->pn, &out->len);
    OXI_ASSERT(is_good); /* solve() has looked */
    return true;
}

/* ---- columns ---- */

static bool has(uint32_t set, uint32_t column) { return set >> column & 1; }

static uint32_t column_of(const rlc_decoder *d, uint64_t sequence)
{
    for (uint32_t i = 0; i < COLUMNS; i++)
        if (has(d->columns, i) && d->sequences[i] == sequence)
            return i;
    return NO_COLUMN;
}

static uint32_t oldest_of(const rlc_decoder *d, uint32_t set)
{
    uint32_t oldest = NO_COLUMN;
    for (uint32_t i = 0; i < COLUMNS; i++)
        if (has(set, i) && (oldest == NO_COLUMN || d->sequences[i] < d->sequences[oldest]))
            oldest = i;
    return oldest;
}

static uint32_t columns_of(const row *r)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < COLUMNS; i++)
        set |= (uint32_t)(r->bytes[i] != 0) << i;
    return set;
}

/* Columns that no equation has any more make room. */
static void columns_sweep(rlc_decoder *d)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        if (d->rows[i].is_live)
            used |= columns_of(&d->rows[i]);
    d->columns = used;
}

/* ---- rows ---- */

static row *row_take(rlc_decoder *d)
{
    uint32_t i = 0;
    while (i < ROWS && d->rows[i].is_live)
        i++;
    OXI_ASSERT(i < ROWS);
    row *r = &d->rows[i];
    memset(r->bytes, 0, sizeof r->bytes);
    r->len = 0;
    r->is_live = true;
    r->pivot = NO_COLUMN;
    return r;
}

static void row_add(const gf256_library *lib, row *to, const row *from, uint8_t coefficient)
{
    lib->mul_add(to->bytes, from->bytes, coefficient, COLUMNS + gf256_padded(from->len));
    to->len = (uint32_t)max_u64(to->len, from->len);
}

static void row_add_symbol(const gf256_library *lib, row *to, const uint8_t *symbol, uint8_t coefficient)
{
    uint32_t len = rlc_symbol_len(symbol);
    lib->mul_add(to->bytes + COLUMNS, symbol, coefficient, gf256_padded(len));
    to->len = (uint32_t)max_u64(to->len, len);
}

/* Without the columns that are pivots of others. */
static void row_reduce(const rlc_decoder *d, const gf256_library *lib, row *r)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        const row *other = &d->rows[i];
        if (other->is_live && other->pivot != NO_COLUMN && r->bytes[other->pivot])
            row_add(lib, r, other, r->bytes[other->pivot]);
    }
}

static bool says_nothing(const row *r)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < r->len; i++)
        any |= r->bytes[COLUMNS + i];
    return any == 0;
}

/* A reduced row finds its place. The pivot is its oldest column: that is given up first, and then no other
 * row suffers. */
static rlc_result row_place(rlc_decoder *d, const gf256_library *lib, row *r)
{
    uint32_t pivot = oldest_of(d, columns_of(r));
    if (pivot == NO_COLUMN) {
        r->is_live = false;
        return says_nothing(r) ? RLC_REDUNDANT : RLC_INCONSISTENT;
    }
    row *scaled = row_take(d);
    row_add(lib, scaled, r, gf256_inverse(r->bytes[pivot]));
    r->is_live = false;
    for (uint32_t i = 0; i < ROWS; i++) {
        row *other = &d->rows[i];
        if (other->is_live && other != scaled && other->bytes[pivot])
            row_add(lib, other, scaled, other->bytes[pivot]);
    }
    scaled->pivot = pivot;
    return RLC_KEPT;
}

/* ---- what comes out ---- */

static void found_insert(rlc_decoder *d, uint32_t number)
{
    uint32_t at = d->found_count++;
    for (; at > 0 && d->rows[d->found[at - 1]].sequence > d->rows[number].sequence; at--)
        d->found[at] = d->found[at - 1];
    d->found[at] = number;
}

/* Rows that are symbols by now become contents; a contradiction ends all. */
static rlc_result solve(rlc_decoder *d, rlc_result so_far)
{
    rlc_result result = so_far;
    for (uint32_t i = 0; i < ROWS && result != RLC_INCONSISTENT && result != RLC_BAD_SYMBOL; i++) {
        row *r = &d->rows[i];
        if (!r->is_live || columns_of(r) != 1U << r->pivot)
            continue;
        uint16_t pn;
        uint32_t len;
        r->is_live = false;
        r->sequence = d->sequences[r->pivot];
        found_insert(d, i);
        result = rlc_symbol_read(r->bytes + COLUMNS, r->len, &pn, &len) ? RLC_RECOVERED : RLC_BAD_SYMBOL;
    }
    if (result == RLC_INCONSISTENT || result == RLC_BAD_SYMBOL)
        rlc_decoder_reset(d);
    columns_sweep(d);
    return result;
}

/* ---- what is given up ---- */

/* What other rows say without this column stays: one row is spent to take it out of them. */
static void column_give_up(rlc_decoder *d, const gf256_library *lib, uint32_t column)
{
    row *spent = NULL;
    for (uint32_t i = 0; i < ROWS; i++) {
        row *r = &d->rows[i];
        if (r->is_live && r->bytes[column] &&
            (!spent || d->sequences[r->pivot] < d->sequences[spent->pivot]))
            spent = r;
    }
    for (uint32_t i = 0; spent && i < ROWS; i++) {
        row *r = &d->rows[i];
        if (r->is_live && r != spent && r->bytes[column])
            row_add(lib, r, spent, gf256_mul(r->bytes[column], gf256_inverse(spent->bytes[column])));
    }
    if (spent)
        spent->is_live = false;
    columns_sweep(d);
}

uint32_t rlc_decoder_expire(rlc_decoder *d, const gf256_library *lib, uint64_t now_ns, uint64_t age_ns)
{
    uint32_t before = rlc_decoder_unknowns(d), set = 0;
    for (uint32_t i = 0; i < COLUMNS; i++)
        if (has(d->columns, i) && now_ns >= d->born_ns[i] && now_ns - d->born_ns[i] >= age_ns)
            set |= 1U << i;
    for (uint32_t oldest; (oldest = oldest_of(d, set & d->columns)) != NO_COLUMN;)
        column_give_up(d, lib, oldest);
    return before - rlc_decoder_unknowns(d);
}

/* ---- what comes in ---- */

/* How many members are missing; *known: those of them that have a column. */
static uint32_t missing_of(const rlc_decoder *d, const rlc_equation *e, const uint8_t *const *members,
                           uint32_t *known)
{
    uint32_t count = 0;
    *known = 0;
    for (uint32_t i = 0; i < e->frame.count; i++)
        count += members[i] == NULL;
    if (count == 0 || count > COLUMNS)
        return count;
    for (uint32_t i = 0; i < COLUMNS; i++) {
        uint64_t distance = e->newest - d->sequences[i]; /* huge: it is newer */
        if (has(d->columns, i) && distance < e->frame.count && !members[distance])
            *known |= 1U << i;
    }
    return count;
}

static bool columns_make_room(rlc_decoder *d, const gf256_library *lib, uint64_t newest, uint32_t missing,
                              uint32_t known)
{
    uint32_t fresh = missing - (uint32_t)__builtin_popcount(known);
    while (COLUMNS - rlc_decoder_unknowns(d) < fresh) {
        uint32_t oldest = oldest_of(d, d->columns & ~known);
        if (d->sequences[oldest] > newest)
            return false;
        column_give_up(d, lib, oldest);
        known &= d->columns; /* one that only the spent row had counts as fresh from here on */
        fresh = missing - (uint32_t)__builtin_popcount(known);
    }
    return true;
}

static uint32_t column_make(rlc_decoder *d, uint64_t sequence, uint64_t now_ns)
{
    uint32_t column = column_of(d, sequence);
    if (column != NO_COLUMN)
        return column;
    column = (uint32_t)__builtin_ctz(~d->columns);
    d->columns |= 1U << column;
    d->sequences[column] = sequence;
    d->born_ns[column] = now_ns;
    return column;
}

rlc_result rlc_decoder_add(rlc_decoder *d, const gf256_library *lib, const rlc_equation *e,
                           const uint8_t *const *members, uint64_t now_ns)
{
    d->found_count = d->found_next = 0;
    uint32_t count = e->frame.count, known;
    OXI_ASSERT(count >= 1 && e->frame.len > RLC_SYMBOL_HEAD && e->frame.len <= RLC_SYMBOL_MAX);
    if (e->newest < count - 1)
        return RLC_BAD_WINDOW;
    uint32_t missing = missing_of(d, e, members, &known);
    if (missing == 0)
        return RLC_NOTHING_MISSING;
    for (uint32_t i = 0; i < count; i++)
        if (members[i] && rlc_symbol_len(members[i]) > e->frame.len)
            return solve(d, RLC_INCONSISTENT);
    if (missing > COLUMNS || !columns_make_room(d, lib, e->newest, missing, known))
        return RLC_TOO_MANY;
    row *r = row_take(d);
    r->len = e->frame.len;
    memcpy(r->bytes + COLUMNS, e->frame.symbol, e->frame.len);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t coefficient = rlc_coefficient(e->seed, (uint16_t)(e->newest - i));
        if (members[i])
            row_add_symbol(lib, r, members[i], coefficient);
        else
            r->bytes[column_make(d, e->newest - i, now_ns)] = coefficient;
    }
    row_reduce(d, lib, r);
    return solve(d, row_place(d, lib, r));
}

rlc_result rlc_decoder_known(rlc_decoder *d, const gf256_library *lib, uint64_t sequence,
                             const uint8_t *symbol)
{
    d->found_count = d->found_next = 0;
    uint32_t column = column_of(d, sequence);
    if (column == NO_COLUMN)
        return RLC_NOTHING_MISSING;
    row *loose = NULL; /* has lost its pivot; then no other row had this column */
    for (uint32_t i = 0; i < ROWS; i++) {
        row *r = &d->rows[i];
        if (!r->is_live || !r->bytes[column])
            continue;
        row_add_symbol(lib, r, symbol, r->bytes[column]);
        r->bytes[column] = 0;
        if (r->pivot == column)
            loose = r;
    }
    if (!loose)
        return solve(d, RLC_KEPT);
    loose->pivot = NO_COLUMN;
    return solve(d, row_place(d, lib, loose));
}

uint32_t rlc_decoder_unknowns(const rlc_decoder *d) { return (uint32_t)__builtin_popcount(d->columns); }

uint32_t rlc_decoder_equations(const rlc_decoder *d)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        count += d->rows[i].is_live;
    return count;
}
