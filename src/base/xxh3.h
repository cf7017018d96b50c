// XXH3 as fast as this processor allows: the library as it comes uses SSE2, its
// functions of these names AVX2 or AVX-512 where there is one. 53 and 25 us a
// MiB, on an AMD EPYC; the same numbers.

#pragma once

// For the state, which lies on the stack.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#endif
