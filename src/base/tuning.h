// Settings of the libraries below us, for programs that carry large messages,
// and of threads.

#pragma once

namespace quire {

// Called first in main, before threads are started; both ends of a connection
// want it.
//
// Memory: gRPC takes and gives back megabytes with every call, and glibc by
// default returns them to the system each time: hundreds of page faults a
// request. Keeps up to 256 MiB of free memory in the process instead, and
// serves blocks below 32 MiB from it. Both settings are made: either alone is
// slower than none (PERFORMANCE, section 2).
//
// Locks: Debian builds Abseil with its checks on, and so each absl::Mutex that
// gRPC takes enters a graph of who waits for whom, which is a lock of its own.
// Switches the graph off.
void TuneProcess();

// Of the thread that calls it: whoever answers a call goes first. For work that
// has time.
void GiveWayToOthers();

}  // namespace quire
