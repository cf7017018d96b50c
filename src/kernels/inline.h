// How a function gets into several instruction sets without leaking from one:
// it is inlined wherever it is called, and never emitted by itself. A shared
// inline function would be merged by the linker, and the copy that it keeps
// might be the one with AVX-512 in it.

#pragma once

// always_inline has a second reason: gcc 12 at -O2 deletes calls of a function
// that does nothing but prefetch.
#define QUIRE_KERNEL_INLINE static inline __attribute__((always_inline))

// The same for a member function.
#define QUIRE_KERNEL_METHOD __attribute__((always_inline)) inline
