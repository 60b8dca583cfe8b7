/* base.h - assertions, counters and small helpers every file of the core may use. */
#ifndef OXI_BASE_H
#define OXI_BASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Our bug: say where and stop. Never on a byte that a peer, a file or the kernel chose. */
_Noreturn void oxi_bug(const char *file, int line, const char *what);
#define OXI_ASSERT(x) ((x) ? (void)0 : oxi_bug(__FILE__, __LINE__, #x))

#define OXI_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Counters have one writer (the thread that owns the plane) and readers without a lock. */
#define COUNT_ADD(word, n) __atomic_store_n(&(word), (word) + (uint64_t)(n), __ATOMIC_RELAXED)
#define COUNT_SET(word, v) __atomic_store_n(&(word), (uint64_t)(v), __ATOMIC_RELAXED)

#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL
#define NEVER_NS UINT64_MAX

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
#endif
