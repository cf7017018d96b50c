// The client that C holds.

#pragma once

#include <memory>

#include "client/client.h"
#include "client/client_c.h"

struct quire_client {
  const std::unique_ptr<quire::Client> client;
};
