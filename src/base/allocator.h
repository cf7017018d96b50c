// The allocator's settings for programs that carry large messages.

#pragma once

namespace quire {

// gRPC takes and gives back megabytes with every call, and glibc by default
// returns them to the system each time: hundreds of page faults a request.
// Keeps up to 256 MiB of free memory in the process instead, and serves blocks
// below 32 MiB from it. Both settings are made: either alone is slower than
// none (PERFORMANCE, section 2).
//
// Called first in main, before threads are started.
void TuneMallocForLargeMessages();

}  // namespace quire
