// For LD_PRELOAD: syncs of files fail with EIO while the file that the
// environment variable QUIRE_TEST_FAIL_SYNC names is there.

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

extern "C" int fdatasync(int descriptor) {
  static const auto real =
      reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fdatasync"));
  const char* const mark = std::getenv("QUIRE_TEST_FAIL_SYNC");
  if (mark != nullptr && access(mark, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  return real(descriptor);
}
