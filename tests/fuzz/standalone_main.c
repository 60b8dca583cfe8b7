/* standalone_main.c - runs a fuzz target without libFuzzer: the corpus, then seeded mutations of it.
 *
 * usage: target CORPUS-FOLDER MUTATIONS SEED
 * On a crash the input that did it lies in crash-TARGET of the working directory. Same seed, same inputs. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 4096 };

typedef struct sample {
    uint8_t *bytes;
    size_t len;
} sample;

static sample corpus[INPUTS_MAX];
static size_t corpus_count;

/* splitmix64 (Steele, Lea, Flood 2014): any seed is a good one. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void corpus_add(const char *folder, const char *name)
{
    char path[4096];
    if (name[0] == '.' || corpus_count == INPUTS_MAX)
        return;
    must(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path, "a path of usual length");
    FILE *f = fopen(path, "rb");
    if (!f)
        return;
    uint8_t *bytes = malloc(INPUT_BYTES_MAX);
    must(bytes != NULL, "memory for the corpus");
    corpus[corpus_count++] = (sample){ bytes, fread(bytes, 1, INPUT_BYTES_MAX, f) };
    fclose(f);
}

static void corpus_read(const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, by_name);
    for (int i = 0; i < count; i++) {
        corpus_add(folder, names[i]->d_name);
        free(names[i]);
    }
    if (count > 0)
        free(names);
}

/* The input is on disk before it runs: a crash leaves it behind. */
static void run(const char *crash, const uint8_t *bytes, size_t len)
{
    FILE *f = fopen(crash, "wb");
    must(f && fwrite(bytes, 1, len, f) == len, "the input can be written down");
    fclose(f);
    uint8_t *exact = malloc(len ? len : 1); /* of the very size: a read past the end is seen */
    must(exact != NULL, "memory for the input");
    memcpy(exact, bytes, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static size_t mutate(uint8_t *bytes, size_t len, uint64_t *state)
{
    for (uint64_t changes = 1 + next_random(state) % 8; changes; changes--) {
        uint64_t r = next_random(state);
        size_t at = len ? (size_t)(r >> 16) % len : 0;
        switch (r % 5) {
        case 0:
            bytes[at] = (uint8_t)(r >> 8);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1U << (r >> 8 & 7));
            break;
        case 2: /* random bytes at the end */
            for (uint64_t n = r >> 8 & 63; n && len < INPUT_BYTES_MAX; n--)
                bytes[len++] = (uint8_t)next_random(state);
            break;
        case 3: /* cut */
            len = at;
            break;
        default: { /* the rest of another one from here on */
            const sample *s = &corpus[(r >> 40) % corpus_count];
            size_t n = s->len > at ? s->len - at : 0;
            memcpy(bytes + at, s->bytes + (s->len - n), n);
            len = at + n;
        }
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER MUTATIONS SEED\n", argv[0]);
        return 2;
    }
    const char *slash = strrchr(argv[0], '/');
    char crash[256];
    must(snprintf(crash, sizeof crash, "crash-%s", slash ? slash + 1 : argv[0]) > 0, "a name");
    corpus_read(argv[1]);
    size_t files = corpus_count;
    if (files == 0)
        corpus[corpus_count++] = (sample){ (uint8_t *)"", 0 };
    for (size_t i = 0; i < files; i++)
        run(crash, corpus[i].bytes, corpus[i].len);
    static uint8_t bytes[2 * INPUT_BYTES_MAX];
    uint64_t mutations = strtoull(argv[2], NULL, 10), state = strtoull(argv[3], NULL, 10);
    for (uint64_t i = 0; i < mutations; i++) {
        const sample *s = &corpus[next_random(&state) % corpus_count];
        memcpy(bytes, s->bytes, s->len);
        run(crash, bytes, mutate(bytes, s->len, &state));
    }
    remove(crash);
    printf("%zu files and %" PRIu64 " mutations\n", files, mutations);
    for (size_t i = 0; i < files; i++)
        free(corpus[i].bytes);
    return 0;
}
