// max_norm and norm_type of torch.nn.Embedding: a row's value is
// renorm(stored row), worked out when it is read and before it is stepped.

#pragma once

#include "kernels/norm.h"

namespace quire {

//   max_norm   0 or more
//   norm_type  any number; inf and -inf are the largest and the smallest |x|
kernels::Renorm RenormOf(double max_norm, double norm_type);

}  // namespace quire
