#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "assent/xa/xid.h"

namespace assent::mysql {

/// `0x…`; of nothing: `''`.
std::string binary_literal(std::string_view bytes);

/// `0x…,0x…,1095978580`: an Xid as the XA statements take it.
std::string xid_literal(const Xid& xid);

/// Backquoted.
std::string identifier(std::string_view name);

/// Assent's table in which a schema keeps its identity.
std::string identity_table(std::string_view schema);

/// The name of the server-wide user lock that says who carries the branch, as an SQL literal. Its owner takes it
/// before XA START and keeps it until the branch is over or its session is gone: IS_USED_LOCK() of it is then proof.
/// A digest, because names of locks are at most 64 characters long and know no case.
std::string carrier_lock(const Xid& xid);

/// The lock that lets one recovery at a time finish the branch; never the carrier's, so that no recovery takes another
/// one for the carrier and ends it.
std::string recovery_lock(const Xid& xid);

/// A statement without a result that fails (out_of_range) where a condition does not hold, so that nothing behind it in
/// the same round trip is executed.
std::string require(const std::string& condition);

/// The condition that the lock is this session's, taken once more: nobody else has it.
std::string held(const std::string& lock, std::uint32_t wait_s);

/// Ours: anybody's else is left alone.
bool is_ours(const Xid& xid);

}  // namespace assent::mysql
