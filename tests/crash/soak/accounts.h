#pragma once

namespace assent::testing {

/// In each database of the soak.
inline constexpr int accounts = 64;

}  // namespace assent::testing
